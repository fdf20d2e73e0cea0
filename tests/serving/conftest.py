"""Fixtures of this room."""

from support.torch_settings import one_thread

__all__ = ["one_thread"]
