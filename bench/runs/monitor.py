"""How far the runs of a results folder are, from its records, checkpoints and lock files. Nothing is written or locked."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from statistics import fmean, median

from bench.analysis.comparison import by_setting
from bench.analysis.groups import GroupKey, group_key
from bench.analysis.tuning import decide, one_more_rate
from bench.records.schema import FINAL, AnyRecord, Baseline, Record
from bench.records.spec import Budget
from bench.records.store import Damaged, examine
from bench.runs.plan import Matrix, extended, tuned
from bench.runs.status import Status, is_running, read_status
from bench.system.files import present
from bench.system.locks import lock_path
from bench.training.job import Job, checkpoint_path, run_name

__all__ = ["OVERHEAD", "Best", "Overview", "Running", "overview", "records_of"]

OVERHEAD = 25.0
"""Seconds that a run takes beside its training, before any is finished: set-up and test of the smallest encoder."""
SOON = 0.03
"""Share of a phase below which its pace is no estimate."""


def records_of(folder: Path) -> tuple[list[Record | Baseline], int]:
    """Return all records of runs and baselines, and the number of other or changed files beside them."""
    found: list[AnyRecord | None] = []
    for path in sorted(present(folder, "*.json")):
        with suppress(OSError):  # removed in this moment
            status = path.stat()
            found.append(_read_record(path, (status.st_mtime_ns, status.st_size, status.st_ino)))
    return [one for one in found if isinstance(one, Record | Baseline)], found.count(None)


@lru_cache(maxsize=10_000)
def _read_record(path: Path, mark: tuple[int, int, int]) -> AnyRecord | None:
    """Read a file once, as long as it has the same mark."""
    record = examine(path)
    return None if isinstance(record, Damaged) else record


@dataclass(frozen=True)
class Running:
    """A run that executes now."""

    name: str
    setting: str
    phase: str
    share: float
    """Of the phase, that is done."""
    seconds: float | None
    """Since its start."""
    remaining: float | None
    """Estimated seconds until its end."""


@dataclass(frozen=True)
class Best:
    """Methods of comparable runs, by mean accuracy so far, the best first."""

    setting: str
    methods: list[tuple[str, float, int]]
    """Label, mean test accuracy (a share of 1), number of seeds."""


@dataclass(frozen=True)
class Overview:
    """How far all runs are."""

    running: list[Running]
    states: dict[str, int]
    """State → number of runs and trials that ended in it."""
    to_do: int | None
    """Requested runs that are neither final nor running; None if nothing was requested."""
    requested: int | None
    stopped: list[str]
    """Names of runs with a checkpoint that do not execute: the command that started them resumes them."""
    best: list[Best] = field(default_factory=list)
    remaining: float | None = None
    """Estimated seconds until all are done."""
    damaged: int = 0
    unmatched: bool = False
    """Whether runs execute here but none of those requested ever started: their ids may differ by device or threads."""

    @property
    def over(self) -> bool:
        """Whether all requested runs have ended."""
        return self.to_do == 0 and not self.running


def overview(folder: Path, matrices: Sequence[Matrix] | None) -> Overview:
    """Summarise the runs of these matrices or, without any, of the folder."""
    locks = sorted(present(lock_path(folder, "").parent, "*.lock"))
    # Before the records: a run that ends meanwhile is seen twice, and not missed.
    locked = [(path.stem, status) for path in locks if is_running(path, status := read_status(path))]
    records, damaged = records_of(folder)
    runs = [record for record in records if isinstance(record, Record)]
    jobs = None if matrices is None else [job for matrix in matrices for job in _jobs(matrix, runs)]
    if jobs is not None:
        ids = {job.run_id for job in jobs}
        runs = [record for record in runs if record.run_id in ids]
        # A baseline has no job; it belongs to any request for runs in this folder.
        mine = [(i, status) for i, status in locked if i in ids or (status and status.name.startswith("baseline"))]
    else:
        mine = locked
    now, pace = time.time(), _Pace(runs)
    known: dict[str, Job | Record] = {one.run_id: one for one in (*runs, *(jobs or ()))}
    running = [_running(status, now, pace, known.get(run_id)) for run_id, status in mine]
    busy = {run_id for run_id, _ in locked}
    if jobs is None:
        waiting, others = None, [pace.whole(None)] * _waiting([status for _, status in locked if status is not None])
    else:
        done = busy | {record.run_id for record in runs if record.state in FINAL}
        waiting = [job for job in jobs if job.run_id not in done]
        others = [pace.whole(job) for job in waiting]
    checkpoints = {path.stem for path in present(checkpoint_path(folder, "").parent, "*.safetensors")}
    resumable = sorted(run_id for run_id in checkpoints - busy if jobs is None or run_id in known)
    return Overview(
        running=running,
        states=Counter(record.state for record in runs if record.run_id not in busy),
        to_do=None if waiting is None else len(waiting),
        requested=None if jobs is None else len(jobs),
        stopped=[run_name(known[run_id].spec) if run_id in known else run_id for run_id in resumable],
        best=_best(runs),
        remaining=_until_all_done([run.remaining for run in running], others),
        damaged=damaged,
        unmatched=bool(locked) and not running and not runs,
    )


def _jobs(matrix: Matrix, records: list[Record]) -> list[Job]:
    """Return all jobs of a matrix; once its trials have ended, its runs are at the rates that they chose."""
    finished = {record.run_id: record for record in records if record.state in FINAL}

    def pairs(jobs: Sequence[Job]) -> list[tuple[Budget, Record]]:
        return [(job.requested_budget, finished[job.run_id]) for job in jobs if job.run_id in finished]

    trials = list(matrix.trials)
    ended = pairs(trials)
    if not trials or len(ended) < len(trials):
        return [*trials, *matrix.jobs]
    more = one_more_rate(ended)
    trials += extended(trials, more)
    ended = pairs(trials)
    if len(ended) < len(trials):
        return [*trials, *matrix.jobs]
    return [*trials, *tuned(matrix.jobs, decide(ended, extended=bool(more)))]


def _running(status: Status | None, now: float, pace: _Pace, run: Job | Record | None) -> Running:
    if status is None:
        return Running("a run" if run is None else run_name(run.spec), "", "set-up", 0.0, None, pace.whole(run))
    left = pace.remaining(status, run, now)
    return Running(status.name, status.setting, status.phase, status.share, max(0.0, now - status.began), left)


def _waiting(statuses: Iterable[Status]) -> int:
    """Count the runs that running processes have still to start, by their status."""
    left: dict[tuple[str, int], int] = {}
    for status in statuses:
        process, rest = (status.machine, status.process), max(0, status.runs - status.number)
        left[process] = min(left.get(process, rest), rest)
    return sum(left.values())


def _best(records: list[Record]) -> list[Best]:
    """Rank the methods of each group of comparable runs, the group with the latest run first."""
    groups: dict[GroupKey, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.finished, reverse=True):
        if record.state == "complete" and record.test is not None and record.spec.purpose == "run":
            groups[group_key(record)].append(record)
    best: list[Best] = []
    for group in groups.values():
        spec = group[0].spec
        means = [(label, fmean(r.test.accuracy for r in own if r.test), len(own)) for label, own in by_setting(group)]
        best.append(Best(f"{spec.encoder} on {spec.data}, {spec.requested_budget}", sorted(means, key=lambda one: -one[1])))
    return best


class _Pace:
    """Seconds of training and of all else in finished runs."""

    def __init__(self, records: Iterable[Record]) -> None:
        times = [(record, record.seconds) for record in records if record.state == "complete" and record.seconds is not None]
        self._trained: dict[str | None, list[float]] = defaultdict(list)
        """By budget, and of all under None."""
        for record, seconds in times:
            for budget in (str(record.spec.requested_budget), None):
                self._trained[budget].append(seconds.charged)
        self.overhead = median(max(0.0, took.total + took.before - took.charged) for _, took in times) if times else OVERHEAD

    def training(self, run: Job | Record | None) -> float | None:
        """Return the seconds of training: of the budget, else by its calibration, else the median of finished ones like it."""
        if run is not None and run.conversion is not None:
            return run.conversion.expected_seconds
        if run is not None and run.spec.budget.unit == "seconds":
            return run.spec.budget.amount
        others = self._trained.get(None if run is None else str(run.spec.requested_budget))
        return median(others) if others else None

    def whole(self, run: Job | Record | None) -> float | None:
        """Return the seconds of a run from start to end."""
        training = self.training(run)
        return None if training is None else training + self.overhead

    def remaining(self, status: Status, run: Job | Record | None, now: float) -> float | None:
        """Return the seconds until a run ends; None where neither its budget nor its pace is known."""
        rest, done = 1.0 - status.share, status.share - status.found
        paced = (now - status.since) / done * rest if status.since is not None and done > SOON else None
        if status.phase not in ("set-up", "training"):
            return self.overhead * rest if paced is None else paced
        whole = self.training(run)
        planned = None if whole is None else whole * rest
        training = planned if paced is None or status.phase == "set-up" else paced
        return None if training is None else training + self.overhead


def _until_all_done(running: Sequence[float | None], waiting: Sequence[float | None]) -> float | None:
    """Return the seconds until all runs end if as many execute at once as do now; None where one is unknown."""
    known = [part for part in (*running, *waiting) if part is not None]
    if len(known) < len(running) + len(waiting):
        return None
    return max(sum(known) / max(1, len(running)), *known[: len(running)], 0.0)
