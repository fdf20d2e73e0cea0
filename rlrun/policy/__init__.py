"""The model that is trained: weights, adapter, optimizer and schedule, and where they come from."""
