"""rlrun trains language models with GRPO in sessions that stop and continue bit for bit."""

__version__ = "0.1.0"
