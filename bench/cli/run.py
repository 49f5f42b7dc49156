"""The commands `run` and `watch`, which take the same words for what is run."""

from __future__ import annotations

import sys
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import Device, Engine, Precision, Truncation
from bench.system.errors import SpecError

if TYPE_CHECKING:
    from bench.runs.launchers.ray_cluster import Cluster
    from bench.runs.plan import Matrix, Request

__all__ = [
    "RUNS", "Arithmetic", "BatchSize", "Cut", "Data", "Encoder", "MaxLength", "MemoryCap", "Methods", "On", "Suite", "planned",
    "refuse_beside_suite", "run", "watch",
]  # fmt: skip

RUNS = Path("results/runs")
"""Where records go and are looked for, unless told otherwise."""
_BESIDE_SUITE = {"suite", "device", "engine", "address", "out", "save", "force", "once", "interval"}
"""Options that say where and how, and not what."""


# What is run. `run` does it, and `watch` looks at how far it is.
Methods = Annotated[
    list[str] | None,
    typer.Option("--method", help="A method, several, 'all' for the five compared, 'every', or a group that `methods` lists."),
]
Suite = Annotated[str | None, typer.Option(help="Run a suite: a name that `suites` lists, or a file (./mine.yaml).")]
Encoder = Annotated[str, typer.Option(help="minilm, mpnet, a local folder, or a hub id.")]
Data = Annotated[str, typer.Option(help="embedded, imdb (the hub's), rotten-tomatoes, or a folder.")]
Budgets = Annotated[
    str,
    typer.Option(help='For each run: "60s", "1M reference tokens", "500 steps", "3 epochs", "2M tokens"; several: "15s,60s".'),
]
Seeds = Annotated[str, typer.Option(help='How many seeds ("3"), or which ("0,1,5"; "7," for one).')]
MaxLength = Annotated[int, typer.Option(min=8, max=8192, help="Tokens kept of a review.")]
Cut = Annotated[Truncation, typer.Option(help="Which part of a longer review is kept.")]
BatchSize = Annotated[int, typer.Option(min=1, max=4096, help="Reviews an optimizer step.")]
Arithmetic = Annotated[Precision, typer.Option(help="auto: bf16 where the device has instructions for it, else fp32.")]
On = Annotated[Device, typer.Option(help="Where runs execute.")]
MemoryCap = Annotated[str | None, typer.Option(help='Most that training may use: "2GiB". Beyond it a run ends.')]
TestLimit = Annotated[int | None, typer.Option(help="Test on so many reviews only, half of each class.")]
TrainLimit = Annotated[int | None, typer.Option(help="Train on so many reviews only, the first of each seed's order.")]
Tune = Annotated[int | None, typer.Option(help="First choose each method's learning rate among so many, on validation only.")]
TuneSeeds = Annotated[int, typer.Option(min=1, max=100, help="With --tune: seeds each learning rate is tried with.")]
Named = Annotated[
    Path | None, typer.Option("--calibration", help="Convert budgets by this calibration's record, of whatever machine.")
]
TrialsOnly = Annotated[bool, typer.Option("--trials-only", help="With --tune: the trials, and no runs.")]


def run(
    context: typer.Context,
    method: Methods = None,
    suite: Suite = None,
    encoder: Encoder = "minilm",
    data: Data = "embedded",
    budget: Budgets = "60s",
    seeds: Seeds = "1",
    max_length: MaxLength = 128,
    truncation: Cut = Truncation.both,
    batch_size: BatchSize = 16,
    precision: Arithmetic = Precision.auto,
    device: On = Device.auto,
    memory: MemoryCap = None,
    test_limit: TestLimit = None,
    train_limit: TrainLimit = None,
    tune: Tune = None,
    tune_seeds: TuneSeeds = 2,
    trials_only: TrialsOnly = False,
    calibration: Named = None,
    engine: Annotated[Engine, typer.Option(help="local: one run at a time, here. ray: many, on a Ray cluster.")] = Engine.local,
    address: Annotated[
        str | None, typer.Option(help="With --engine ray: host:port, auto or local. [$RAY_ADDRESS, else local: started here]")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the records.")] = RUNS,
    save: Annotated[bool, typer.Option("--save", help="Keep what is trained, for predict, in adapters/ of --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what is finished; earlier records are kept.")] = False,
) -> None:
    """Train and test methods, each with the same budget, and write a record of each run."""
    from bench.records.schema import Baseline, Record
    from bench.report.tables.formatting import baseline_line, choice_line, run_line
    from bench.runs.plan import Request

    if suite is None and not method:
        raise SpecError("Missing option '--method': name a method, several, or all; or name a suite with --suite")
    if suite is not None:
        refuse_beside_suite(context)
    with _connected(engine, address) as cluster:
        request = Request(
            method or [], encoder, data, budget, seeds, max_length, str(truncation), batch_size, str(precision),
            str(device) if cluster is None else cluster.device(str(device)), memory, test_limit, tune, tune_seeds,
            trials_only, None if calibration is None else str(calibration), train_limit=train_limit,
        )  # fmt: skip
        matrices = planned(suite, request, elsewhere=cluster is not None)
        from bench.analysis.tuning import Decision
        from bench.records.artifacts import kept_of
        from bench.runs.budgets import counted
        from bench.runs.scheduler import carry_out

        def tell(record: Record | Baseline, path: Path, new: bool) -> None:
            print(run_line(record) if isinstance(record, Record) else baseline_line(record), flush=True)
            print(f"  {'record' if new else 'finished before; --force runs it again'}: {path}", flush=True)
            if save and isinstance(record, Record) and record.state == "complete" and record.spec.purpose == "run":
                kept = kept_of(out, record)
                print(f"  saved: {kept}" if kept else "  finished without --save; --force --save runs it again", flush=True)

        def announce(decision: Decision) -> None:
            print(choice_line(decision), flush=True)

        def say(line: str) -> None:
            print(line, file=sys.stderr, flush=True)

        for note in dict.fromkeys(note for matrix in matrices for note in matrix.pretrained.notes):
            say(note)
        matrices = [counted(matrix, out, elsewhere=cluster is not None, say=say) for matrix in matrices]
        # Of several matrices the later ones are done too where an earlier one has a run that failed.
        done = [
            carry_out(matrix, out, force=force, tell=tell, announce=announce, keep=save, cluster=cluster) for matrix in matrices
        ]
    if not all(done):
        raise typer.Exit(1)


def _connected(engine: Engine, address: str | None) -> AbstractContextManager[Cluster | None]:
    """The cluster for the runs; none where they are to be done here."""
    if engine is Engine.local:
        if address is not None:
            raise SpecError("--address is that of a cluster; it needs --engine ray")
        return nullcontext()
    from bench.runs.launchers.ray_cluster import connected

    return connected(address)


def planned(suite: str | None, request: Request, *, elsewhere: bool) -> list[Matrix]:
    """The matrices of a suite, or the one that is spelt out; `elsewhere`, if this machine need not be able to do them."""
    if suite is not None:
        from bench.runs.suite import matrices

        return matrices(suite, request.device, elsewhere=elsewhere)
    from bench.runs.plan import plan

    return [plan(request, elsewhere=elsewhere)]


def refuse_beside_suite(context: typer.Context, also: AbstractSet[str] = frozenset()) -> None:
    """A suite's file says what is run; only where and how may be said beside it, by options of `_BESIDE_SUITE` and `also`.

    Raises:
        SpecError: naming an option that was given and the suite says.
    """
    what = _given(context) - _BESIDE_SUITE - also
    for parameter in context.command.params:
        if parameter.name in what:
            option = parameter.opts[0]
            raise SpecError(f"{option} cannot stand beside --suite, whose file says it; copy the file and change it there")


def _given(context: typer.Context) -> set[str]:
    """Names of the options that were given."""
    names = {parameter.name or "" for parameter in context.command.params}
    sources = {name: context.get_parameter_source(name) for name in names}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def watch(
    context: typer.Context,
    method: Methods = None,
    suite: Suite = None,
    encoder: Encoder = "minilm",
    data: Data = "embedded",
    budget: Budgets = "60s",
    seeds: Seeds = "1",
    max_length: MaxLength = 128,
    truncation: Cut = Truncation.both,
    batch_size: BatchSize = 16,
    precision: Arithmetic = Precision.auto,
    device: On = Device.auto,
    memory: MemoryCap = None,
    test_limit: TestLimit = None,
    train_limit: TrainLimit = None,
    tune: Tune = None,
    tune_seeds: TuneSeeds = 2,
    trials_only: TrialsOnly = False,
    calibration: Named = None,
    out: Annotated[Path, typer.Option(help="Folder of the records.")] = RUNS,
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
    interval: Annotated[
        float | None,
        typer.Option(min=0.2, max=3600, help="Seconds between two looks: 2 on a terminal, else 60, and a line each."),
    ] = None,
) -> None:
    """Show how far runs are, here or on a cluster: whatever goes on in the folder, or just what --suite, or --method and the
    options beside it, say as to `run`. With --device auto that is what this machine would do. It can be begun and ended at any
    time; nothing is written, and no run is held up.
    """
    from bench.runs.watch import follow

    asked: list[Matrix] | None = None
    if suite is not None:
        refuse_beside_suite(context)
    elif not method and (given := _given(context) - _BESIDE_SUITE):
        raise SpecError(f"--{min(given).replace('_', '-')} is part of what is run; name the methods too, with --method")
    if suite is not None or method:
        from bench.runs.plan import Request
        from bench.system.device import shows_gpu

        chosen = str(device) if device is not Device.auto else "cuda" if shows_gpu() else "cpu"
        request = Request(
            method or [], encoder, data, budget, seeds, max_length, str(truncation), batch_size, str(precision), chosen,
            memory, test_limit, tune, tune_seeds,
            trials_only, None if calibration is None else str(calibration), train_limit=train_limit,
        )  # fmt: skip
        asked = planned(suite, request, elsewhere=True)
    follow(out, asked, once=once, interval=interval)
