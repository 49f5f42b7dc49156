"""Runs on the machines of a Ray cluster, as many at once as it has room for. Ray is imported here, and torch never.

A runner (worker.py) is an actor that holds what a run needs, a GPU or a CPU for each of its threads, so that no
two timed runs share them. It stays for many runs, since the server that they are forked from takes ten seconds to start. What
a run tells is fetched from it; snapshots come the same way and lie beside the records, so that a run whose worker is lost goes
on at any other.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import ray
from ray.exceptions import OutOfMemoryError, RayError

from bench.records.schema import Environment
from bench.runs.launchers.process import GRACE, LOOK, Died, Watch
from bench.runs.launchers.software import difference, software
from bench.runs.launchers.transfer import checkpoint_of, keep, portable, saved
from bench.runs.launchers.worker import LISTEN, About, Ended, Kept, Runner
from bench.system.errors import ClusterError
from bench.system.signals import Interrupts
from bench.training.job import Job, Notify, ignore_progress

__all__ = ["RayEngine"]

TRIES = 3
"""How often a run is begun whose worker is lost, and a worker that does not come up."""
PATIENCE = 60.0
"""Seconds that a cluster has to get back a node for runs, when it has lost all of them."""


class _Actor(Runner):
    """A runner in a process of Ray's."""

    def __init__(self, device: Literal["cpu", "cuda"], threads: int) -> None:
        # Ray sets it for every process that is begun here. A run sets the threads of torch; its baseline is as without it.
        os.environ.pop("OMP_NUM_THREADS", None)
        # Each run would import the program of Ray's workers, in case that its work comes from there.
        vars(sys.modules["__main__"]).pop("__file__", None)
        super().__init__(device, threads, "ray")


@dataclass(frozen=True)
class _Place:
    actor: Any
    about: About


class Lost(Died):
    """The workers of a run were lost, one after the other."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(1, out_of_memory=False)
        self.args = (f"its worker was lost {TRIES} times",)
        self.environment = environment


class RayEngine:
    """Does as many runs at once as it has places, each asked for by a thread of its own.

    `room` tells how many the cluster has room for now. Interrupts are heard by whoever made this.
    """

    def __init__(
        self,
        device: Literal["cpu", "cuda"],
        threads: int,
        places: int,
        room: Callable[[], int],
        interrupts: Interrupts,
        note: Callable[[str], None],
    ) -> None:
        self.places = places
        self._room, self._interrupts, self._note = room, interrupts, note
        self._arguments = device, threads
        resources = {"num_gpus": 1, "num_cpus": 0} if device == "cuda" else {"num_cpus": threads}
        self._actors: Any = ray.remote(max_concurrency=4, max_restarts=0, **resources)(_Actor)
        self._software = software()
        self._changed = threading.Condition()
        """Notified when a runner is free again; whoever holds it may touch what follows."""
        self._waiting = 0
        """How many threads wait for a runner."""
        self._starting: dict[Any, Any] = {}
        """Runners that have not answered yet, by what will be their answer."""
        self._free: list[_Place] = []
        self._taken: list[_Place] = []
        self._refused: list[Any] = []
        """Runners with other software. They keep what they hold, or the next would be started on the same machine."""
        self._unlike = ""
        """What the last of them has in another version."""
        self._failures, self._room_since = 0, time.monotonic()

    def run(self, work: str, *arguments: Any, listen: Notify = ignore_progress) -> tuple[Any, Watch]:
        """Do a piece of work with one argument, as the engine of this machine does; it is begun again if its worker is lost.

        Raises:
            Died: if its process ends without a result, or too many workers are lost.
            KeyboardInterrupt: as from the engine of this machine.
            ClusterError: if there are no machines for it.
        """
        (argument,) = arguments
        for left in reversed(range(TRIES)):
            place = self._take()
            try:
                ended = self._follow(place.actor, work, argument, listen)
            except OutOfMemoryError:
                # Ray ended the worker before the kernel would have ended the run. A call on an actor that it ended so raises
                # this, and no error of actors: the cause of the death decides.
                self._drop(place)
                raise _died(place, -signal.SIGKILL, out_of_memory=True) from None
            except RayError:
                self._drop(place)
                if left:
                    listen("set-up", 0.0, "its worker is lost; it is begun again, from its last checkpoint if there is one")
                continue
            except BaseException:
                self._drop(place)
                raise
            self._give(place)
            if self._interrupts.asked:
                raise KeyboardInterrupt(*([] if ended.result is None else [ended.result]), ended.watch)
            if ended.died is not None:
                raise _died(place, *ended.died)
            return ended.result, ended.watch
        raise Lost(place.about.environment)

    def close(self) -> None:
        """End all runners, and with them what they do."""
        places = [place.actor for place in (*self._free, *self._taken)]
        for actor in (*self._starting.values(), *places, *self._refused):
            _kill(actor)

    def _follow(self, actor: Any, work: str, argument: Any, listen: Notify) -> Ended:
        """Have the work done and pass on what it tells, until it has ended. An end that is asked for is passed on, once."""
        job = argument if isinstance(argument, Job) else None
        checkpoint = None if job is None else checkpoint_of(job)
        ray.get(actor.start.remote(work, argument if job is None else portable(job), checkpoint))
        heard, deadline = 0, inf
        while self._interrupts.asked < 2 and time.monotonic() < deadline:
            if self._interrupts.asked and deadline == inf:
                deadline = time.monotonic() + GRACE + 2 * LISTEN
                actor.stop.remote()
            for message in ray.get(actor.hear.remote(heard)):
                heard += 1
                if isinstance(message, Ended):
                    return message if job is None else saved(job, message)
                if isinstance(message, Kept):
                    assert job is not None
                    keep(job, message.content, listen)
                else:
                    listen(*message)
        raise KeyboardInterrupt

    def _take(self) -> _Place:
        """A runner that is free, once there is one."""
        with self._changed:
            self._waiting += 1
            try:
                while not self._interrupts.asked:
                    if not self._free:
                        self._look()
                    if self._free:
                        place = self._free.pop()
                        self._taken.append(place)
                        return place
                    self._changed.wait(LOOK)  # lets others give theirs back meanwhile
            finally:
                self._waiting -= 1
        raise KeyboardInterrupt

    def _give(self, place: _Place) -> None:
        with self._changed:
            self._taken.remove(place)
            self._free.append(place)
            self._changed.notify()

    def _drop(self, place: _Place) -> None:
        with self._changed:
            self._taken.remove(place)
            self._room_since = time.monotonic()  # nobody looked while it was at work
        _kill(place.actor)

    def _look(self) -> None:
        """See which runners have come up, and have one started for each that waits, as far as there are places.

        Raises:
            ClusterError: if none will come; each thread that waits is told so.
        """
        if len(self._refused) == self.places:
            raise ClusterError(f"the workers have other versions than this machine ({self._unlike}); install the same on both")
        while len(self._starting) < min(self._waiting, self.places - len(self._refused) - len(self._taken)):
            actor = self._actors.remote(*self._arguments)
            self._starting[actor.about.remote()] = actor
        starting = list(self._starting)
        answers = ray.wait(starting, num_returns=len(starting), timeout=0)[0] if starting else []
        for answer in answers:
            self._answered(self._starting.pop(answer), answer)
        if answers or self._taken or self._room():
            self._room_since = time.monotonic()
        elif time.monotonic() - self._room_since > PATIENCE:
            raise ClusterError("the cluster has no node left for runs; the same command goes on when it has")

    def _answered(self, actor: Any, answer: Any) -> None:
        try:
            about: About = ray.get(answer)
        except RayError as error:
            self._failures += 1
            if self._failures < TRIES:
                return
            said = [line.strip() for line in str(error).splitlines() if line.strip()]
            why = said[-1][:200] if said else type(error).__name__
            raise ClusterError(f"no worker comes up ({why}); adapter-bench must be installed on every node") from None
        self._failures = 0
        unlike = difference(self._software, about.software)
        if unlike is None:
            self._free.append(_Place(actor, about))
            return
        self._refused.append(actor)
        self._unlike = unlike
        if len(self._refused) < self.places:  # else it is said as the reason for the end
            self._note(f"a worker with other versions is left out: {unlike}")


def _died(place: _Place, exit_code: int, out_of_memory: bool) -> Died:
    died = Died(exit_code, out_of_memory)
    died.environment = place.about.environment
    return died


def _kill(actor: Any) -> None:
    with suppress(RayError, ValueError):
        ray.kill(actor)
