"""Doing a matrix: what is finished is left alone, every run leaves a record, the floor comes last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import RULES_VERSION
from bench.engines.local import Died, LocalEngine
from bench.files import sha256_bytes
from bench.floor import FloorJob, floor_spec, rows_seen
from bench.jobs import Job, Outcome, record_of
from bench.matrix import Matrix
from bench.progress import Progress
from bench.record import Floor, Record, State
from bench.store import finished, path_of, prepare_folder, save
from bench.task import Ints, Task, prepare

__all__ = ["REFERENCE", "carry_out"]

REFERENCE = "houlsby"
"""The method that the comparison is centred on; a floor is fitted on as many reviews as it saw."""

Tell = Callable[[Record | Floor, Path, bool], None]
"""Called with each record, where it is, and whether it is new."""


@dataclass
class _Doing:
    matrix: Matrix
    out: Path
    force: bool
    tell: Tell
    engine: LocalEngine
    progress: Progress

    def known(self, run_id: str) -> Record | Floor | None:
        return None if self.force else finished(self.out, run_id)

    def run(self, job: Job) -> Record:
        """One run, or its record if it is finished."""
        known = self.known(job.run_id)
        if isinstance(known, Record):
            self.tell(known, path_of(self.out, known), False)
            return known
        self.progress.starts(f"{job.spec.method} seed {job.spec.seed}")
        try:
            outcome, seconds = self.engine.run("bench.run:execute", job, listen=self.progress.hears)
        except Died as error:
            state: State = "out-of-memory" if error.out_of_memory else "failed"
            outcome, seconds = Outcome(record_of(job, state, str(error))), None
        except KeyboardInterrupt as interrupt:
            kept = interrupt.args[0] if interrupt.args else Outcome(record_of(job, "cancelled", "stopped by a signal"))
            save(self.out, kept.record, kept.logits)
            raise
        record: Record = outcome.record
        if record.seconds is not None:
            record = record.model_copy(update={"seconds": record.seconds.model_copy(update={"outside": seconds})})
        path = save(self.out, record, outcome.logits)
        self.progress.ends()
        self.tell(record, path, True)
        return record

    def floor(self, task: Task, rows: Ints) -> None:
        """The floor on these rows of the train split, or nothing if it is known."""
        spec = floor_spec(rows, self.matrix.jobs[0].spec.test_limit)
        identity = sha256_bytes(f"{spec.model_dump_json()} {self.matrix.data.sha256} {RULES_VERSION}".encode())[:16]
        if self.known(identity) is not None:
            return
        self.progress.starts(f"floor on {len(rows):,} reviews")
        threads = self.matrix.jobs[0].spec.threads
        job = FloorJob(identity, spec, rows, self.matrix.cut, task, self.matrix.data, threads)
        record, _ = self.engine.run("bench.floor:fit_floor", job, listen=self.progress.hears)
        path = save(self.out, record)
        self.progress.ends()
        self.tell(record, path, True)


def carry_out(matrix: Matrix, out: Path, *, force: bool, tell: Tell) -> list[Record]:
    """Do what is missing in the folder `out` and return the records of all jobs.

    Raises:
        UserError: if `out` cannot be written.
        KeyboardInterrupt: after a run that was interrupted has left its record.
        Died: if the process of a floor ends without a result.
    """
    prepare_folder(out)
    with Progress(len(matrix.jobs)) as progress:
        task = prepare(matrix.checkpoint, matrix.data.sha256, lambda: matrix.cut, progress.tokenising)
        doing = _Doing(matrix, out, force, tell, LocalEngine(matrix.device), progress)
        records = [doing.run(job) for job in matrix.jobs]
        if matrix.with_floor:
            doing.floor(task, np.arange(len(task.train)))
            for record in records:
                if record.spec.method == REFERENCE and record.training is not None:
                    spec, seen = record.spec, record.training.reviews_distinct
                    doing.floor(task, rows_seen(task, spec.max_length, spec.batch_size, spec.seed, seen))
    return records
