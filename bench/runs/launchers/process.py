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
from math import inf
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any, Literal, Protocol

from bench.records.schema import Environment
from bench.system.processes import end_with_parent, without_main
from bench.system.signals import Interrupts
from bench.training.job import CHECKPOINT_WRITTEN, Notify, Result, Watch, ignore_progress

__all__ = ["GRACE", "LOOK", "Died", "Engine", "LocalEngine", "context_of", "kernel_kills"]

GRACE = 4.0
"""Seconds that a run has to end by itself after an interrupt; with what follows in the parent, five pass."""
LOOK = 0.2
"""Seconds between two looks at whether an interrupt came."""


class Died(Exception):
    """A process ended without a result."""

    def __init__(
        self, exit_code: int, out_of_memory: bool, environment: Environment | None = None, reason: str | None = None
    ) -> None:
        self.exit_code, self.out_of_memory = exit_code, out_of_memory
        self.environment = environment
        """Where it ran, if that was another machine."""
        what = f"exit code {exit_code}" if exit_code >= 0 else signal.Signals(-exit_code).name
        super().__init__(reason or f"the process of the run ended by {what}" + (", out of memory" if out_of_memory else ""))


class Engine(Protocol):
    """The processes of this machine, or a cluster."""

    @property
    def slots(self) -> int:
        """Number of runs that execute at once; if several, each is requested from a thread of its own."""
        ...

    def run(self, work: str, *arguments: Any, listen: Notify) -> Result:
        """Execute one piece of work in a fresh process.

        Raises:
            Died: if the process ends without a result. An interrupt raises nothing: the result says so.
        """
        ...


def _child(connection: Connection, work: str, arguments: tuple[Any, ...], copies: bool) -> None:
    """Call `work(*arguments, notify)` and send its result. The parent receives interrupts and passes them on.

    With `copies`, the parent copies each checkpoint, and the work continues when it has.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The process that started the parent may have blocked them, as Ray does in its threads; a run ends by them.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGALRM})
    threading.Thread(target=end_with_parent, daemon=True).start()
    from bench.runs.launchers import preload  # noqa: F401  already there when forked, not when spawned

    module, function = work.split(":")
    last = 0.0

    def notify(phase: str, share: float, line: str | None = None) -> None:
        nonlocal last
        now = time.monotonic()
        if phase == CHECKPOINT_WRITTEN:
            if copies:
                connection.send(("checkpoint",))
                connection.recv()
        elif line is not None:
            connection.send(("progress", phase, share, line))
        elif share in (0.0, 1.0) or now - last > 0.2:
            last = now
            connection.send(("progress", phase, share))

    try:
        connection.send(("result", getattr(importlib.import_module(module), function)(*arguments, notify)))
    except (BrokenPipeError, EOFError):
        os._exit(1)  # the parent is gone


def kernel_kills() -> int:
    """Count the processes that the kernel has killed for lack of memory, on this machine or in this container."""
    counts = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        try:
            match = re.search(r"^oom_kill (\d+)$", Path(path).read_text(), flags=re.M)
        except OSError:
            continue
        counts += int(match[1]) if match else 0
    return counts


def context_of(device: Literal["cpu", "cuda"]) -> ForkServerContext | SpawnContext:
    """Choose how processes start: forked from a server that has imported the libraries; on CUDA, spawned."""
    if device == "cuda":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.runs.launchers.preload"])
    return context


class LocalEngine:
    """Execute one piece of work at a time in a fresh process.

    KeyboardInterrupt is raised at the end of the caller's `interrupts` block, after the result was saved. `copy` is called
    after each checkpoint; the work waits until it returns, with its clock paused.
    """

    slots = 1

    def __init__(
        self,
        device: Literal["cpu", "cuda"] = "cpu",
        interrupts: Interrupts | None = None,
        copy: Callable[[], None] | None = None,
    ) -> None:
        self._interrupts, self._copy = interrupts or Interrupts(), copy
        self._context = context_of(device)

    def run(self, work: str, *arguments: Any, listen: Notify = ignore_progress) -> Result:
        """Call `work`, "module:function", with the arguments and a listener in a fresh process.

        The work is named, since importing it here would take ten seconds and spoil the fork. An interrupt (SIGINT, SIGTERM)
        is passed on once, and the process has `GRACE` seconds to return a partial result; a second one kills it.

        Raises:
            Died: if the process ends without a result and without an interrupt.
        """
        kills = kernel_kills()
        receiving, sending = self._context.Pipe(duplex=self._copy is not None)
        process = self._context.Process(target=_child, args=(sending, work, arguments, self._copy is not None), daemon=True)
        began, watch = time.monotonic(), Watch()
        with self._interrupts as interrupts:
            try:
                with interrupts.at_once(), without_main():
                    process.start()  # the first one waits for the server's imports
            except KeyboardInterrupt:
                return Result(None, interrupted=True)
            sending.close()
            result: list[Any] = []
            deadline = inf
            while not result and interrupts.count < 2 and time.monotonic() < deadline:
                if interrupts.count and deadline == inf:
                    deadline = time.monotonic() + GRACE
                    process.terminate()
                try:
                    kind, *content = receiving.recv() if receiving.poll(LOOK) else ("nothing",)
                    if kind == "checkpoint" and self._copy is not None:
                        self._copy()
                        with suppress(ConnectionError):  # it has ended; its result may still be there
                            receiving.send(None)
                except (EOFError, ConnectionError):
                    break
                if kind == "result":
                    result += content
                elif kind == "progress":
                    if len(content) == 2:  # no line to say, but a sign of a phase
                        watch.hear(content[0], time.monotonic() - began)
                    listen(*content)
            watch.seconds = time.monotonic() - began
            process.join(0.0 if interrupts.count else GRACE)
            if process.is_alive():
                process.kill()
                process.join()
            receiving.close()
            if not result and not interrupts.count:
                code = process.exitcode if process.exitcode is not None else 1
                raise Died(code, out_of_memory=code == -signal.SIGKILL and kernel_kills() > kills)
            return Result(result[0] if result else None, watch, interrupted=interrupts.count > 0)
