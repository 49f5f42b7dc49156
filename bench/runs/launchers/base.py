"""What every engine is to those who ask it for runs."""

from __future__ import annotations

from typing import Any, Protocol

from bench.runs.launchers.process import Watch
from bench.training.job import Notify

__all__ = ["Engine"]


class Engine(Protocol):
    """Where runs execute: the processes of this machine, or a cluster."""

    @property
    def places(self) -> int:
        """How many runs it does at once; where there are several, each is asked for by a thread of its own."""
        ...

    def run(self, work: str, *arguments: Any, listen: Notify) -> tuple[Any, Watch]:
        """Do one piece of work in a fresh process; returns its result and what an outside clock saw.

        Raises:
            Died: if there is no result.
            KeyboardInterrupt: if an end was asked for, with the result, if there is one, and the watch as its arguments.
        """
        ...
