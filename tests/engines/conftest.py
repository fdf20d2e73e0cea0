"""Fixtures of this room."""

from support.engines import start_fake

__all__ = ["start_fake"]
