"""How far runs are, as their results folder tells it: records, checkpoints, and the locked files of what goes on.

Everything is read, and nothing is opened for writing or locked.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from bench.analysis.comparison import setting_labels
from bench.analysis.groups import Setting
from bench.analysis.tuning import decide, one_more_rate
from bench.records.schema import FINAL, AnyRecord, Baseline, Calibration, Record
from bench.records.spec import RunSpec
from bench.records.store import checksum_flaw, read
from bench.runs.pace import Pace
from bench.runs.plan import Matrix, extended, tuned
from bench.runs.status import Status, going_on, read_status, share_of_run
from bench.system.errors import BenchError
from bench.system.files import present
from bench.system.locks import lock_path
from bench.training.job import Job, checkpoint_path, run_name

__all__ = ["Best", "Folder", "Going", "Standing", "standing"]

SOON = 0.03
"""The share of a run, or of a phase, below which nothing can be said of its end from how long it has gone on."""


class Folder:
    """A results folder that is looked at again and again; files that have not changed are read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[Path, tuple[tuple[int, int, int], AnyRecord | None]] = {}

    def records(self) -> tuple[list[Record | Baseline], int]:
        """All records of runs and baselines, and the number of files beside them that are no records or were changed."""
        found: dict[Path, tuple[tuple[int, int, int], AnyRecord | None]] = {}
        for path in sorted(present(self.path, "*.json")):
            try:
                status = path.stat()
            except OSError:  # removed in this moment
                continue
            mark = status.st_mtime_ns, status.st_size, status.st_ino
            before = self._known.get(path)
            found[path] = before if before is not None and before[0] == mark else (mark, _read(path))
        self._known = found
        whole = [record for _, record in found.values() if record is not None]
        return [one for one in whole if not isinstance(one, Calibration)], len(found) - len(whole)

    def going(self) -> list[tuple[str, Status | None]]:
        """Ids of the runs that go on, with what each tells of itself, if anything."""
        locks = sorted(present(lock_path(self.path, "").parent, "*.lock"))
        return [(path.stem, status) for path in locks if going_on(path, status := read_status(path))]

    def kept(self) -> set[str]:
        """Ids of the runs that have a checkpoint."""
        return {path.stem for path in present(checkpoint_path(self.path, "").parent, "*.safetensors")}


def _read(path: Path) -> AnyRecord | None:
    try:
        record = read(path)
        return None if checksum_flaw(path) else record
    except (BenchError, OSError, ValueError):
        return None


@dataclass(frozen=True)
class Going:
    """A run that goes on."""

    name: str
    setting: str
    phase: str
    share: float
    """Of the phase."""
    seconds: float | None
    """Since it began."""
    left: float | None
    """Seconds until its end, as far as can be said."""


@dataclass(frozen=True)
class Best:
    """The methods of runs that may be compared, by mean accuracy so far, the best first."""

    setting: str
    methods: list[tuple[str, float, int]]
    """Method with its setting, mean accuracy on the test (a share of 1), and of how many seeds."""


@dataclass(frozen=True)
class Standing:
    """How far everything is."""

    going: list[Going]
    states: dict[str, int]
    """How many runs and trials ended in which state."""
    to_do: int | None
    """Runs that were asked for and are neither final nor in hand; None where nobody said what was asked for."""
    asked: int | None
    stopped: list[str]
    """Runs that have a checkpoint and are not in hand: the command that began them goes on from it."""
    best: list[Best] = field(default_factory=list)
    left: float | None = None
    """Seconds until all is done, as far as can be said."""
    damaged: int = 0
    astray: bool = False
    """Whether runs go on here and none of those that were asked for was ever begun: they may be meant, but have other ids."""

    @property
    def over(self) -> bool:
        """Whether all that was asked for has come to its end."""
        return self.to_do == 0 and not self.going


def standing(folder: Folder, asked: Sequence[Matrix] | None) -> Standing:
    """How far the runs of these matrices are, or without any, all that the folder holds."""
    in_hand = folder.going()  # looked at first: a run that ends meanwhile is seen twice, and not missed
    records, damaged = folder.records()
    runs = [record for record in records if isinstance(record, Record)]
    jobs = None if asked is None else [job for matrix in asked for job in _jobs(matrix, runs)]
    if jobs is not None:
        ids = {job.run_id for job in jobs}
        runs = [record for record in runs if record.run_id in ids]
    now, pace = time.time(), Pace(runs)
    going = [_going(status, now, pace, _spec(run_id, jobs, runs)) for run_id, status in in_hand if _ours(run_id, jobs, status)]
    final = {record.run_id for record in runs if record.state in FINAL}
    busy = {run_id for run_id, _ in in_hand}
    open_ = None if jobs is None else [job for job in jobs if job.run_id not in final | busy]
    ended = [record for record in runs if record.run_id not in busy]
    names = {one.run_id: run_name(one.spec) for one in (*runs, *(jobs or ()))}
    stopped = [names.get(run_id, run_id) for run_id in sorted(folder.kept() - busy) if jobs is None or run_id in names]
    if open_ is None:
        left = _rest(pace, going, [status for _, status in in_hand if status is not None])
    else:
        left = _all_left(going, [pace.of(job.spec, job.conversion) for job in open_])
    return Standing(
        going=going, states=_counted(record.state for record in ended), to_do=None if open_ is None else len(open_),
        asked=None if jobs is None else len(jobs), stopped=stopped, best=_best(runs), left=left, damaged=damaged,
        astray=bool(in_hand) and not going and not runs,
    )  # fmt: skip


def _jobs(matrix: Matrix, records: list[Record]) -> list[Job]:
    """All jobs of a matrix; once its trials have ended, the runs are those at the rates that they chose."""
    found = {record.run_id: record for record in records}

    def pairs(jobs: Sequence[Job]) -> list[tuple[Job, Record]]:
        return [(job, record) for job in jobs if (record := found.get(job.run_id)) is not None and record.state in FINAL]

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


def _ours(run_id: str, jobs: list[Job] | None, status: Status | None) -> bool:
    # A baseline has no job, and belongs to whoever asked for runs in this folder.
    return jobs is None or run_id in {job.run_id for job in jobs} or (status is not None and status.name.startswith("baseline"))


def _spec(run_id: str, jobs: list[Job] | None, records: list[Record]) -> RunSpec | None:
    return next((one.spec for one in (*(jobs or ()), *records) if one.run_id == run_id), None)


def _counted(states: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for state in states:
        counts[state] += 1
    return dict(counts)


def _going(status: Status | None, now: float, pace: Pace, spec: RunSpec | None) -> Going:
    whole = None if spec is None else pace.of(spec)
    if status is None:
        name = "a run" if spec is None else run_name(spec)
        return Going(name, "", "set-up", 0.0, None, whole)
    seconds, left = max(0.0, now - status.began), _left(status, now, whole, pace.shares(spec))
    return Going(status.name, status.setting, status.phase, status.share, seconds, left)


def _left(status: Status, now: float, whole: float | None, shares: dict[str, tuple[float, float]]) -> float | None:
    """Seconds until the run ends: at the pace of the phase that it is in, else as long as others took, else at the pace of
    the run so far.
    """
    weight = shares.get(status.phase, (0.0, 0.0))[1]
    done = min(1.0, share_of_run(status.phase, status.share, shares))
    passed = 0.0 if status.since is None else now - status.since
    if weight and passed > 0 and status.share - status.found > SOON:
        return passed / (status.share - status.found) * (1 - done) / weight
    if whole is not None:
        return whole * (1 - done)
    return max(0.0, now - status.began) * (1 - done) / done if done > SOON else None


def _all_left(going: list[Going], others: list[float | None]) -> float | None:
    """Seconds until all is done if as many runs stay in hand as are now; None where that cannot be said."""
    parts = [*(run.left for run in going), *others]
    known = [part for part in parts if part is not None]
    if not parts:
        return 0.0
    if len(known) < len(parts):
        return None
    return max(sum(known) / max(1, len(going)), max((run.left or 0.0 for run in going), default=0.0))


def _rest(pace: Pace, going: list[Going], statuses: list[Status]) -> float | None:
    """The same where only the processes that do runs know how many are left: each tells which of how many it is at."""
    if not going:
        return None
    left = {(status.machine, status.process): max(0, status.runs - status.number) for status in statuses}
    for status in statuses:
        process = status.machine, status.process
        left[process] = min(left[process], max(0, status.runs - status.number))
    return _all_left(going, [pace.typical] * sum(left.values()))


def _best(records: list[Record]) -> list[Best]:
    """One for each kind of runs that may be compared, the one with the latest run first."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.finished, reverse=True):
        if record.state == "complete" and record.test is not None and record.spec.purpose == "run":
            groups[_comparable(record)].append(record)
    return [_ranked(found) for found in groups.values()]


def _comparable(record: Record) -> str:
    """What must be equal for runs to stand beside each other (rules, section 8)."""
    spec = record.spec.model_dump_json(exclude={"method", "hyperparameters", "seed", "encoder", "data"})
    return f"{spec} {record.rules_version} {record.encoder.sha256} {record.data.sha256} {record.environment.device}"


def _ranked(records: list[Record]) -> Best:
    spec, means = records[0].spec, []
    settings: dict[str, dict[Setting, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        assert record.test is not None
        settings[record.spec.method][frozenset(record.spec.hyperparameters.items())].append(record.test.accuracy)
    for method, found in settings.items():
        for label, accuracies in zip(setting_labels(method, list(found)), found.values(), strict=True):
            means.append((label, fmean(accuracies), len(accuracies)))
    return Best(f"{spec.encoder} on {spec.data}, {spec.asked}", sorted(means, key=lambda one: -one[1]))
