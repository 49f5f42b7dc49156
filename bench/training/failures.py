"""Why training ends early."""

from __future__ import annotations

__all__ = ["AuditError", "Diverged", "MemoryCapReached"]


class AuditError(RuntimeError):
    """The attached model is not what its method says it is, so training it would measure something else."""


class MemoryCapReached(RuntimeError):
    """Training took more memory than the spec allows."""


class Diverged(RuntimeError):
    """The loss is no longer a number."""
