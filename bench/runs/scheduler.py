"""Schedule a matrix: trials, then runs, then baselines. What is finished is skipped, and every run leaves a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from bench.analysis.tuning import Decision, decide, one_more_rate
from bench.data.task import Ints, Task, prepare, sample
from bench.records.artifacts import find_folder
from bench.records.attempts import ATTEMPTS
from bench.records.schema import Record, baseline_id
from bench.records.store import finished, prepare_folder
from bench.runs.disk_space import check_room
from bench.runs.executor import Context, Tell, run_all, run_baseline
from bench.runs.launchers.process import Engine, LocalEngine
from bench.runs.launchers.ray_cluster import Cluster
from bench.runs.plan import Matrix, extended, tuned
from bench.runs.progress import Progress
from bench.system.files import cache_dir, sweep
from bench.system.locks import tidy
from bench.system.signals import Interrupts
from bench.training.baseline import BaselineJob, baseline_spec, rows_seen
from bench.training.job import Job

__all__ = ["REFERENCE", "carry_out"]

REFERENCE = "houlsby"
"""The reference method of the comparison; a baseline is fitted on as many reviews as it saw."""
Announce = Callable[[Decision], None]
"""Called with the decision on each learning rate that was tuned."""


def _sweep(out: Path) -> None:
    """Remove unfinished files of killed processes from the results and the cache."""
    cache = cache_dir()
    cached = [] if cache is None else [cache, *(part for part in cache.iterdir() if part.is_dir())]
    sweep(out, out / "logits", out / "checkpoints", out / "adapters", out / ATTEMPTS, *cached)
    tidy(out)
    with suppress(OSError):
        (out / "checkpoints").rmdir()


def carry_out(
    matrix: Matrix,
    out: Path,
    *,
    force: bool,
    tell: Tell,
    announce: Announce,
    keep: bool = False,
    cluster: Cluster | None = None,
) -> bool:
    """Execute the unfinished runs of a matrix, on this machine or on a cluster. With `keep`, also save trained weights.

    Return whether all is complete: every run and baseline, with `keep` its adapter, and with tuning a learning rate for
    every method. Trials may have diverged or run out of memory.

    Raises:
        BenchError: before anything is written, if `out` cannot be written, lacks room or holds a damaged record of these runs,
            or if the tokenizer cannot be used; later, if the cluster has no machine for the runs.
        KeyboardInterrupt: after an interrupted run has saved its record.
    """
    prepare_folder(out)
    jobs = [*matrix.trials, *matrix.jobs]
    unfinished = [job for job in jobs if force or finished(out, job.run_id) is None]
    _sweep(out)
    check_room(out, unfinished, keep=keep)
    interrupts = Interrupts()
    try:
        with Progress(len(jobs)) as progress, ExitStack() as stack:
            engine: Engine = LocalEngine(matrix.device, interrupts)
            if cluster is not None:
                engine = stack.enter_context(cluster.engine(matrix.device, jobs[0].spec.threads, len(jobs), interrupts))
            task = prepare(matrix.pretrained, matrix.data.sha256, lambda: matrix.splits, progress.tokenising)
            return _run_matrix(Context(out, force, keep, tell, engine, progress, interrupts), matrix, task, announce)
    finally:
        _sweep(out)  # again: a process whose parent was killed may have gone on writing


def _run_matrix(context: Context, matrix: Matrix, task: Task, announce: Announce) -> bool:
    decisions = _tune(context, matrix.trials)
    for decision in decisions:
        announce(decision)
    jobs = tuned(matrix.jobs, decisions) if matrix.trials else matrix.jobs
    context.progress.reduce(len(matrix.jobs) - len(jobs))
    records = run_all(context, jobs)
    baselines = _run_baselines(context, matrix, task, records) if matrix.with_baseline else True
    saved = not context.keep or all(find_folder(context.out, record) for record in records)
    complete = all(record.state == "complete" for record in records)
    return baselines and saved and complete and all(decision.rate is not None for decision in decisions)


def _tune(context: Context, trials: list[Job]) -> list[Decision]:
    """Run the trials, and, where a best rate is at the edge of its grid, those of one more rate for every method."""
    records = list(zip((job.requested_budget for job in trials), run_all(context, trials), strict=False))
    more = one_more_rate(records)
    if more:
        extra = extended(trials, more)
        context.progress.reduce(-len(extra))
        records += zip((job.requested_budget for job in extra), run_all(context, extra), strict=False)
    return decide(records, extended=bool(more))


def _run_baselines(context: Context, matrix: Matrix, task: Task, records: Sequence[Record]) -> bool:
    """Fit baselines on all texts that the runs may train on, and on those that each reference run saw. Return whether all
    are done.
    """
    spec = matrix.jobs[0].spec

    def job(rows: Ints) -> BaselineJob:
        own = baseline_spec(rows, spec.test_limit)
        return BaselineJob(
            baseline_id(own, data_sha256=matrix.data.sha256), own, rows, matrix.splits, task, matrix.data, spec.threads
        )

    jobs = [job(sample(len(task.train), ran.spec.train_limit, ran.spec.seed)) for ran in matrix.jobs]
    for record in records:
        if record.spec.method == REFERENCE and (training := record.training) is not None:
            ran = record.spec
            seen = training.reviews_distinct
            jobs.append(job(rows_seen(task, ran.max_length, ran.batch_size, ran.seed, seen, ran.train_limit)))
    # Runs may see the same reviews: with --force their baseline is fitted once.
    unique = {baseline.run_id: baseline for baseline in jobs}
    fitted = [run_baseline(context, baseline, f"{spec.encoder} on {spec.data}") for baseline in unique.values()]
    return all(fitted)
