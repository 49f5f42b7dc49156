"""What does runs on a machine of a cluster, for a process on another machine that asks by calls. It knows nothing of Ray.

A run is still what rule 9 says: a fork of a server that has only imported libraries, watched by the clock of the process that
started it, which is this one. What differs from a run at home is where encoder, reviews and files are. Messages wait here until
they are asked for, and are asked for by number, so that an answer that got lost can be asked for again.
"""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.data.sources import read
from bench.models.pretrained import PACKAGED, PretrainedModel, find
from bench.models.split_archive import IN_PIECES
from bench.records.environment import environment
from bench.records.schema import Environment
from bench.runs.launchers.process import Died, LocalEngine, Watch
from bench.runs.launchers.software import software
from bench.system.device import device_model
from bench.system.errors import BenchError, ClusterError
from bench.system.files import cache_dir, sweep, temporary_folder
from bench.system.signals import Interrupts
from bench.system.text import without_paths
from bench.training.job import Job, Outcome, checkpoint_path, record_of

__all__ = ["About", "Bytes", "Ended", "Kept", "Message", "Runner", "Told"]

LISTEN = 0.5
"""Seconds that a call waits for something that is to be told at once."""
PATIENCE = 60.0
"""Seconds that a run waits, with its clock stopped, until its snapshot has been copied."""

Bytes = npt.NDArray[np.uint8]
"""A file's content, in a form that travels without being copied on the way."""


class About(NamedTuple):
    """What a machine is, for the one that wants runs of it."""

    software: dict[str, str]
    environment: Environment


class Told(NamedTuple):
    """A run tells how far it is, or has a line to say."""

    phase: str
    share: float
    line: str | None = None


class Kept(NamedTuple):
    """A run has written a snapshot, and waits."""

    content: Bytes


@dataclass(frozen=True)
class Ended:
    """A run has ended: with a result, or by the death of its process."""

    result: Any = None
    watch: Watch = field(default_factory=Watch)
    died: tuple[int, bool] | None = None
    """Exit code, and whether it was for want of memory."""
    files: dict[str, Bytes] = field(default_factory=dict)
    """What the run saved, by file name."""


Message = Told | Kept | Ended


class Runner:
    """Does one run at a time, each in a process of its own. Its methods may be called from several threads."""

    def __init__(self, device: Literal["cpu", "cuda"], threads: int, engine: str) -> None:
        """Raises OSError where there is no place for files of its own."""
        self._interrupts = Interrupts()
        self._engine = LocalEngine(device, self._interrupts, self._copied)
        self._device, self._threads, self._name = device, threads, engine
        self._environment: Environment | None = None
        self._data: dict[str, str] = {}
        """Hashes of the reviews that were looked at, by how they are asked for."""
        self._changed = threading.Condition()
        self._messages: list[Message] = []
        self._first = 0
        """The number of the first message that is kept."""
        self._snapshot = Path()
        self._asked: SimpleQueue[tuple[str, Any, Bytes | None]] = SimpleQueue()
        parent = (cache_dir() or Path(tempfile.gettempdir())) / "cluster"
        sweep(parent)  # what a runner that was killed left
        # Never left: a runner ends by being killed, and the next one sweeps. Held, since the folder would go with it.
        self._held = temporary_folder(parent, "runner")
        self._folder = self._held.__enter__()
        # One for all runs: a process that asked to die with its parent dies with the thread that started it.
        threading.Thread(target=self._work, daemon=True).start()

    def about(self) -> About:
        """What this machine has."""
        if self._environment is None:
            model = device_model("cpu")
            if self._device == "cuda":  # asked for in a process that ends; in this one the device would stay in use
                model, _ = self._engine.run("bench.runs.launchers.worker:cuda_model")
            self._environment = environment(device=model, threads=self._threads, engine=self._name)
        return About(software(), self._environment)

    def start(self, work: str, argument: Any, checkpoint: Bytes | None) -> None:
        """Begin a piece of work; a run goes on from `snapshot`. What it tells is numbered from 0."""
        with self._changed:
            self._messages, self._first = [], 0
        self._asked.put((work, argument, checkpoint))

    def hear(self, after: int) -> list[Message]:
        """The messages from number `after` on, all before having been heard.

        A snapshot or an end is told at once. Anything else waits for a moment and goes together, since each call takes a little
        of the machine that the run is timed on.
        """
        with self._changed:
            del self._messages[: max(0, after - self._first)]
            self._first = max(self._first, after)
            self._changed.notify_all()
            self._changed.wait_for(lambda: any(not isinstance(message, Told) for message in self._messages), LISTEN)
            return list(self._messages)

    def stop(self) -> None:
        """Ask the run for its end. It hands back what it has; nothing is begun here any more."""
        self._interrupts.asked += 1

    def _tell(self, message: Message) -> int:
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()
            return self._first + len(self._messages) - 1

    def _told(self, phase: str, share: float, line: str | None = None) -> None:
        self._tell(Told(phase, share, line))

    def _copied(self) -> None:
        """Hand the snapshot out and wait until it has arrived."""
        number = self._tell(Kept(np.fromfile(self._snapshot, dtype=np.uint8)))
        with self._changed:
            self._changed.wait_for(lambda: self._first > number or self._interrupts.asked > 0, PATIENCE)

    def _work(self) -> None:
        while True:
            self._tell(self._ended(*self._asked.get()))

    def _ended(self, work: str, argument: Any, checkpoint: Bytes | None) -> Ended:
        try:
            with tempfile.TemporaryDirectory(dir=self._folder) as name:
                return self._done(work, self._here(argument, Path(name), checkpoint) if isinstance(argument, Job) else argument)
        except Died as error:
            return Ended(died=(error.exit_code, error.out_of_memory))
        except Exception as error:
            # Whatever it is, the one that waits must hear of it.
            if not isinstance(argument, Job):
                return Ended(died=(1, False))
            why = without_paths(str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}")
            record = record_of(argument, "failed", why)
            return Ended(Outcome(record.model_copy(update={"environment": self.about().environment})))

    def _done(self, work: str, argument: Any) -> Ended:
        try:
            result, watch = self._engine.run(work, argument, listen=self._told)
        except KeyboardInterrupt as interrupt:
            result, watch = interrupt.args if len(interrupt.args) == 2 else (None, Watch())
            if result is None and isinstance(argument, Job):
                result = Outcome(record_of(argument, "cancelled", "stopped by a signal"))
        keep = argument.keep if isinstance(argument, Job) else None
        files = {} if keep is None else {path.name: np.fromfile(path, dtype=np.uint8) for path in keep.iterdir()}
        return Ended(self._stamped(result), watch, files=files)

    def _here(self, job: Job, folder: Path, checkpoint: Bytes | None) -> Job:
        """The job with what this machine has in the place of what the other one had.

        Raises:
            ClusterError: if encoder or reviews are not here, or are others.
        """
        pretrained = _found(job.pretrained)
        if job.data_argument not in self._data:
            self._data[job.data_argument] = read(job.data_argument).sha256
        for what, here, there in (
            (f"the encoder {job.pretrained.name!r}", pretrained.sha256, job.pretrained.sha256),
            (f"the data {job.spec.data!r}", self._data[job.data_argument], job.data.sha256),
        ):
            if here != there:
                raise ClusterError(
                    f"{what} has other content on the worker ({here[:12]}) than where it was asked ({there[:12]})"
                )
        self._snapshot = checkpoint_path(folder, job.run_id)
        self._snapshot.parent.mkdir()
        if checkpoint is not None:
            checkpoint.tofile(self._snapshot)
        keep = None if job.keep is None else folder / "saved"
        if keep is not None:
            keep.mkdir()
        device = self.about().environment.device
        return replace(job, pretrained=pretrained, device_model=device, checkpoint=self._snapshot, keep=keep)

    def _stamped(self, result: Any) -> Any:
        """The result, whose record names the engine."""
        if isinstance(result, Outcome):
            return replace(result, record=self._stamped(result.record))
        if hasattr(result, "environment"):
            return result.model_copy(update={"environment": result.environment.model_copy(update={"engine": self._name})})
        return result


def _found(asked: PretrainedModel) -> PretrainedModel:
    """An encoder as it is on this machine: a package's or the hub's by name, any other in the folder of the same path. That
    folder may be called as a package is.
    """
    if asked.name in PACKAGED or asked.name in IN_PIECES or "/" in asked.name:
        try:
            found = find(asked.name)
        except BenchError:
            if not asked.folder.is_dir():
                raise
        else:
            if found.sha256 == asked.sha256 or not asked.folder.is_dir():
                return found
    return find(str(asked.folder))


def cuda_model(notify: object) -> str:
    """What the CUDA device is called, as work for a process of its own."""
    return device_model("cuda")
