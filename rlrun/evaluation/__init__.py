"""Evaluation: what the samples of a step say, how sure that is, and how two steps compare."""
