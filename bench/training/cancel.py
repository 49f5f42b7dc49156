"""SIGTERM in the process of a run: heard at once, but never in the middle of a step."""

from __future__ import annotations

import signal
from collections.abc import Callable

__all__ = ["Cancelled", "Stop"]

PATIENCE = 2.0
"""Seconds that a step has to end; after them it is given up, and with it what was not yet kept."""


class Cancelled(BaseException):
    """The person who started the run wants it to end."""


class Stop:
    """Raises `Cancelled` when SIGTERM comes, once."""

    def __init__(self) -> None:
        self.asked = False
        self.busy: Callable[[], bool] = lambda: False
        """Whether something is half done that a moment will finish; whoever does it calls `check` then."""

    def listen(self) -> None:
        """From now on hear SIGTERM."""
        signal.signal(signal.SIGTERM, self._hear)
        signal.signal(signal.SIGALRM, self._impatient)

    def end(self) -> None:
        """Hear nothing any more."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)

    def check(self) -> None:
        """Raise what was asked for while something was half done, or was lost: an exception in a destructor goes nowhere."""
        if self.asked:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise Cancelled

    def _hear(self, number: int, frame: object) -> None:
        if self.asked:
            return
        self.asked = True
        if not self.busy():
            raise Cancelled
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def _impatient(self, number: int, frame: object) -> None:
        raise Cancelled
