"""A run on disk: the contract between the planes, specified in docs/design.md."""
