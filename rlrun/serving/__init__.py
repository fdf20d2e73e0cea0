"""The sampler that trains, behind the lines that every engine understands."""
