"""Doing a matrix: trials, then runs, then the baseline. What is finished is left alone, and every run leaves a record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from bench.analysis.tuning import Decision, decide, one_more_rate
from bench.data.task import prepare
from bench.records.artifacts import kept_of
from bench.records.attempts import ATTEMPTS
from bench.records.store import finished, prepare_folder, refuse_damaged
from bench.runs.disk_space import check_room
from bench.runs.executor import Doing, Tell
from bench.runs.launchers.base import Engine
from bench.runs.launchers.process import LocalEngine
from bench.runs.launchers.ray_cluster import Cluster
from bench.runs.plan import Matrix, extended, tuned
from bench.runs.progress import Progress
from bench.system.files import cache_dir, sweep
from bench.system.locks import tidy
from bench.system.signals import Interrupts
from bench.training.baseline import rows_seen
from bench.training.job import Job

__all__ = ["REFERENCE", "carry_out"]

REFERENCE = "houlsby"
"""The method that the comparison is centred on; a baseline is fitted on as many reviews as it saw."""
Announce = Callable[[Decision], None]
"""Called with each learning rate that trials chose, or did not."""


def _sweep(out: Path) -> None:
    """Remove what processes that were killed had not finished writing, in the results and in the cache."""
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
    """Do what is missing in the folder `out`, on this machine or on a cluster. Whether all that was asked for is complete:
    every run, and with tuning a learning rate for every method, which a trial that diverged or ran out of memory does not
    stand in the way of.

    With `keep`, what each run trains is saved, and is part of what was asked for; a run that was finished without it is not
    run again for that.

    Raises:
        BenchError: if `out` cannot be written, has no room, or holds a damaged record of what was asked for, or the tokenizer
            cannot be used; nothing is written then. Also if the cluster has, or is left with, no machine for the runs.
        KeyboardInterrupt: after a run that was interrupted has left its record.
    """
    prepare_folder(out)
    asked = [*matrix.trials, *matrix.jobs]
    if not force:
        refuse_damaged(out, [job.run_id for job in asked])
    _sweep(out)
    check_room(out, [job for job in asked if force or finished(out, job.run_id) is None], keep=keep)
    try:
        return _carried_out(matrix, out, force=force, tell=tell, announce=announce, keep=keep, cluster=cluster)
    finally:
        _sweep(out)  # once more: a process whose parent was killed may have been writing still


@contextmanager
def _engine(matrix: Matrix, cluster: Cluster | None, interrupts: Interrupts, progress: Progress) -> Iterator[Engine]:
    if cluster is None:
        yield LocalEngine(matrix.device, interrupts)
        return
    asked = [*matrix.trials, *matrix.jobs]
    with cluster.engine(matrix.device, asked[0].spec.threads, len(asked), interrupts, progress.note) as engine:
        yield engine


def _carried_out(
    matrix: Matrix, out: Path, *, force: bool, tell: Tell, announce: Announce, keep: bool, cluster: Cluster | None
) -> bool:
    interrupts, asked = Interrupts(), len(matrix.trials) + len(matrix.jobs)
    with Progress(asked) as progress, _engine(matrix, cluster, interrupts, progress) as engine:
        task = prepare(matrix.pretrained, matrix.data.sha256, lambda: matrix.cut, progress.tokenising)
        doing = Doing(matrix, out, force, tell, engine, progress, keep, interrupts, whole=interrupts)
        jobs, choices = matrix.jobs, []
        if matrix.trials:
            choices = _decided(doing, matrix.trials, progress)
            for choice in choices:
                announce(choice)
            jobs = tuned(matrix.jobs, choices)
            progress.fewer(len(matrix.jobs) - len(jobs))
        records = doing.all(jobs)
        if matrix.with_baseline:
            doing.baseline(task, np.arange(len(task.train)))
            for record in records:
                if record.spec.method == REFERENCE and record.training is not None:
                    spec, seen = record.spec, record.training.reviews_distinct
                    limit = spec.train_limit
                    doing.baseline(task, rows_seen(task, spec.max_length, spec.batch_size, spec.seed, seen, limit))
    if not doing.all_baselines or (keep and not all(kept_of(out, record) for record in records)):
        return False
    return all(choice.rate is not None for choice in choices) and all(record.state == "complete" for record in records)


def _decided(doing: Doing, trials: list[Job], progress: Progress) -> list[Decision]:
    """Do the trials, and where a best rate stands at the edge of its grid, those of one more rate for every method."""
    pairs = list(zip(trials, doing.all(trials), strict=False))
    more = one_more_rate(pairs)
    if more:
        extra = extended(trials, more)
        progress.fewer(-len(extra))
        pairs += zip(extra, doing.all(extra), strict=False)
    return decide(pairs, extended=bool(more))
