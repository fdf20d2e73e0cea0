"""The model that is trained: base weights and adapters, optimizer and schedule, and their bytes."""
