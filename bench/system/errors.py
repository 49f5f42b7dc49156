"""The error that a person caused and can mend: one line, exit code 2."""

from __future__ import annotations

import reprlib

__all__ = ["UserError", "brief"]

_FLAT = reprlib.Repr()
_FLAT.maxlevel = 1


class UserError(Exception):
    """Bad input. The message is one line that says what is wrong and what to do about it."""


def brief(value: object) -> str:
    """A value of a file for a message: as Python writes it, cut, and only the first level of what is nested."""
    return _FLAT.repr(value)
