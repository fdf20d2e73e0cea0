"""Prompts, and what a completion is worth: strings in, numbers out, no torch."""
