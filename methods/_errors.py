"""The errors of this package, and the root of all errors that a person can mend."""

from __future__ import annotations

__all__ = ["BenchError", "MethodError"]


class BenchError(Exception):
    """Root of the errors that a person can mend. The message is one line: what is wrong, and what to do about it."""


class MethodError(BenchError, ValueError):
    """A method that does not exist, does not load, or does not fit an encoder. The message is one line."""
