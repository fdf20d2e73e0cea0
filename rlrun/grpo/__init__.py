"""The algorithm: numbers and tensors in, tensors out; no disk, no configuration, no model."""
