"""Errors of the user's input, one class per cause. Each ends a command with one line and exit code 2."""

from __future__ import annotations

import reprlib

from methods.base import BenchError, MethodError

__all__ = ["BenchError", "ClusterError", "DataError", "MethodError", "ModelError", "RecordError", "SpecError", "brief"]

_FLAT = reprlib.Repr()
_FLAT.maxlevel = 1


class SpecError(BenchError):
    """An option, a suite or a specification that is malformed, out of range or contradictory."""


class DataError(BenchError):
    """Texts or labels that are missing, malformed, or other ones than a run was made with."""


class ModelError(BenchError):
    """A pretrained model or tokenizer that is missing, damaged, unsupported, or another one than a run was made with."""


class RecordError(BenchError):
    """A record, calibration or saved adapter that is missing, changed or unsuitable, or a folder that cannot hold one."""


class ClusterError(BenchError):
    """A cluster that is missing, unreachable, without the requested resources, or with other software."""


def brief(value: object) -> str:
    """Format a value of a file for a message: as Python writes it, shortened, and only the first level of what is nested."""
    return _FLAT.repr(value)
