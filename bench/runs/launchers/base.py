"""The protocol of a launcher: where runs execute."""

from __future__ import annotations

from typing import Any, Protocol

from bench.training.job import Notify, Result

__all__ = ["Engine"]


class Engine(Protocol):
    """The processes of this machine, or a cluster."""

    @property
    def slots(self) -> int:
        """Number of runs that execute at once; if several, each is requested from a thread of its own."""
        ...

    def run(self, work: str, *arguments: Any, listen: Notify) -> Result:
        """Execute one piece of work in a fresh process.

        Raises:
            Died: if the process ends without a result. An interrupt raises nothing: the result says so.
        """
        ...
