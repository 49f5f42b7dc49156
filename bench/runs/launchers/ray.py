"""Runs on the machines of a Ray cluster, as many at once as it has room for. Ray is imported here, and torch never.

A runner (worker.py) is an actor that holds what a run needs, a GPU or a CPU for each of its threads, so that no two timed
runs share them. It stays for many runs, since the server that they are forked from takes ten seconds to start. Messages and
checkpoints are fetched from it; checkpoints lie beside the records, so that a run whose worker is lost resumes on any other.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import ray
from ray.exceptions import OutOfMemoryError, RayError

from bench.rules import SENTENCES
from bench.runs.launchers.process import GRACE, LOOK, Died
from bench.runs.launchers.worker import About, Bytes, Checkpoint, Ended, Runner, difference, software
from bench.system.errors import ClusterError
from bench.system.files import atomic_write, existing
from bench.system.signals import Interrupts
from bench.training.job import Job, Notify, Outcome, Result, ignore_progress, record_of

__all__ = ["RayEngine", "portable", "saved"]

TRIES = 3
"""Attempts to run what loses its worker, and to start a worker that does not come up."""
PATIENCE = 60.0
"""Seconds that a cluster has to get back a node for runs, when it has lost all of them."""


class _Actor(Runner):
    """A runner in a process of Ray's."""

    def __init__(self, device: Literal["cpu", "cuda"], threads: int) -> None:
        # Ray sets it for every process that starts here. A run sets the threads of torch; its baseline is as without it.
        os.environ.pop("OMP_NUM_THREADS", None)
        # Each run would import the program of Ray's workers, in case that its work comes from there.
        vars(sys.modules["__main__"]).pop("__file__", None)
        super().__init__(device, threads, "ray")


class _Slot(NamedTuple):
    actor: Any
    about: About


class RayEngine:
    """Execute as many runs at once as it has slots, each requested from a thread of its own.

    `room` counts the runs that the cluster has room for now. The caller handles interrupts.
    """

    def __init__(
        self,
        device: Literal["cpu", "cuda"],
        threads: int,
        slots: int,
        room: Callable[[], int],
        interrupts: Interrupts,
    ) -> None:
        self.slots = slots
        self._room, self._interrupts = room, interrupts
        self._arguments = device, threads
        resources = {"num_gpus": 1, "num_cpus": 0} if device == "cuda" else {"num_cpus": threads}
        self._actors: Any = ray.remote(max_concurrency=4, max_restarts=0, **resources)(_Actor)
        self._software = software()
        self._changed = threading.Condition()
        """Notified when a runner is free again; guards what follows."""
        self._waiting = 0
        """Threads that wait for a runner."""
        self._starting: dict[Any, Any] = {}
        """Pending answer → runner that starts."""
        self._free: list[_Slot] = []
        self._busy = 0
        self._unlike: str | None = None
        """What a runner has in another version."""
        self._failures, self._room_since = 0, time.monotonic()

    def run(self, work: str, *arguments: Any, listen: Notify = ignore_progress) -> Result:
        """Execute a piece of work with one argument as the engine of this machine does; retry it if its worker is lost.

        Raises:
            Died: if its process ends without a result, or `TRIES` workers are lost.
            ClusterError: if there are no machines for it.
        """
        (argument,) = arguments
        for left in reversed(range(TRIES)):
            slot = self._acquire()
            if slot is None:
                break
            ended = None
            try:
                ended = self._follow(slot.actor, work, argument, listen)
            except OutOfMemoryError:
                # Ray ended the worker before the kernel would have ended the run. A call on an actor that it ended so raises
                # this, and no error of actors: the cause of the death decides.
                raise Died(-signal.SIGKILL, True, slot.about.environment) from None
            except RayError:
                if not left:
                    raise Died(1, False, slot.about.environment, f"its worker was lost {TRIES} times") from None
                listen("set-up", 0.0, "its worker is lost; it starts again, from its last checkpoint if there is one")
                continue
            finally:
                self._give_back(slot, sound=ended is not None)
            if ended is None:
                break
            if ended.died is not None and not self._interrupts.count:
                raise Died(*ended.died, slot.about.environment)
            return Result(ended.result, ended.watch, interrupted=self._interrupts.count > 0)
        return Result(None, interrupted=True)

    def close(self) -> None:
        """End all runners and their runs."""
        for actor in (*self._starting.values(), *(slot.actor for slot in self._free)):
            _kill(actor)

    def _follow(self, actor: Any, work: str, argument: Any, listen: Notify) -> Ended | None:
        """Have a worker execute the work and pass on its messages, until its end; None if it outlives an interrupt."""
        job = argument if isinstance(argument, Job) else None
        checkpoint = None if job is None else _checkpoint_of(job)
        messages = actor.execute.remote(work, argument if job is None else portable(job), checkpoint)
        deadline = inf
        while self._interrupts.count < 2 and time.monotonic() < deadline:
            if self._interrupts.count and deadline == inf:
                deadline = time.monotonic() + GRACE + 1.0
                actor.stop.remote()
            if not ray.wait([messages], timeout=LOOK)[0]:
                continue
            message = ray.get(next(messages))
            if isinstance(message, Ended):
                return message if job is None else saved(job, message)
            if isinstance(message, Checkpoint):
                assert job is not None
                _keep(job, message.content, listen)
                actor.copied.remote()
            else:
                listen(*message)
        return None

    def _acquire(self) -> _Slot | None:
        """Wait for a free worker; None after an interrupt."""
        with self._changed:
            self._waiting += 1
            try:
                while not self._interrupts.count:
                    if not self._free:
                        self._look()
                    if self._free:
                        self._busy += 1
                        return self._free.pop()
                    self._changed.wait(LOOK)  # lets others release theirs meanwhile
            finally:
                self._waiting -= 1
        return None

    def _give_back(self, slot: _Slot, *, sound: bool) -> None:
        with self._changed:
            self._busy -= 1
            if sound:
                self._free.append(slot)
                self._changed.notify()
                return
            self._room_since = time.monotonic()  # not looked at while it worked
        _kill(slot.actor)

    def _look(self) -> None:
        """Collect the runners that have come up, and start one for each thread that waits, as far as there are slots.

        Raises:
            ClusterError: if none will come; in each thread that waits.
        """
        while len(self._starting) < min(self._waiting, self.slots - self._busy):
            actor = self._actors.remote(*self._arguments)
            self._starting[actor.about.remote()] = actor
        starting = list(self._starting)
        ready = ray.wait(starting, num_returns=len(starting), timeout=0)[0] if starting else []
        for answer in ready:
            self._answered(self._starting.pop(answer), answer)
        if self._unlike is not None:
            raise ClusterError(f"the workers have other versions than this machine ({self._unlike}); install the same on both")
        if ready or self._busy or self._room():
            self._room_since = time.monotonic()
        elif time.monotonic() - self._room_since > PATIENCE:
            raise ClusterError("the cluster has no node left for runs; repeat the command when it has")

    def _answered(self, actor: Any, answer: Any) -> None:
        try:
            about: About = ray.get(answer)
        except RayError as error:
            self._failures += 1
            if self._failures < TRIES:
                return
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            why = lines[-1][:200] if lines else type(error).__name__
            raise ClusterError(f"no worker comes up ({why}); adapter-bench must be installed on every node") from None
        self._failures = 0
        self._unlike = self._unlike or difference(self._software, about.software)
        if self._unlike is None:
            self._free.append(_Slot(actor, about))
        else:
            _kill(actor)


def _kill(actor: Any) -> None:
    with suppress(RayError, ValueError):
        ray.kill(actor)


def portable(job: Job) -> Job:
    """Make a job that another machine can run: paths are absolute, and the checkpoint is sent by itself."""
    data = job.data_argument
    if data.name not in ("embedded", "imdb", SENTENCES) and (path := existing(data.name)) is not None:
        data = replace(data, name=str(path.absolute()))
    folder = job.pretrained.folder.expanduser().absolute()
    return replace(job, data_argument=data, pretrained=replace(job.pretrained, folder=folder), checkpoint=None)


def _checkpoint_of(job: Job) -> Bytes | None:
    """Read the checkpoint that the run resumes from, if it has one."""
    assert job.checkpoint is not None
    try:
        return np.fromfile(job.checkpoint, dtype=np.uint8)
    except OSError:
        return None


def _keep(job: Job, checkpoint: Bytes, listen: Notify) -> None:
    """Write a checkpoint beside the records. On a full disk, print a line and continue."""
    assert job.checkpoint is not None
    try:
        with atomic_write(job.checkpoint) as file:
            file.write(checkpoint.data)
    except OSError as error:
        listen(
            "training",
            0.0,
            f"its checkpoint cannot be written here ({error.strerror}); without its worker it would start over",
        )


def saved(job: Job, ended: Ended) -> Ended:
    """Write the trained weights into their folder. On a full disk the run fails, and the next one resumes from the last
    checkpoint.
    """
    record = ended.result.record if isinstance(ended.result, Outcome) else None
    if job.keep is None or record is None or record.state != "complete":
        return ended
    try:
        for name, content in ended.files.items():
            (job.keep / Path(name).name).write_bytes(content.data)
    except OSError as error:
        failed = record_of(job, "failed", f"the trained weights cannot be written ({error.strerror})")
        return Ended(Outcome(failed.model_copy(update={"environment": record.environment})), ended.watch)
    return ended
