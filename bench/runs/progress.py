"""Progress bars of the runs of a command, and the status that `watch` reads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from bench.runs.status import Note, share_of_run
from bench.system.text import harmless
from bench.training.job import Notify

__all__ = ["Progress"]


class Progress(Bars):
    """Bars on the standard error stream, or, if that is no terminal, a line at each start. Threads may each show a run."""

    def __init__(self, runs: int) -> None:
        console = Console(stderr=True)
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._counting = threading.Lock()
        self._runs, self._done = runs, 0
        self._all = self.add_task("all runs", total=runs, visible=runs > 1)
        self._tokenising: TaskID | None = None
        self._running: dict[TaskID, float] = {}
        """Bar → share of its run that is done."""

    def tokenising(self, done: int, total: int) -> None:
        """Show how many reviews are tokenised, which happens once for an encoder and a data set."""
        if self._tokenising is None:
            self._say("tokenising the reviews, once for this encoder")
            self._tokenising = self.add_task("tokenising reviews", total=total)
        self.update(self._tokenising, completed=done)
        if done == total:
            self.remove_task(self._tokenising)
            self._tokenising = None

    @contextmanager
    def run(self, name: str, setting: str, locked: Path) -> Iterator[Notify]:
        """Show a run from start to end. Yield its listener; `locked` is its lock file."""
        with self._counting:
            bar = self.add_task(f"{name}: set-up", total=1.0)
            self._running[bar] = 0.0
            number, runs = self._done + len(self._running), self._runs
        self._say(f"{name} ({number} of {runs})" if number <= runs else name)
        note = Note(locked, name, setting, number, runs)

        def update(phase: str, share: float, line: str | None = None) -> None:
            if line is not None:
                self.note(f"{name}: {line}")
                return
            note.update(phase, share)
            self.update(bar, description=f"{name}: {phase}", completed=share)
            with self._counting:
                self._running[bar] = share_of_run(phase, share)
                self._count()

        try:
            yield update
        finally:
            note.close()
            with self._counting:
                del self._running[bar]
            self.remove_task(bar)
            self.finish_one()

    def note(self, line: str) -> None:
        """Print a line above the bars."""
        self.console.print(harmless(line), highlight=False, markup=False, soft_wrap=True)

    def finish_one(self) -> None:
        """Count a run as done; also one that was finished before."""
        with self._counting:
            self._done += 1
            self._count()

    def reduce(self, runs: int) -> None:
        """Expect fewer runs by this number."""
        with self._counting:
            self._runs -= runs
            self.update(self._all, total=self._runs)

    def _count(self) -> None:
        self.update(self._all, completed=min(self._runs, self._done + sum(self._running.values())))

    def _say(self, line: str) -> None:
        if not self.console.is_terminal:
            self.console.print(line, highlight=False, markup=False)
