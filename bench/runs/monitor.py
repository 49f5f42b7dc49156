"""How far the runs of a results folder are, from its records, checkpoints and lock files. Nothing is written or locked."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from bench.analysis.comparison import by_setting
from bench.analysis.groups import GroupKey, group_key
from bench.analysis.tuning import decide, one_more_rate
from bench.records.schema import FINAL, AnyRecord, Baseline, Calibration, Record
from bench.records.spec import Budget
from bench.records.store import checksum_flaw, read
from bench.runs.pace import Pace, until_all_done
from bench.runs.plan import Matrix, extended, tuned
from bench.runs.status import Status, is_running, read_status
from bench.system.errors import BenchError
from bench.system.files import present
from bench.system.locks import lock_path
from bench.training.job import Job, checkpoint_path, run_name

__all__ = ["Best", "Folder", "Overview", "Running", "overview"]


class Folder:
    """A results folder that is polled; files that have not changed are read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[Path, tuple[tuple[int, int, int], AnyRecord | None]] = {}

    def records(self) -> tuple[list[Record | Baseline], int]:
        """Return all records of runs and baselines, and the number of other or changed files beside them."""
        entries: dict[Path, tuple[tuple[int, int, int], AnyRecord | None]] = {}
        for path in sorted(present(self.path, "*.json")):
            try:
                status = path.stat()
            except OSError:  # removed in this moment
                continue
            mark = status.st_mtime_ns, status.st_size, status.st_ino
            before = self._known.get(path)
            entries[path] = before if before is not None and before[0] == mark else (mark, _read_record(path))
        self._known = entries
        whole = [record for _, record in entries.values() if record is not None]
        return [one for one in whole if not isinstance(one, Calibration)], len(entries) - len(whole)

    def running(self) -> list[tuple[str, Status | None]]:
        """Return the ids of runs that execute now, with their status where they have written one."""
        locks = sorted(present(lock_path(self.path, "").parent, "*.lock"))
        return [(path.stem, status) for path in locks if is_running(path, status := read_status(path))]

    def with_checkpoint(self) -> set[str]:
        """Return the ids of runs that have a checkpoint."""
        return {path.stem for path in present(checkpoint_path(self.path, "").parent, "*.safetensors")}


def _read_record(path: Path) -> AnyRecord | None:
    try:
        record = read(path)
        return None if checksum_flaw(path) else record
    except (BenchError, OSError, ValueError):
        return None


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


def overview(folder: Folder, matrices: Sequence[Matrix] | None) -> Overview:
    """Summarise the runs of these matrices or, without any, of the folder."""
    locked = folder.running()  # before the records: a run that ends meanwhile is seen twice, and not missed
    records, damaged = folder.records()
    runs = [record for record in records if isinstance(record, Record)]
    jobs = None if matrices is None else [job for matrix in matrices for job in _jobs(matrix, runs)]
    if jobs is not None:
        ids = {job.run_id for job in jobs}
        runs = [record for record in runs if record.run_id in ids]
        # A baseline has no job; it belongs to any request for runs in this folder.
        mine = [(i, status) for i, status in locked if i in ids or (status and status.name.startswith("baseline"))]
    else:
        mine = locked
    now, pace = time.time(), Pace(runs)
    known: dict[str, Job | Record] = {one.run_id: one for one in (*runs, *(jobs or ()))}
    running = [_running(status, now, pace, known.get(run_id)) for run_id, status in mine]
    busy = {run_id for run_id, _ in locked}
    if jobs is None:
        waiting, others = None, [pace.whole(None)] * _waiting([status for _, status in locked if status is not None])
    else:
        done = busy | {record.run_id for record in runs if record.state in FINAL}
        waiting = [job for job in jobs if job.run_id not in done]
        others = [pace.whole(job) for job in waiting]
    resumable = sorted(run_id for run_id in folder.with_checkpoint() - busy if jobs is None or run_id in known)
    return Overview(
        running=running,
        states=Counter(record.state for record in runs if record.run_id not in busy),
        to_do=None if waiting is None else len(waiting),
        requested=None if jobs is None else len(jobs),
        stopped=[run_name(known[run_id].spec) if run_id in known else run_id for run_id in resumable],
        best=_best(runs),
        remaining=until_all_done([run.remaining for run in running], others),
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


def _running(status: Status | None, now: float, pace: Pace, run: Job | Record | None) -> Running:
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
    return [_ranked(scores) for scores in groups.values()]


def _ranked(records: list[Record]) -> Best:
    spec = records[0].spec
    means = [(label, fmean(r.test.accuracy for r in own if r.test), len(own)) for label, own in by_setting(records)]
    return Best(f"{spec.encoder} on {spec.data}, {spec.requested_budget}", sorted(means, key=lambda one: -one[1]))
