"""Show how far runs are: on a terminal a screen that is kept up to date, elsewhere a line from time to time."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.runs.budgets import convert_if_calibrated
from bench.runs.monitor import Best, Overview, Running, overview
from bench.runs.plan import Matrix
from bench.system.errors import RecordError
from bench.system.text import harmless, percent

__all__ = ["follow", "line", "screen"]

MOST = 12
"""Runs, methods or names that are shown of a kind; the rest are counted."""
_SHOWN_BEST = 4
_UNMATCHED = (
    "the runs that execute here are none of these: the device and the number of cores are part of a run; say --device, or "
    "watch the folder alone"
)
_ORDER = ("complete", "failed", "cancelled", "diverged", "out-of-memory")


def follow(out: Path, matrices: Sequence[Matrix] | None, *, once: bool, interval: float | None = None) -> None:
    """Show how far the runs of these matrices are, or all in the folder, until an interrupt or until all have ended.

    Calibrated budgets are converted as soon as `out` holds a calibration for them. `interval` is in seconds; by default 2 on a
    terminal and 60 elsewhere.

    Raises:
        BenchError: if `out` is no folder (one that is not there yet is empty), or the calibration that was named is not one
            for these runs.
    """
    if out.exists() and not out.is_dir():
        raise RecordError(f"{str(out)!r} is not a folder of records; name one with --out")
    console = Console(highlight=False)
    try:
        with Live(console=console, auto_refresh=False) if console.is_terminal and not once else nullcontext() as live:
            while True:
                matrices = None if matrices is None else [convert_if_calibrated(matrix, out) for matrix in matrices]
                now = overview(out, matrices)
                if live is not None:
                    live.update(screen(now, out), refresh=True)
                elif once:
                    console.print(screen(now, out))
                else:
                    print(line(now), flush=True)
                if once or now.over:
                    return
                time.sleep(interval or (2 if console.is_terminal else 60))
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        sys.stdout = None  # the reader has left; flushing at exit would fail again


def line(now: Overview) -> str:
    """Write all in one line."""
    parts = [f"{datetime.now():%H:%M:%S}", _counts(now)]
    parts += [f"{run.name}: {run.phase} {run.share:.0%}" for run in now.running[:MOST]]
    if now.remaining:
        parts.append(f"about {_span(now.remaining)} left")
    parts += [_ranking(best, 1) for best in now.best[:1]]
    parts += [_UNMATCHED] if now.unmatched else []
    return harmless("  ".join(parts))


def screen(now: Overview, out: Path) -> RenderableType:
    """Write all, with a bar for each run."""
    parts: list[RenderableType] = [_text(f"{out}  {datetime.now():%H:%M:%S}", "bold")]
    for setting in dict.fromkeys(run.setting for run in now.running[:MOST]):
        parts += [_text(setting)] if setting else []
        parts.append(_bars([run for run in now.running[:MOST] if run.setting == setting]))
    if len(now.running) > MOST:
        parts.append(_text(f"and {len(now.running) - MOST} more"))
    left = f"; about {_span(now.remaining)} left" if now.remaining else ""
    parts.append(_text(_counts(now) + left))
    parts += [_text(_UNMATCHED)] if now.unmatched else []
    if now.stopped:
        more = f" and {len(now.stopped) - MOST} more" if len(now.stopped) > MOST else ""
        parts.append(_text(f"stopped, with a checkpoint to resume from: {'; '.join(now.stopped[:MOST])}{more}"))
    if now.damaged:
        parts.append(_text(f"files that are no whole records: {now.damaged}; `report` names them"))
    parts += [_text(_ranking(best, MOST)) for best in now.best[:_SHOWN_BEST]]
    if len(now.best) > _SHOWN_BEST:
        parts.append(_text(f"and {len(now.best) - _SHOWN_BEST} more settings; `report` shows all"))
    return Group(*parts)


def _text(text: str, style: str = "") -> Text:
    return Text(harmless(text), style=style)


def _bars(running: list[Running]) -> Table:
    table = Table.grid(padding=(0, 2))
    for run in running:
        elapsed = "" if run.seconds is None else _span(run.seconds)
        left = "" if run.remaining is None else f"about {_span(run.remaining)} left"
        phase = f"{run.phase} {run.share:.0%}"
        bar = ProgressBar(total=1.0, completed=run.share, width=16)
        table.add_row(_text(f"  {run.name}"), bar, *(_text(cell) for cell in (phase, elapsed, left)))
    return table


def _counts(now: Overview) -> str:
    """Count the runs by state, those that run, and those to do; failed and stopped ones are among the latter."""
    parts = [f"{now.states[state]} {state}" for state in _ORDER if now.states.get(state)]
    parts += [f"{len(now.running)} running"] if now.running else []
    if now.requested is not None:
        parts.append(f"{now.to_do} of {now.requested} to do" if now.to_do else f"all {now.requested} running or done")
    return ", ".join(parts) or "nothing yet"


def _ranking(best: Best, most: int) -> str:
    shown = [
        f"{name} {percent(mean)} %" + (f" ({seeds} seeds)" if seeds > 1 else "") for name, mean, seeds in best.methods[:most]
    ]
    return f"best so far [{best.setting}]: {', '.join(shown)}"


def _span(seconds: float) -> str:
    """Write seconds as a clock shows them: 0:45, 12:05, 3:07:10."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
