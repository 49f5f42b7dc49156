"""The commands `calibrate`, `run` and `watch`, which share the options that select runs."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bench.cli.options import RUNS, Selection, say, selects_runs
from bench.runs.request import option_of
from bench.system.errors import SpecError

if TYPE_CHECKING:
    from bench.records.schema import Baseline, Calibration, Record

__all__ = ["calibrate", "run", "watch"]


@selects_runs()
def run(
    selection: Selection,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="local: one run at a time, here. ray: many, on a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="With --engine ray: host:port, auto or local. [$RAY_ADDRESS, else local: started here]")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the records.")] = RUNS,
    save: Annotated[bool, typer.Option("--save", help="Keep trained weights for predict, in adapters/ of --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Repeat finished runs; earlier records are kept.")] = False,
) -> None:
    """Train and test methods, each with the same budget, and write a record of each run."""
    from bench.records.schema import Record
    from bench.report.tables.formatting import baseline_line, choice_line, run_line

    def tell(record: Record | Baseline, path: Path, new: bool) -> None:
        print(run_line(record) if isinstance(record, Record) else baseline_line(record), flush=True)
        print(f"  {'record' if new else 'finished before; --force runs it again'}: {path}", flush=True)
        if save and isinstance(record, Record) and record.state == "complete" and record.spec.purpose == "run":
            folder = find_folder(out, record)
            print(f"  saved: {folder}" if folder else "  finished without --save; --force --save runs it again", flush=True)

    if engine == "local" and address is not None:
        raise SpecError("--address needs --engine ray; add that, or leave --address out")
    from bench.runs.launchers.ray_cluster import connected

    with connected(address) if engine == "ray" else nullcontext() as cluster:
        elsewhere = cluster is not None
        device = selection.request.device if cluster is None else cluster.device(selection.request.device)
        matrices = selection.matrices(device, elsewhere=elsewhere)
        from bench.records.artifacts import find_folder
        from bench.runs.budgets import convert_budgets
        from bench.runs.scheduler import carry_out

        for note in dict.fromkeys(note for matrix in matrices for note in matrix.pretrained.notes):
            say(note)
        matrices = [convert_budgets(matrix, out, elsewhere=elsewhere, say=say) for matrix in matrices]
        # A matrix with a run that failed does not stop those after it.
        complete = [
            carry_out(
                matrix, out, force=force, tell=tell, announce=lambda decision: print(choice_line(decision), flush=True),
                keep=save, cluster=cluster,
            )
            for matrix in matrices
        ]  # fmt: skip
    if not all(complete):
        raise typer.Exit(1)


@selects_runs()
def watch(
    selection: Selection,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the records.")] = RUNS,
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
    interval: Annotated[
        float | None,
        typer.Option(min=0.2, max=3600, help="Seconds between two looks: 2 on a terminal, else 60, and a line each."),
    ] = None,
) -> None:
    """Show how far runs are, here or on a cluster: all in the folder, or, with --suite or --method, those that `run` would
    execute with the same options. It writes nothing and can start and stop at any time.
    """
    from bench.runs.watch import follow
    from bench.system.device import shows_gpu

    matrices = None
    if selection.suite is not None or selection.request.methods:
        device = selection.request.device
        matrices = selection.matrices(device if device != "auto" else "cuda" if shows_gpu() else "cpu", elsewhere=True)
    elif selection.explicit:
        option = option_of(next(iter(selection.explicit)))
        raise SpecError(f"{option} needs to know which methods; name them with --method, or a suite with --suite")
    follow(out, matrices, once=once, interval=interval)


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
    from bench.records.store import path_of
    from bench.runs.calibration import calibrate as measured
    from bench.runs.calibration import warnings

    for matrix in selection.matrices():
        methods = [(job.spec.method, job.setting) for job in matrix.jobs]
        calibration = measured(
            matrix.jobs[0], methods, out, seconds=seconds, progress=lambda line: _show(f"calibration: {line}")
        )
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
