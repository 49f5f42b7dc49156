"""The error that a person caused and can mend: one line, exit code 2."""

from __future__ import annotations

__all__ = ["UserError"]


class UserError(Exception):
    """Bad input. The message is one line that says what is wrong and what to do about it."""
