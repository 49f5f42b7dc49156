"""The commands `run` and `watch`, which share the options that select runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bench.cli.options import RUNS, Selection, say, selects_runs
from bench.runs.request import option_of
from bench.system.errors import SpecError

if TYPE_CHECKING:
    from bench.analysis.tuning import Decision
    from bench.records.schema import Baseline, Record
    from bench.runs.launchers.ray_cluster import Cluster

__all__ = ["run", "watch"]


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

    def announce(decision: Decision) -> None:
        print(choice_line(decision), flush=True)

    with _connected(engine, address) as cluster:
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
            carry_out(matrix, out, force=force, tell=tell, announce=announce, keep=save, cluster=cluster) for matrix in matrices
        ]
    if not all(complete):
        raise typer.Exit(1)


def _connected(engine: str, address: str | None) -> AbstractContextManager[Cluster | None]:
    """Connect to the cluster for the runs, or to none."""
    if engine == "local":
        if address is not None:
            raise SpecError("--address needs --engine ray; add that, or leave --address out")
        return nullcontext()
    from bench.runs.launchers.ray_cluster import connected

    return connected(address)


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
