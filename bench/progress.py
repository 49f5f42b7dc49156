"""What a person sees while runs go on: a bar for the run, how many are left, and when all will be done."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from bench.report.rows import harmless

__all__ = ["Progress"]


_SHARES = {"training": (0.0, 0.75), "test": (0.75, 0.2), "elsewhere": (0.95, 0.05)}
"""What part of a run is done when a phase begins, and how much the phase adds."""


class Progress:
    """Bars on the standard error stream; on one that is no terminal, a line at each start."""

    def __init__(self, runs: int) -> None:
        self._console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._runs, self._done = runs, 0
        self._all: TaskID | None = None
        self._bar: TaskID | None = None
        self._name = ""

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def tokenising(self, done: int, total: int) -> None:
        """Reviews tokenised so far, which happens once for an encoder and a data set."""
        if self._bar is None:
            self._say("tokenising the reviews, once for this encoder")
            self._bar = self._bars.add_task("tokenising reviews", total=total)
        self._bars.update(self._bar, completed=done)
        if done == total:
            self._bars.remove_task(self._bar)
            self._bar = None

    def starts(self, name: str) -> None:
        """A run begins."""
        if self._all is None and self._runs > 1:
            self._all = self._bars.add_task("all runs", total=self._runs)
        self._name = name
        self._bar = self._bars.add_task(f"{name}: set-up", total=1.0)
        self._say(f"{name} ({self._done + 1} of {self._runs})" if self._done < self._runs else name)

    def hears(self, phase: str, share: float) -> None:
        """A run tells how much of a phase is done."""
        if self._bar is not None:
            self._bars.update(self._bar, description=f"{self._name}: {phase}", completed=share)
        if self._all is not None:
            before, weight = _SHARES.get(phase, (0.0, 0.0))
            self._bars.update(self._all, completed=min(self._runs, self._done + before + weight * share))

    def note(self, line: str) -> None:
        """Something that a person should know, above the bars."""
        self._console.print(harmless(line), highlight=False, markup=False, soft_wrap=True)

    def says(self, line: str) -> None:
        """Something that the run tells of itself."""
        self.note(f"{self._name}: {line}")

    def ends(self) -> None:
        """The run is over."""
        self._done += 1
        if self._bar is not None:
            self._bars.remove_task(self._bar)
            self._bar = None
        if self._all is not None:
            self._bars.update(self._all, completed=min(self._runs, self._done))

    def fewer(self, runs: int) -> None:
        """So many of the runs will not be made."""
        self._runs -= runs
        if self._all is not None:
            self._bars.update(self._all, total=self._runs)

    def _say(self, line: str) -> None:
        if not self._console.is_terminal:
            self._console.print(line, highlight=False, markup=False)
