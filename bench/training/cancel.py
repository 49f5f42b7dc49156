"""SIGTERM in the process of a run: raised at once, except in the middle of a step."""

from __future__ import annotations

import signal
from collections.abc import Callable

__all__ = ["Cancelled", "Stop"]

PATIENCE = 2.0
"""Seconds that a step has to end; after them it is abandoned, with all since the last checkpoint."""


class Cancelled(BaseException):
    """The run received SIGTERM."""


class Stop:
    """Raises `Cancelled` once, when SIGTERM comes."""

    def __init__(self) -> None:
        self.requested = False
        self.busy: Callable[[], bool] = lambda: False
        """Whether something is half done that ends in a moment, with a call of `check`."""

    def listen(self) -> None:
        """Handle SIGTERM from now on."""
        signal.signal(signal.SIGTERM, self._hear)
        signal.signal(signal.SIGALRM, self._impatient)

    def end(self) -> None:
        """Raise nothing from now on."""
        self.requested = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)

    def check(self) -> None:
        """Raise `Cancelled` if it was deferred, or was lost: an exception in a destructor is swallowed."""
        if self.requested:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise Cancelled

    def _hear(self, number: int, frame: object) -> None:
        if self.requested:
            return
        self.requested = True
        if not self.busy():
            raise Cancelled
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def _impatient(self, number: int, frame: object) -> None:
        raise Cancelled
