"""The errors of this package, and the root of all errors of a user's input."""

from __future__ import annotations

__all__ = ["BenchError", "MethodError"]


class BenchError(Exception):
    """Root of the errors of a user's input. The message is one line: what is wrong and what to do."""


class MethodError(BenchError, ValueError):
    """A method that does not exist, does not load, or does not fit an encoder. The message is one line."""
