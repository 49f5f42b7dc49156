"""Doing a matrix: trials, then runs, then the floor. What is finished is left alone, and every run leaves a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.engines.local import Died, LocalEngine, Watch
from bench.floor import FloorJob, floor_spec, rows_seen
from bench.jobs import Job, Outcome, record_of
from bench.matrix import Matrix, tuned
from bench.progress import Progress
from bench.record import Floor, Record, State, floor_id
from bench.store import finished, path_of, prepare_folder, save
from bench.task import Ints, Task, prepare
from bench.tuning import Choice, choose

__all__ = ["REFERENCE", "carry_out"]

REFERENCE = "houlsby"
"""The method that the comparison is centred on; a floor is fitted on as many reviews as it saw."""

Tell = Callable[[Record | Floor, Path, bool], None]
"""Called with each record, where it is, and whether it is new."""
Announce = Callable[[Choice], None]
"""Called with each learning rate that trials chose, or did not."""


@dataclass
class _Doing:
    matrix: Matrix
    out: Path
    force: bool
    tell: Tell
    engine: LocalEngine
    progress: Progress
    floors: set[str] = field(default_factory=set)
    """Ids of the floors seen to."""

    def known(self, run_id: str) -> Record | Floor | None:
        return None if self.force else finished(self.out, run_id)

    def run(self, job: Job) -> Record:
        """One run, or its record if it is finished."""
        known = self.known(job.run_id)
        if isinstance(known, Record):
            self.progress.ends()
            self.tell(known, path_of(self.out, known), False)
            return known
        self.progress.starts(_name(job))
        try:
            outcome, watch = self.engine.run("bench.run:execute", job, listen=self.progress.hears)
        except Died as error:
            state: State = "out-of-memory" if error.out_of_memory else "failed"
            outcome, watch = Outcome(record_of(job, state, str(error))), Watch()
        except KeyboardInterrupt as interrupt:
            kept = interrupt.args[0] if interrupt.args else Outcome(record_of(job, "cancelled", "stopped by a signal"))
            save(self.out, kept.record, kept.logits)
            raise
        record: Record = outcome.record
        if record.seconds is not None:
            seen = {"outside": watch.seconds, "outside_training": watch.between("training")}
            record = record.model_copy(update={"seconds": record.seconds.model_copy(update=seen)})
        path = save(self.out, record, outcome.logits)
        self.progress.ends()
        self.tell(record, path, True)
        return record

    def floor(self, task: Task, rows: Ints) -> None:
        """The floor on these rows of the train split, or nothing if it is known."""
        spec = floor_spec(rows, self.matrix.jobs[0].spec.test_limit)
        identity = floor_id(spec, data_sha256=self.matrix.data.sha256)
        # Two budgets may have seen the same reviews; --force fits a floor again, but once.
        if identity in self.floors or self.known(identity) is not None:
            return
        self.floors.add(identity)
        self.progress.starts(f"floor on {len(rows):,} reviews")
        threads = self.matrix.jobs[0].spec.threads
        job = FloorJob(identity, spec, rows, self.matrix.cut, task, self.matrix.data, threads)
        record, _ = self.engine.run("bench.floor:fit_floor", job, listen=self.progress.hears)
        path = save(self.out, record)
        self.progress.ends()
        self.tell(record, path, True)


def _name(job: Job) -> str:
    spec = job.spec
    which = f"seed {spec.seed}" if spec.purpose == "run" else f"trial at {spec.hyperparameters['learning_rate']:g}"
    return f"{spec.method} {which}, {spec.budget}"


def carry_out(matrix: Matrix, out: Path, *, force: bool, tell: Tell, announce: Announce) -> bool:
    """Do what is missing in the folder `out`. Whether all that was asked for is complete: every run, and with tuning a
    learning rate for every method, which a trial that diverged or ran out of memory does not stand in the way of.

    Raises:
        UserError: if `out` cannot be written, or the tokenizer cannot be used; nothing is written then.
        KeyboardInterrupt: after a run that was interrupted has left its record.
        Died: if the process of a floor ends without a result.
    """
    prepare_folder(out)
    with Progress(len(matrix.trials) + len(matrix.jobs)) as progress:
        task = prepare(matrix.checkpoint, matrix.data.sha256, lambda: matrix.cut, progress.tokenising)
        doing = _Doing(matrix, out, force, tell, LocalEngine(matrix.device), progress)
        jobs, choices = matrix.jobs, []
        if matrix.trials:
            choices = choose([doing.run(job) for job in matrix.trials])
            for choice in choices:
                announce(choice)
            jobs = tuned(matrix.jobs, choices)
            progress.fewer(len(matrix.jobs) - len(jobs))
        records = [doing.run(job) for job in jobs]
        if matrix.with_floor:
            doing.floor(task, np.arange(len(task.train)))
            for record in records:
                if record.spec.method == REFERENCE and record.training is not None:
                    spec, seen = record.spec, record.training.reviews_distinct
                    doing.floor(task, rows_seen(task, spec.max_length, spec.batch_size, spec.seed, seen))
    return all(choice.rate is not None for choice in choices) and all(record.state == "complete" for record in records)
