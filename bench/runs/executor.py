"""Execute runs and baselines, as many at once as the engine has slots; a per-run lock prevents duplicates."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.records.artifacts import publish, stage
from bench.records.attempts import save_anew
from bench.records.schema import FINAL, AnyRecord, Baseline, Record, State
from bench.records.store import checksum_of, finished, finished_file, path_of, save
from bench.runs.disk_space import record_bytes, reserved
from bench.runs.launchers.process import Died, Engine
from bench.runs.progress import Progress
from bench.runs.status import is_running, read_status
from bench.system.locks import exclusive, lock_path
from bench.system.signals import Interrupts
from bench.training.baseline import BaselineJob
from bench.training.job import Job, Notify, Outcome, Result, cancelled, checkpoint_path, record_of, run_name

__all__ = ["Context", "Tell", "run_all", "run_baseline", "run_job"]

Tell = Callable[[Record | Baseline, Path, bool], None]
"""Called with each record, its path, and whether it is new."""


@dataclass(frozen=True)
class Context:
    """What the runs of one command share."""

    out: Path
    force: bool
    keep: bool
    """Whether to save what runs train."""
    tell: Tell
    engine: Engine
    progress: Progress
    interrupts: Interrupts
    output: threading.Lock = field(default_factory=threading.Lock)
    """Held while the lines of one record are printed."""

    def finished(self, run_id: str) -> AnyRecord | None:
        """Return the finished record of a run; None with --force."""
        return None if self.force else finished(self.out, run_id)

    def report(self, record: Record | Baseline, path: Path, *, new: bool) -> None:
        """Print the lines of a record."""
        with self.output:
            self.tell(record, path, new)

    def uninterrupted(self) -> AbstractContextManager[object]:
        """Defer interrupts; a no-op in worker threads."""
        return self.interrupts if threading.current_thread() is threading.main_thread() else nullcontext()

    def lock(self, run_id: str, name: str) -> AbstractContextManager[None]:
        """Wait for the lock of a run, and say so once.

        Raises:
            KeyboardInterrupt: if an interrupt comes while waiting.
        """
        noted = False

        def wait() -> None:
            nonlocal noted
            if not noted:
                self.progress.note(f"{name}: waits for the process that runs it")
            noted = True
            if self.interrupts.count:  # only the main thread is interrupted by itself
                raise KeyboardInterrupt

        return exclusive(lock_path(self.out, run_id), wait)


def run_all(context: Context, jobs: Sequence[Job]) -> list[Record]:
    """Run jobs, as many at once as the engine has slots. Return their records in the order of the jobs."""
    if context.engine.slots == 1:
        return _run_in_turn(context, jobs)
    stop = threading.Event()

    def run(job: Job) -> Record | None:
        if stop.is_set() or context.interrupts.count:
            return None
        try:
            return run_job(context, job)
        except BaseException:
            stop.set()  # start no other; those that run come to their end
            raise

    with context.interrupts, ThreadPoolExecutor(context.engine.slots) as pool:
        records = list(pool.map(run, jobs))
    return [record for record in records if record is not None]


def _run_in_turn(context: Context, jobs: Sequence[Job]) -> list[Record]:
    """Run jobs one after another; those that another process runs come last, so that commands in one folder share the work."""
    waiting, records = list(jobs), dict[str, Record]()
    while waiting:
        free = (job for job in waiting if not is_running(path := lock_path(context.out, job.run_id), read_status(path)))
        job = next(free, waiting[0])
        waiting.remove(job)
        records[job.run_id] = run_job(context, job)
    return [records[job.run_id] for job in jobs]


def run_job(context: Context, job: Job) -> Record:
    """Execute a run, or return its record if it is finished."""
    checkpoint = checkpoint_path(context.out, job.run_id).absolute()
    known, name, lock = context.finished(job.run_id), run_name(job.spec), lock_path(context.out, job.run_id)
    if isinstance(known, Record) and not checkpoint.exists():
        return _report_finished(context, known)
    with context.lock(job.run_id, name):
        # Another process may have finished it meanwhile; one that was killed right after that leaves a checkpoint of no use.
        if isinstance(known := context.finished(job.run_id), Record):
            checkpoint.unlink(missing_ok=True)
            return _report_finished(context, known)
        save_adapter = context.keep and job.spec.purpose == "run"
        with (
            context.progress.run(name, f"{job.spec.encoder} on {job.spec.data}", lock) as listen,
            stage(context.out, job.run_id) if save_adapter else nullcontext() as folder,
        ):
            replaced = finished_file(context.out, job.run_id, or_damaged=True) if context.force else None
            checksum = checksum_of(replaced[0]) if replaced else None
            return _execute(context, replace(job, checkpoint=checkpoint, keep=folder, replaces=checksum), listen)


def _report_finished(context: Context, record: Record) -> Record:
    context.progress.finish_one()
    context.report(record, path_of(context.out, record), new=False)
    return record


def _execute(context: Context, job: Job, listen: Notify) -> Record:
    """Execute a run, or resume it from its checkpoint; save its adapter, then its record."""
    with context.uninterrupted(), reserved(context.out, record_bytes(job)) as room:
        try:
            result = context.engine.run("bench.training.run:execute", job, listen=listen)
        except Died as error:
            state: State = "out-of-memory" if error.out_of_memory else "failed"
            died = record_of(job, state, str(error))
            where = {} if error.environment is None else {"environment": error.environment}
            result = Result(Outcome(died.model_copy(update=where)))
        outcome: Outcome = result.outcome or cancelled(job)
        record, watch = outcome.record, result.watch
        if record.seconds is not None:
            outside = {"outside": watch.seconds, "outside_training": watch.between("training")}
            record = record.model_copy(update={"seconds": record.seconds.model_copy(update=outside)})
        room.truncate(0)
        if job.keep is not None and record.state == "complete":
            publish(job.keep, context.out, record)  # before the record: a reader of that finds both
        record = _save(context, job, record, outcome.logits)
        if record.state in FINAL and job.checkpoint is not None:
            job.checkpoint.unlink(missing_ok=True)
        if result.interrupted:
            raise KeyboardInterrupt
    return record


def _save(context: Context, job: Job, record: Record, logits: npt.NDArray[np.float32] | None) -> Record:
    """Save a record and report it. Return it; on a full disk, a failed one that says so."""
    name = run_name(job.spec)
    if job.replaces is not None and record.state not in FINAL:
        context.progress.note(f"{name}: {record.state}, {record.reason}; the finished record stays")
        return record
    try:
        path = (save if job.replaces is None else save_anew)(context.out, record, logits)
    except OSError as error:
        why = f"the record cannot be written ({error.strerror})"
        mend = f"free some room in {str(context.out)!r}, then repeat the command to resume from the checkpoint"
        context.progress.note(f"{name}: {why}; {mend}")
        return record.model_copy(update={"state": "failed", "reason": why})
    if record.state != "cancelled":
        context.report(record, path, new=True)
    return record


def run_baseline(context: Context, job: BaselineJob, setting: str) -> bool:
    """Fit a baseline unless it is finished. Return whether its record is saved."""
    name, lock = f"baseline on {len(job.rows):,} reviews", lock_path(context.out, job.run_id)
    if context.finished(job.run_id) is not None:
        return True
    with context.lock(job.run_id, name), context.uninterrupted():
        if context.finished(job.run_id) is not None:
            return True
        with context.progress.run(name, setting, lock) as listen:
            try:
                record = context.engine.run("bench.training.baseline:fit_baseline", job, listen=listen).outcome
                if record is None:
                    raise KeyboardInterrupt
                path = (save_anew if context.force else save)(context.out, record)
            except (Died, OSError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                context.progress.note(f"{name}: {why}; repeat the command to try again")
                return False
        context.report(record, path, new=True)
    return True
