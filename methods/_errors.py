"""The error of this package."""

from __future__ import annotations

__all__ = ["MethodError"]


class MethodError(ValueError):
    """A method that does not exist, does not load, or does not fit an encoder. The message is one line."""
