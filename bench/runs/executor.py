"""Doing runs and baselines, as many at once as there is room for: no process does another's work, and each leaves a record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.data.task import Ints, Task
from bench.records.artifacts import publish, staged
from bench.records.attempts import save_anew
from bench.records.schema import FINAL, AnyRecord, Baseline, Record, State, baseline_id
from bench.records.store import checksum_of, finished, finished_file, path_of, save
from bench.runs.disk_space import record_bytes, reserved
from bench.runs.launchers.base import Engine
from bench.runs.launchers.process import Died, Watch
from bench.runs.plan import Matrix
from bench.runs.progress import Progress
from bench.runs.status import going_on, read_status
from bench.system.locks import alone, lock_path
from bench.system.signals import Interrupts
from bench.training.baseline import BaselineJob, baseline_spec
from bench.training.job import Job, Notify, Outcome, checkpoint_path, record_of, run_name

__all__ = ["Doing", "Tell"]

Tell = Callable[[Record | Baseline, Path, bool], None]
"""Called with each record, where it is, and whether it is new."""


@dataclass
class Doing:
    """Does runs and baselines of one matrix in one folder."""

    matrix: Matrix
    out: Path
    force: bool
    tell: Tell
    engine: Engine
    progress: Progress
    keep: bool
    """Whether to save what runs trained."""
    interrupts: Interrupts
    whole: AbstractContextManager[object]
    """A stretch in which no interrupt is raised. Interrupts are raised in the main thread alone; in others it is any."""
    in_threads: bool = False
    """Whether this is one of several threads that each have a run in hand."""
    telling: threading.Lock = field(default_factory=threading.Lock)
    """Held while lines are told that belong together."""
    baselines: set[str] = field(default_factory=set)
    """Ids of the baselines seen to."""
    all_baselines: bool = True
    """Whether each of them is there."""

    def known(self, run_id: str) -> AnyRecord | None:
        return None if self.force else finished(self.out, run_id)

    def all(self, jobs: Sequence[Job]) -> list[Record]:
        """The records of these jobs, in their order; as many runs are in hand at once as the engine has places."""
        if self.engine.places == 1:
            return self._one_by_one(jobs)
        doing, over = replace(self, whole=nullcontext(), in_threads=True), threading.Event()

        def one(job: Job) -> Record | None:
            if over.is_set() or self.interrupts.asked:
                return None
            try:
                return doing.run(job)
            except BaseException:
                over.set()  # no other is begun, and those that are in hand come to their end
                raise

        with self.interrupts, ThreadPoolExecutor(self.engine.places) as pool:
            records = list(pool.map(one, jobs))
        return [record for record in records if record is not None]

    def _one_by_one(self, jobs: Sequence[Job]) -> list[Record]:
        """The same, each after the other. What another process has in hand comes last, so that commands in one folder share the
        work.
        """
        waiting, records = list(jobs), dict[str, Record]()
        while waiting:
            free = (job for job in waiting if not _in_hand(lock_path(self.out, job.run_id)))
            job = next(free, waiting[0])
            waiting.remove(job)
            records[job.run_id] = self.run(job)
        return [records[job.run_id] for job in jobs]

    def run(self, job: Job) -> Record:
        """One run, or its record if it is finished. No other process does it meanwhile."""
        known, checkpoint = self.known(job.run_id), checkpoint_path(self.out, job.run_id).absolute()
        if isinstance(known, Record) and not checkpoint.exists():
            return self.finished_before(known)
        with self.alone(job.run_id, run_name(job.spec)):
            # Whoever was waited for may have finished it; whoever was killed then left a snapshot that nobody needs.
            known = self.known(job.run_id)
            if isinstance(known, Record):
                _forget(replace(job, checkpoint=checkpoint))
                return self.finished_before(known)
            with self.progress.run(run_name(job.spec), _setting(job), lock_path(self.out, job.run_id)) as listen:
                replaced = finished_file(self.out, job.run_id, or_damaged=True) if self.force else None
                job = replace(job, checkpoint=checkpoint, replaces=checksum_of(replaced[0]) if replaced else None)
                if not self.keep or job.spec.purpose != "run":
                    return self.anew(job, listen)
                with staged(self.out, job.run_id) as folder:
                    return self.anew(replace(job, keep=folder), listen)

    def finished_before(self, known: Record) -> Record:
        self.progress.ends()
        self.told(known, path_of(self.out, known), new=False)
        return known

    def told(self, record: Record | Baseline, path: Path, *, new: bool) -> None:
        with self.telling:
            self.tell(record, path, new)

    def alone(self, run_id: str, name: str) -> AbstractContextManager[None]:
        said = False

        def waits() -> None:
            nonlocal said
            if not said:
                self.progress.note(f"{name}: waits for the process that does it")
            said = True
            # The main thread is interrupted as it waits; another has to ask.
            if self.in_threads and self.interrupts.asked:
                raise KeyboardInterrupt

        return alone(lock_path(self.out, run_id), waits)

    def anew(self, job: Job, listen: Notify) -> Record:
        """One run, whether or not it is finished; it goes on from its snapshot if it has one."""
        with self.whole, reserved(self.out, record_bytes(job)) as release:
            interrupted = False
            try:
                outcome, watch = self.engine.run("bench.training.run:execute", job, listen=listen)
            except Died as error:
                state: State = "out-of-memory" if error.out_of_memory else "failed"
                outcome, watch = Outcome(_where(error, record_of(job, state, str(error)))), Watch()
            except KeyboardInterrupt as interrupt:
                stopped = Outcome(record_of(job, "cancelled", "stopped by a signal"))
                interrupted, (outcome, watch) = True, interrupt.args if len(interrupt.args) == 2 else (stopped, Watch())
            record: Record = outcome.record
            if record.seconds is not None:
                seen = {"outside": watch.seconds, "outside_training": watch.between("training")}
                record = record.model_copy(update={"seconds": record.seconds.model_copy(update=seen)})
            release()
            try:
                # Whoever finds the record finds what was saved with it.
                if job.keep is not None and record.state == "complete":
                    publish(job.keep, self.out, record)
            finally:
                record = self.saved(job, record, outcome.logits)
            if record.state in FINAL:
                _forget(job)
            if interrupted:
                raise KeyboardInterrupt
        return record

    def saved(self, job: Job, record: Record, logits: npt.NDArray[np.float32] | None) -> Record:
        """The record once it is on disk; where the disk does not take it, one that says so."""
        if job.replaces is not None and record.state not in FINAL:
            self.progress.note(f"{run_name(job.spec)}: {record.state}, {record.reason}; the finished record stays")
            return record
        try:
            path = (save if job.replaces is None else save_anew)(self.out, record, logits)
        except OSError as error:
            why = f"the record cannot be written ({error.strerror})"
            mend = f"free some room in {str(self.out)!r}, then the same command goes on from its checkpoint"
            self.progress.note(f"{run_name(job.spec)}: {why}; {mend}")
            return record.model_copy(update={"state": "failed", "reason": why})
        if record.state != "cancelled":
            self.told(record, path, new=True)
        return record

    def baseline(self, task: Task, rows: Ints) -> None:
        """The baseline on these rows of the train split, or nothing if it is known."""
        spec = baseline_spec(rows, self.matrix.jobs[0].spec.test_limit)
        identity = baseline_id(spec, data_sha256=self.matrix.data.sha256)
        # Two budgets may have seen the same reviews; --force fits a baseline again, but once.
        if identity in self.baselines or self.known(identity) is not None:
            return
        self.baselines.add(identity)
        name, asked = f"baseline on {len(rows):,} reviews", self.matrix.jobs[0]
        with self.alone(identity, name), self.whole:
            if self.known(identity) is not None:
                return
            with self.progress.run(name, _setting(asked), lock_path(self.out, identity)) as listen:
                job = BaselineJob(identity, spec, rows, self.matrix.splits, task, self.matrix.data, asked.spec.threads)
                try:
                    record, _ = self.engine.run("bench.training.baseline:fit_baseline", job, listen=listen)
                    path = (save_anew if self.force else save)(self.out, record)
                except (Died, OSError) as error:
                    self.all_baselines, why = False, error.strerror if isinstance(error, OSError) else str(error)
                    self.progress.note(f"{name}: {why}; the same command tries again")
                    return
            self.told(record, path, new=True)


def _where(error: Died, record: Record) -> Record:
    """The record of a run that died, with the machine on which it did."""
    return record if error.environment is None else record.model_copy(update={"environment": error.environment})


def _forget(job: Job) -> None:
    """Remove the snapshot of a run that is finished."""
    if job.checkpoint is not None:
        job.checkpoint.unlink(missing_ok=True)


def _setting(job: Job) -> str:
    return f"{job.spec.encoder} on {job.spec.data}"


def _in_hand(lock: Path) -> bool:
    """Whether another process does the run of this lock now."""
    return going_on(lock, read_status(lock))
