"""Errors that end training early."""

from __future__ import annotations

__all__ = ["AuditError", "Diverged", "MemoryCapReached"]


class AuditError(RuntimeError):
    """The attached model differs from its method's closed form, so training it would measure something else."""


class MemoryCapReached(RuntimeError):
    """Training exceeded the memory cap of its spec."""


class Diverged(RuntimeError):
    """The loss is not finite."""
