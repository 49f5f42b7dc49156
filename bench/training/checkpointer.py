"""When the training of a run is kept, and going on from it after the run's process ended. The loop knows nothing of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.records.environment import environment
from bench.system.files import atomic_write
from bench.training.checkpoint import Owner, Unusable, read, write
from bench.training.job import Job
from bench.training.trainer import Trainer
from bench.training.trainer_state import put_back, taken

__all__ = ["SHARE", "Keeper", "owner_of"]

SHARE = 0.02
"""Seconds that may go into snapshots for each device second charged: the first comes no sooner than 50 times its cost."""
_PROBE = 2**20
"""Bytes of a first file, which is written to see how fast the disk is and whether it takes any."""


def owner_of(job: Job) -> Owner:
    """Whose training a snapshot of this job is, on this machine."""
    machine = environment(device=job.device_model, threads=job.spec.threads)
    return Owner(
        run_id=job.run_id, replaces=job.replaces, device=machine.device, cpu=machine.cpu, threads=machine.threads,
        python=machine.python, versions=machine.versions, commit=machine.commit,
    )  # fmt: skip


@dataclass
class Keeper:
    """Keeps the training of one loop in a file, and puts it back.

    A snapshot is due when all that this process has written, and the next with them, cost no more than `SHARE` of what its
    clock has charged. What the next will cost follows from the bytes and seconds of the last.
    """

    path: Path
    owner: Owner
    trainer: Trainer
    say: Callable[[str], None]
    """Called with a line for the person who started the run."""
    kept: Callable[[], None] = lambda: None
    """Called when a snapshot is written, for whoever copies it; the time that this takes is part of its cost."""
    resumed: int = field(default=0, init=False)
    """How often the run went on after its process had ended."""
    before: float = field(default=0.0, init=False)
    """Seconds, charged and paused together, that passed in those processes."""
    _measured: tuple[int, float] | None = field(default=None, init=False)
    """Bytes and seconds of the last write; None where the disk takes none."""
    _spent: float = field(default=0.0, init=False)
    _charged_before: float = field(default=0.0, init=False)
    _at_step: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._trained = sum(p.nbytes for p in self.trainer.trained)

    def try_disk(self) -> None:
        """See how fast the disk takes a small file. Where it takes none, nothing will be kept."""
        probe = self.path.with_suffix(".probe")
        began = time.monotonic()
        try:
            with atomic_write(probe) as file:
                file.write(bytes(_PROBE))
            self._measured = _PROBE, time.monotonic() - began
            probe.unlink(missing_ok=True)
        except OSError as error:
            self._give_up(error)

    @property
    def cost(self) -> float:
        """Seconds that the next snapshot is expected to take; infinite where the disk takes none."""
        if self._measured is None:
            return float("inf")
        trainer, (size, seconds) = self.trainer, self._measured
        features = (
            0 if trainer.features is None else int(trainer.known.sum()) * trainer.features.shape[1] * trainer.features.itemsize
        )
        # What trains and the two moments of each; a small file tells how long the disk takes to answer at all.
        return seconds * max(1.0, (3 * self._trained + features) / size)

    def offer(self) -> None:
        """Write a snapshot, neither charged nor counted in the peak of memory, if one is due."""
        charged = self.trainer.ledger.seconds - self._charged_before
        if SHARE * charged >= self._spent + self.cost:
            with self.trainer.clock.paused(), self.trainer.memory.paused():
                self.write()

    def write(self) -> None:
        """Write a snapshot now, unless there is nothing new to keep. A disk that does not take it costs a warning, no run."""
        step = self.trainer.ledger.units
        if self._measured is None or step in (0, self._at_step):
            return
        began = time.monotonic()
        try:
            size = write(self.path, taken(self.trainer, self.owner, self.resumed))
        except OSError as error:
            self._give_up(error)
            return
        self._at_step = step  # also where a stop comes before the rest: it is not kept once more
        self.kept()
        seconds = time.monotonic() - began
        self._spent, self._measured = self._spent + seconds, (size, seconds)

    def restore(self) -> None:
        """Put the loop where the last snapshot was taken. One that is damaged or another's is named, and nothing is changed."""
        try:
            place = put_back(read(self.path), self.trainer, self.owner)
        except FileNotFoundError:
            return
        except Unusable as error:
            self.say(f"the checkpoint {self.path.name} is left out, and training starts anew: {error}")
            return
        counts = place.counts
        self.resumed, self.before = place.resumed + 1, counts.seconds + place.paused_seconds
        self._charged_before, self._at_step = counts.seconds, self.trainer.ledger.units
        self.say(f"resumes from its checkpoint: {self.trainer.ledger.units:,} batches, {counts.seconds:.1f} device seconds")

    def _give_up(self, error: OSError) -> None:
        self._measured = None
        self.say(f"no checkpoint can be written ({error.strerror}); the run goes on, but would start anew after a kill")
