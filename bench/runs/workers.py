"""Calibration workers: processes that each hold one method."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any, Literal

from bench.data.task import Ints
from bench.runs.launchers.process import GRACE, Died, context_of, kernel_kills
from bench.system.processes import without_main
from bench.training.job import Job

__all__ = ["ProcessWorker", "WorkerLost"]


class WorkerLost(Exception):
    """A worker cannot continue."""

    def __init__(self, state: Literal["out-of-memory", "failed"], reason: str) -> None:
        self.state, self.reason = state, reason
        super().__init__(reason)


class ProcessWorker:
    """A process in which the method of a job is attached. It is started at once and warms up by itself."""

    def __init__(self, job: Job) -> None:
        self._kills = kernel_kills()
        context = context_of(job.spec.device)
        self._connection: Connection
        self._connection, other = context.Pipe()
        # Named and not imported: importing torch here would cost seconds.
        self._process = context.Process(target=_serve, args=(other, job), daemon=True)
        with without_main():
            self._process.start()
        other.close()

    def ready(self) -> None:
        """Wait until it is warmed up.

        Raises:
            WorkerLost: if it cannot.
        """
        self._answer()

    def time(self, batches: list[Ints]) -> tuple[float, int]:
        """Train on these batches of rows. Returns device seconds and tokens.

        Raises:
            WorkerLost: if it could not.
        """
        try:
            self._connection.send(batches)
        except ConnectionError:
            raise self._died() from None
        seconds, tokens = self._answer()
        return seconds, tokens

    def _answer(self) -> list[Any]:
        payload: list[Any]
        try:
            kind, *payload = self._connection.recv()
        except (EOFError, ConnectionError):
            raise self._died() from None
        if kind == "lost":
            raise WorkerLost(*payload)
        return payload

    def _died(self) -> WorkerLost:
        self._process.join(GRACE)
        code = self._process.exitcode
        died = Died(1 if code is None else code, out_of_memory=kernel_kills() > self._kills)
        return WorkerLost("out-of-memory" if died.out_of_memory else "failed", str(died))

    def stop(self) -> None:
        """End the process and free its memory."""
        self._connection.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _serve(connection: Connection, job: Job) -> None:
    from bench.runs.launchers import preload  # noqa: F401  already there when forked, not when spawned
    from bench.training.timed_slice import serve

    serve(connection, job)
