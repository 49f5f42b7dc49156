"""Several runs in hand on a cluster, which is made up, and clusters that cannot be reached."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.runs.plan import Matrix, Request, plan
from bench.runs.scheduler import carry_out
from bench.runs.status import Note
from bench.system.errors import ClusterError
from bench.system.locks import exclusive, lock_path
from bench.system.signals import Interrupts
from bench.training.job import Job, Outcome, Result, cancelled, record_of
from tests.conftest import call, left, records
from tests.killing import until
from tests.nodes import RAY


class Pretended:
    """A cluster with room for two runs, which are made up."""

    def __init__(self, does: Callable[[Job, Interrupts], Any]) -> None:
        self.does = does
        self.slots = 2

    @contextmanager
    def engine(self, device: str, threads: int, runs: int, interrupts: Interrupts) -> Iterator[Any]:
        self.interrupts = interrupts
        yield self

    def run(self, work: str, job: Job, listen: object) -> Result:
        outcome = self.does(job, self.interrupts)
        return Result(outcome, interrupted=self.interrupts.count > 0)


@pytest.fixture
def four(tiny_folder: Path, small_folder: Path) -> Matrix:
    return plan(Request(["lora"], encoder=str(tiny_folder), data=str(small_folder), budget="4 steps", seeds="4", device="cpu"))


def carried_out(matrix: Matrix, out: Path, does: Callable[[Job, Interrupts], Any]) -> bool:
    told: list[Path] = []
    cluster: Any = Pretended(does)
    done = carry_out(
        matrix, out, force=False, tell=lambda record, path, new: told.append(path), announce=lambda choice: None,
        cluster=cluster,
    )  # fmt: skip
    assert len(told) == len(set(told)) == len(matrix.jobs)
    return done


def test_as_many_runs_run_at_once_as_there_are_slots(four: Matrix, tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def does(job: Job, interrupts: Interrupts) -> Outcome:
        both.wait(30)
        return Outcome(record_of(job, "complete"))

    assert carried_out(four, tmp_path, does)
    assert sorted(record.spec.seed for record in records(tmp_path)) == [0, 1, 2, 3]
    assert left(tmp_path, "") == []
    assert carried_out(four, tmp_path, lambda job, interrupts: 1 / 0), "all are finished, and nothing is done again"


def test_an_interrupt_ends_all_that_run_and_starts_no_other(four: Matrix, tmp_path: Path) -> None:
    both, begun = threading.Barrier(2), []

    def does(job: Job, interrupts: Interrupts) -> Outcome:
        begun.append(job.spec.seed)
        if both.wait(30) == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        while not interrupts.count:
            time.sleep(0.01)
        return cancelled(job)

    with pytest.raises(KeyboardInterrupt):
        carried_out(four, tmp_path, does)
    assert sorted(begun) == [0, 1]
    assert [record.state for record in records(tmp_path)] == ["cancelled"] * 2
    assert left(tmp_path, "") == []


def test_a_wait_for_another_process_can_be_interrupted(four: Matrix, tmp_path: Path) -> None:
    other = lock_path(tmp_path, four.jobs[0].run_id)

    def does(job: Job, interrupts: Interrupts) -> Outcome:
        os.kill(os.getpid(), signal.SIGTERM)
        while not interrupts.count:
            time.sleep(0.01)
        return None

    for silent in (False, True):  # as one on another machine may be, which then seems to be gone
        with exclusive(other, lambda: None):
            if not silent:
                Note(other, "lora", "", 1, 1)
            else:
                os.utime(other, (1, 1))
            with pytest.raises(KeyboardInterrupt):
                carried_out(four, tmp_path, does)
        assert [record.spec.seed for record in records(tmp_path)] == [1]


def test_a_cluster_without_machines_ends_the_matrix_and_loses_nothing(four: Matrix, tmp_path: Path) -> None:
    lost = threading.Event()

    def does(job: Job, interrupts: Interrupts) -> Outcome:
        if job.spec.seed == 0:
            lost.set()
            raise ClusterError("the cluster has no node left")
        assert lost.wait(30)
        until(lambda: not lock_path(tmp_path, four.jobs[0].run_id).exists())
        time.sleep(0.3)
        return Outcome(record_of(job, "complete"))

    with pytest.raises(ClusterError, match="no node left"):
        carried_out(four, tmp_path, does)
    assert [(record.spec.seed, record.state) for record in records(tmp_path)] == [(1, "complete")]
    assert left(tmp_path, "") == []


# What cannot be reached


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert call(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_what_keeps_a_cluster_from_being_reached(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["run", "--method", "lora", "--address"]
    assert "--address needs --engine ray" in said([*asked, "auto"], capsys)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        assert "run: pip install 'adapter-bench[ray]'" in said([*asked, "auto", "--engine", "ray"], capsys)


@RAY
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_address_where_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["run", "--method", "lora", "--engine", "ray", "--address"]
    for wrong in ("ray://127.0.0.1:10001", "somewhere", "127.0.0.1:port"):
        assert "is not understood; write host:port, auto or local" in said([*asked, wrong], capsys)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        line = said([*asked, f"127.0.0.1:{closed.getsockname()[1]}"], capsys)
    assert "(Connection refused); start one with `ray start --head`" in line
