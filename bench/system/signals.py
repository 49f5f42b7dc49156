"""Ctrl-C and SIGTERM in the process that starts runs, deferred to a consistent state."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

__all__ = ["INTERRUPTED", "Interrupts"]

INTERRUPTED = 130
"""The exit code that typer gives an interrupt: 128 and the number of SIGINT."""

_Handler = Callable[[int, FrameType | None], Any] | int | None


class Interrupts:
    """Defers SIGINT and SIGTERM and raises KeyboardInterrupt at its end; a no-op in worker threads. Can be nested."""

    def __init__(self) -> None:
        self.count = 0
        """Interrupts received so far."""
        self._depth = 0
        self._at_once = False
        self._before: dict[int, _Handler] = {}

    def __enter__(self) -> Interrupts:
        self._depth += 1
        # Only the main thread may set handlers, and only there are interrupts raised.
        if self._depth == 1 and threading.current_thread() is threading.main_thread():
            # An ignored signal stays ignored: shells start background jobs that way.
            heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._hear) for number in heard}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._depth -= 1
        if self._depth:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        if self.count and kind is None:
            raise KeyboardInterrupt

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self._at_once:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise interrupts at once, in a block that may wait long and has no state to lose.

        Raises:
            KeyboardInterrupt: also if one came before.
        """
        self._at_once = True
        try:
            if self.count:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False
