"""The command `calibrate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import RUNS, Selection, selects_runs

if TYPE_CHECKING:
    from bench.records.schema import Calibration
    from bench.runs.plan import Matrix

__all__ = ["calibrate"]


# The ratio of a method depends on none of these.
@selects_runs("budget", "seeds", "test_limit", "train_limit", "tune", "tune_seeds", "trials_only", "calibration")
def calibrate(
    selection: Selection,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=1, max=86400, help="Seconds for the rounds of five methods. [60; 15 for one method]", show_default=False
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the record.")] = RUNS,
) -> None:
    """Measure the time per token of each method, as a ratio to the reference, for budgets in seconds or reference tokens.
    Methods take turns on the same batches, so that a busy machine slows all of them; training runs convert by it.
    """
    for matrix in selection.matrices():
        _calibrate(matrix, out, seconds)


def _calibrate(matrix: Matrix, out: Path, seconds: float | None) -> None:
    """Calibrate the methods of a matrix, and print their ratios."""
    from bench.records.store import path_of
    from bench.runs.calibration import calibrate as measured
    from bench.runs.calibration import warnings

    jobs = matrix.jobs or matrix.trials
    methods = [(job.spec.method, job.spec.hyperparameters) for job in jobs]
    calibration = measured(jobs[0], methods, out, seconds=seconds, progress=lambda line: _show(f"calibration: {line}"))
    print(_table(calibration))
    for line in warnings(calibration, methods):
        print(f"  warning: {line}")
    print(f"  record: {path_of(out, calibration)}", flush=True)


def _show(line: str) -> None:
    """Replace the line of a terminal; elsewhere show nothing."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _table(calibration: Calibration) -> str:
    """Write each method with its ratio, interval and speed."""
    from bench.records.ratios import ratio

    _show("")
    reference = calibration.methods[0].slices
    lines = [
        f"{calibration.encoder} on {calibration.data}, {calibration.environment.device}, {calibration.setting.precision}: "
        f"{calibration.rounds_counted} of {calibration.rounds} rounds count",
        f"  {'method':<20} {'time of a token':>15}  {'95 % interval':<15} {'tokens/s':>9} {'rounds':>6}",
    ]
    for entry in calibration.methods:
        measured = ratio(entry.slices, reference, calibration.rounds_rule)
        if entry.ratio is None or measured is None:
            lines.append(f"  {entry.method:<20} {entry.state:>15}")
            continue
        interval = (
            f"{entry.low:.3f} to {entry.high:.3f}" if entry.low is not None and entry.high is not None else "too few rounds"
        )
        speed = calibration.tokens_per_second / entry.ratio
        lines.append(f"  {entry.method:<20} {entry.ratio:>15.3f}  {interval:<15} {speed:>9,.0f} {measured.rounds:>6}")
    return "\n".join(lines)
