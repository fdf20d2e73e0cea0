"""From prompts to groups: the in-process sampler, and collecting what it finishes."""
