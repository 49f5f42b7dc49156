"""Runs in processes of this machine, one at a time.

On a CPU each run is forked from a server that has only imported the libraries, so that a run after the first starts at
once with a clean memory peak; on CUDA, which no fork survives, each is a fresh interpreter.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any, Literal

from bench.records.schema import Environment
from bench.system.processes import end_with_parent, without_main
from bench.system.signals import Interrupts
from bench.training.job import KEPT, Notify, ignore_progress

__all__ = ["GRACE", "LOOK", "Died", "LocalEngine", "Watch", "context_of", "kernel_kills"]

GRACE = 4.0
"""Seconds that a run has to end by itself once it was asked to. With what follows in the process that asked, five pass."""
LOOK = 0.2
"""Seconds between two looks at whether an end was asked for."""


@dataclass
class Watch:
    """What the clock of the process that waits saw of the one that works: an outside check of what that one says."""

    seconds: float = 0.0
    """From its start to its result."""
    phases: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When each phase was first and last heard of, in seconds from the start."""

    def hear(self, phase: str, since: float) -> None:
        first, _ = self.phases.get(phase, (since, since))
        self.phases[phase] = (first, since)

    def between(self, phase: str) -> float | None:
        """Seconds between the first and the last sign of a phase; None if there was none."""
        seen = self.phases.get(phase)
        return None if seen is None else seen[1] - seen[0]


class Died(Exception):
    """A process ended without handing back its result."""

    environment: Environment | None = None
    """Where it ran, if that was another machine."""

    def __init__(self, exit_code: int, out_of_memory: bool) -> None:
        self.exit_code, self.out_of_memory = exit_code, out_of_memory
        if exit_code >= 0:
            what = f"exit code {exit_code}"
        else:
            try:
                what = signal.Signals(-exit_code).name
            except ValueError:
                what = f"signal {-exit_code}"
        super().__init__(f"the process of the run ended by {what}" + (", out of memory" if out_of_memory else ""))

    def __reduce__(self) -> tuple[type[Died], tuple[int, bool]]:
        return type(self), (self.exit_code, self.out_of_memory)  # what an exception is pickled by otherwise is its text


def _child(connection: Connection, work: str, arguments: tuple[Any, ...], copies: bool) -> None:
    """Do `work(*arguments, notify)` and send its result. Interrupts are the parent's to hear and pass on.

    With `copies`, the parent copies each snapshot, and the work goes on when it has.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whoever started the parent may have blocked them, as Ray does in threads of its own; a run ends by them.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGALRM})
    threading.Thread(target=end_with_parent, daemon=True).start()
    from bench.runs.launchers import preload  # noqa: F401  already there when forked, not when spawned

    module, function = work.split(":")
    last = 0.0

    def notify(phase: str, share: float, line: str | None = None) -> None:
        nonlocal last
        now = time.monotonic()
        if phase == KEPT:
            if copies:
                connection.send(("kept",))
                connection.recv()
        elif line is not None:
            connection.send(("told", phase, share, line))
        elif share in (0.0, 1.0) or now - last > 0.2:
            last = now
            connection.send(("told", phase, share))

    try:
        connection.send(("result", getattr(importlib.import_module(module), function)(*arguments, notify)))
    except (BrokenPipeError, EOFError):
        os._exit(1)  # nobody is left to hear


def kernel_kills() -> int:
    """How often the kernel has killed a process for want of memory, on this machine or in this container."""
    counts = 0
    for path, name in (("/proc/vmstat", "oom_kill"), ("/sys/fs/cgroup/memory.events", "oom_kill")):
        try:
            match = re.search(rf"^{name} (\d+)$", Path(path).read_text(), flags=re.M)
        except OSError:
            continue
        counts += int(match[1]) if match else 0
    return counts


def context_of(device: Literal["cpu", "cuda"]) -> ForkServerContext | SpawnContext:
    """How processes start: forked from a server that has imported the libraries, on CUDA, which no fork survives, anew."""
    if device == "cuda":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.runs.launchers.preload"])
    return context


class LocalEngine:
    """Does one piece of work at a time in a process of its own.

    An interrupt is raised when `interrupts` ends, which may be after the result was saved. `copy`, if there is one, is called
    whenever the work has written a snapshot, and the work waits for its end, with its clock stopped.
    """

    places = 1
    """How many pieces of work it does at once."""

    def __init__(
        self,
        device: Literal["cpu", "cuda"] = "cpu",
        interrupts: Interrupts | None = None,
        copy: Callable[[], None] | None = None,
    ) -> None:
        self._interrupts, self._copy = interrupts or Interrupts(), copy
        self._context = context_of(device)

    def run(self, work: str, *arguments: Any, listen: Notify = ignore_progress) -> tuple[Any, Watch]:
        """Call `work`, written "module:function", with the arguments and a listener in a fresh process.

        Returns its result, and the wall seconds of the process and its phases as seen from here. The work is
        named and not given, since importing it here would cost ten seconds and spoil the fork. `listen` hears here what the
        work tells there.

        An interrupt here (Ctrl-C, SIGTERM) is passed on once, and the process has `GRACE` seconds to hand back what it has;
        the interrupt is then raised with its arguments: the result, if there is one, and the watch. A second interrupt ends
        the process at once.

        Raises:
            Died: if the process ends without a result.
        """
        kills = kernel_kills()
        receiving, sending = self._context.Pipe(duplex=self._copy is not None)
        process = self._context.Process(target=_child, args=(sending, work, arguments, self._copy is not None), daemon=True)
        began, watch = time.monotonic(), Watch()
        with self._interrupts as interrupts:
            with interrupts.at_once(), without_main():
                process.start()  # the first one waits for the server's imports
            sending.close()
            result: list[Any] = []
            deadline = inf
            while not result and interrupts.asked < 2 and time.monotonic() < deadline:
                if interrupts.asked and deadline == inf:
                    deadline = time.monotonic() + GRACE
                    process.terminate()
                try:
                    kind, *said = receiving.recv() if receiving.poll(LOOK) else ("nothing",)
                    if kind == "kept" and self._copy is not None:
                        self._copy()
                        with suppress(ConnectionError):  # it has ended; its result may still be there
                            receiving.send(None)
                except (EOFError, ConnectionError):
                    break
                if kind == "result":
                    result += said
                elif kind == "told":
                    if len(said) == 2:  # no line to say, but a sign of a phase
                        watch.hear(said[0], time.monotonic() - began)
                    listen(*said)
            watch.seconds = time.monotonic() - began
            process.join(0.0 if interrupts.asked else GRACE)
            if process.is_alive():
                process.kill()
                process.join()
            receiving.close()
            if interrupts.asked:
                raise KeyboardInterrupt(*result, watch)
        if not result:
            code = process.exitcode if process.exitcode is not None else 1
            raise Died(code, out_of_memory=code == -signal.SIGKILL and kernel_kills() > kills)
        return result[0], watch
