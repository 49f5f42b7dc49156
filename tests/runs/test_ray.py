"""Runs on a cluster are the runs at home: same predictions, same records, and no less survives."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.runs.launchers.process as local
from bench.data.sources import DataRequest
from bench.models.pretrained import PACKAGED, PretrainedModel, find
from bench.records.audit import audit
from bench.records.schema import Record
from bench.records.spec import Budget
from bench.runs.launchers.process import LocalEngine
from bench.runs.launchers.worker import Checkpoint, Ended, Message, Progress, Runner, _find_encoder, difference, software
from bench.runs.monitor import overview
from bench.runs.plan import Matrix, Request, plan
from bench.runs.scheduler import carry_out
from bench.runs.status import Note
from bench.system.device import usable_cores
from bench.system.errors import ClusterError, ModelError
from bench.system.locks import exclusive, lock_path
from bench.system.signals import Interrupts
from bench.training.job import Job, Outcome, Result, cancelled, checkpoint_path, record_of
from tests.conftest import call, make_job, make_spec, records
from tests.factories import run
from tests.killing import SETTINGS, result, until
from tests.measurements.cluster import row_of, table
from tests.nodes import Nodes, nodes

RAY = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'adapter-bench[ray]'")


def came_to(record: Record) -> dict[str, Any]:
    return result(record.model_dump(mode="json"))


# What a machine of a cluster does, without a cluster


@pytest.fixture
def job(tiny: PretrainedModel, small_folder: Path) -> Job:
    return make_job(make_spec("lora", test_limit=20, budget=Budget(amount=40, unit="steps")), tiny, small_folder)


def end_of(runner: Runner, work: str, argument: Any) -> Ended:
    """How a runner says that a piece of work has ended."""
    (*_, last) = runner.execute(work, argument, None)
    assert isinstance(last, Ended)
    return last


@pytest.mark.slow
def test_a_run_goes_on_at_another_runner_from_what_the_first_handed_out(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot is handed out while the clock stands still: until it has been heard of, the run waits."""
    monkeypatch.setattr(local, "GRACE", 60.0)  # how long it may take is not asked here
    whole = LocalEngine("cpu").run("bench.training.run:execute", job).outcome.record
    asked = replace(job, device_model="of another machine", checkpoint=checkpoint_path(tmp_path / "not here", job.run_id))
    first, second = Runner("cpu", 2, "elsewhere"), Runner("cpu", 2, "elsewhere")
    told, copies = first.execute("tests.work:eager", asked, None), list[Checkpoint]()
    while len(copies) < 12:  # past the first mark of the curve
        if isinstance(message := next(told), Checkpoint):
            copies.append(message)
            if len(copies) < 12:
                first.copied()
    first.stop()
    first.copied()
    for stopped in told:
        if isinstance(stopped, Checkpoint):  # a run that stops between two steps writes one more
            first.copied()
    assert isinstance(stopped, Ended)
    assert stopped.result.record.state == "cancelled"
    assert 12 <= stopped.result.record.training.steps < 40
    messages: list[Message] = []
    for message in second.execute("tests.work:eager", replace(asked, keep=tmp_path), copies[-1].content):
        messages.append(message)
        if isinstance(message, Checkpoint):
            time.sleep(3 * (sum(isinstance(one, Checkpoint) for one in messages) == 1))
            second.copied()
    (*_, ended) = messages
    record = ended.result.record
    lines = [message.line for message in messages if isinstance(message, Progress) and message.line]
    assert lines[0].startswith("resumes from its checkpoint: ")
    assert (record.resumed, came_to(record)) == (1, came_to(whole))
    assert (record.environment.engine, whole.environment.engine) == ("elsewhere", "local")
    assert record.environment.device == record.environment.cpu != "of another machine"
    assert ended.watch.between("training") == pytest.approx(
        record.seconds.charged + record.seconds.paused - record.seconds.before, abs=1.0
    )
    assert record.seconds.paused > 3 > record.seconds.charged, "the wait is on both clocks, and on neither it is training"
    assert "head.safetensors" in ended.files
    assert not (tmp_path / "not here").exists()


@RAY
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_path_travels_whole_and_a_hub_id_as_it_is(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.runs.launchers.ray import portable

    folder = Path(job.data_argument.name)
    monkeypatch.chdir(folder.parent)
    near = replace(job, data_argument=DataRequest(folder.name, "body"))
    assert portable(near).data_argument == DataRequest(str(folder), "body")
    for name in ("imdb", "fancyzhx/ag_news"):
        assert portable(replace(job, data_argument=DataRequest(name))).data_argument == DataRequest(name)


def test_another_encoder_or_other_reviews_are_refused(job: Job, tmp_path: Path) -> None:
    runner = Runner("cpu", 2, "elsewhere")
    other = "has other content on the worker (", "0" * 64
    for wrong, says in (
        (replace(job, pretrained=replace(job.pretrained, sha256=other[1])), f"the encoder 'tiny' {other[0]}"),
        (replace(job, data=job.data.model_copy(update={"sha256": other[1]})), f"the data 'small' {other[0]}"),
        (replace(job, data_argument=DataRequest(str(tmp_path / "none"))), "data 'none' is none of embedded"),
    ):
        record = end_of(runner, "bench.training.run:execute", wrong).result.record
        assert record.state == "failed"
        assert record.reason.startswith(says)
        assert record.environment.engine == "elsewhere"


@pytest.mark.parametrize("at", [1, 2])
def test_a_stop_while_a_snapshot_is_copied_loses_nothing(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The run hears of it in the moment in which it reads the answer; what it read next would be taken for another answer."""
    monkeypatch.setattr(local, "GRACE", 60.0)
    interrupts, copies = Interrupts(), 0

    def copy() -> None:
        nonlocal copies
        copies += 1
        interrupts.count += copies == at
        time.sleep(0.3 * (copies > at))  # time enough for a run that does not wait to be gone

    engine = LocalEngine("cpu", interrupts, copy)
    with pytest.raises(KeyboardInterrupt), interrupts:
        result = engine.run("tests.work:eager", replace(job, checkpoint=checkpoint_path(tmp_path, job.run_id)))
    outcome = result.outcome
    assert result.interrupted
    assert outcome.record.state == "cancelled"
    assert outcome.record.training.steps == copies >= at, "each step was kept and copied once"


@RAY
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_full_disk_of_the_caller_fails_the_run_with_a_reason(job: Job, tmp_path: Path) -> None:
    from bench.runs.launchers.ray import saved

    job = replace(job, keep=tmp_path / "saved")
    job.keep.mkdir()
    there = record_of(job, "complete").environment.model_copy(update={"engine": "ray"})
    whole = Outcome(record_of(job, "complete").model_copy(update={"environment": there}))
    came = Ended(whole, files={"../head.safetensors": np.arange(10**5, dtype=np.uint8)})
    assert saved(job, came) is came
    assert (job.keep / "head.safetensors").read_bytes() == came.files["../head.safetensors"].tobytes()
    (job.keep / "head.safetensors").unlink()
    (job.keep / "head.safetensors").symlink_to("/dev/full")
    record = saved(job, came).result.record
    assert (record.state, record.reason) == ("failed", "the trained weights cannot be written (No space left on device)")
    assert record.environment == there
    stopped = Ended(Outcome(record_of(job, "cancelled", "stopped by a signal")), files=came.files)
    assert saved(job, stopped) is stopped, "nobody wants what is not whole"


def test_a_folder_may_be_called_as_a_package_is(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED, "not-installed", ("no-such-distribution", "model"))
    for name in ("minilm", "not-installed"):
        asked = find(str(shutil.copytree(tiny_folder, tmp_path / name)))
        assert asked.name == name
        assert _find_encoder(asked) == asked
        if name == "not-installed":
            with pytest.raises(ModelError, match="is not installed; run: pip install no-such-distribution"):
                _find_encoder(replace(asked, folder=tmp_path / "not here"))
    packaged = find("minilm")
    assert _find_encoder(packaged) == _find_encoder(replace(packaged, folder=tmp_path / "not here")) == packaged


def test_a_death_is_handed_on() -> None:
    assert end_of(Runner("cpu", 2, "elsewhere"), "tests.work:die", "exit").died == (3, False)


def test_other_versions_are_named() -> None:
    here = software()
    assert difference(here, software()) is None
    assert difference(here, {**here, "torch": "1.0"}) == f"torch 1.0 there, {here['torch']} here"
    assert difference(here, {name: version for name, version in here.items() if name != "peft"}) == (
        f"peft is missing there, {here['peft']} here"
    )
    assert difference({"commit": "a"}, {}) is None, "an installed package knows of no commit"
    assert difference({"commit": "a"}, {"commit": "b"}) == "commit b there, a here"


# Several runs in hand, without a cluster


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


def left(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if path.suffix != ".json")


def test_as_many_runs_run_at_once_as_there_are_slots(four: Matrix, tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def does(job: Job, interrupts: Interrupts) -> Outcome:
        both.wait(30)
        return Outcome(record_of(job, "complete"))

    assert carried_out(four, tmp_path, does)
    assert sorted(record.spec.seed for record in records(tmp_path)) == [0, 1, 2, 3]
    assert left(tmp_path) == []
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
    assert left(tmp_path) == []


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
    assert left(tmp_path) == []


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


# Ray itself


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Tests leave no token of Ray's in the home of the person who runs them, and join no cluster of theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    """A cluster of one node with two CPUs, for tests that leave it as it is."""
    with nodes(2) as made:
        yield made


@pytest.fixture
def what(tiny_folder: Path, small_folder: Path) -> list[str]:
    return ["run", "--encoder", str(tiny_folder), "--data", str(small_folder), *SETTINGS]


SHORT = """
from bench.runs.launchers import ray
whole = ray.RayEngine.run
ray.RayEngine.run = lambda engine, work, *asked, **named: whole(engine, "tests.work:short", *asked, **named)
"""
"""As the fixture `short_runs`, on the cluster."""
SCRIPT = """
import sys
from bench.cli.app import main
from bench.data.sources import DataRequest
try:
    main(sys.argv[1:])
except SystemExit as end:
    print("MODULES", end.code, sorted({"torch", "transformers", "ray"} & sys.modules.keys()))
"""


ONE_CORE = ("taskset", "-c", "0")


def python(*arguments: str, on: Sequence[str] = ONE_CORE) -> subprocess.Popen[str]:
    return subprocess.Popen([*on, sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@RAY
@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize(("there", "runs"), [(True, 1), pytest.param(False, 2, marks=pytest.mark.slow)])
def test_runs_on_ray_are_the_runs_at_home(
    what: list[str], there: bool, runs: int, cluster: Nodes, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    what, out = [*what, "--method", "lora", "--budget", "4 steps", "--seeds", str(runs), "--save"], tmp_path / "ray"
    # Nodes that are there have all cores, and a run one thread. What is started here has the cores of the command.
    address, on = (cluster.address, ONE_CORE) if there else ("local", ())
    process = python("-c", SHORT + SCRIPT, *what, "--engine", "ray", "--address", address, "--out", str(out), on=on)
    seen: set[str] = set()
    while process.poll() is None and len(seen) < 2:
        seen |= {run.name for run in overview(out, None).running} - {"a run"}
        time.sleep(0.05)
    said, err = process.communicate(timeout=300)
    assert said.splitlines()[-1] == "MODULES 0 ['ray']", said + err
    lines = [line for line in err.splitlines() if not line.startswith("tokenising")]
    names = {f"lora seed {seed}, 4 steps" for seed in range(runs)}
    assert {re.sub(r" \(\d of \d\)$", "", line) for line in lines} == names == seen
    assert len(lines) == runs, "Ray itself is silent"
    if there:
        monkeypatch.setattr("bench.runs.plan.usable_cores", lambda: 1)
    assert call([*what, "--out", str(tmp_path / "home")]) == 0
    assert same(out, tmp_path / "home", left_over=["adapters", "logits"]) == [0] * runs
    for away, home in zip(*(sorted(records(folder), key=run_id) for folder in (out, tmp_path / "home")), strict=True):
        assert away.environment.model_copy(update={"engine": "local"}) == home.environment
        afar, here = (
            {path.name: path.read_bytes() for path in (tmp_path / folder / "adapters" / home.run_id).iterdir()}
            for folder in ("ray", "home")
        )
        assert afar == here
    for checked in audit([out]):
        assert checked.failed is None, checked.text()
    # The same command does nothing again, here or there.
    capfd.readouterr()
    assert call([*what, "--out", str(out)]) == 0
    assert capfd.readouterr().out.count("finished before") == runs


@RAY
def test_workers_of_other_versions_end_the_command_with_one_line(what: list[str], cluster: Nodes, tmp_path: Path) -> None:
    """All of them are refused, and both threads that wait for one come to their end."""
    alter = "from bench.runs.launchers import ray\nhere = ray.software()\nray.software = lambda: here | {'torch': '1.0'}\n"
    script = alter + SCRIPT
    asked = [*what, "--method", "lora", "--budget", "4 steps", "--seeds", "2", "--out", str(tmp_path)]
    out, err = python("-c", script, *asked, "--engine", "ray", "--address", cluster.address).communicate(timeout=300)
    assert out.splitlines() == ["MODULES 2 ['ray']"], out + err
    last = err.splitlines()[-1]
    there = software()["torch"]
    assert last == (
        f"error: the workers have other versions than this machine (torch {there} there, 1.0 here); install the same on both"
    )
    assert left(tmp_path) == []
    assert records(tmp_path) == []


def started(arguments: list[str]) -> subprocess.Popen[str]:
    """The command, so that each of its runs has one thread and fits on a node of one CPU."""
    return python("-m", "bench", *arguments)


def ended(process: subprocess.Popen[str]) -> str:
    """What it said on the way, once it has ended well."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    assert "(raylet)" not in out + err, "Ray tells of its own troubles where others read records"
    return err


def workers(raylets: list[int]) -> list[int]:
    """Processes of Ray's in which runners are, by the raylets that started them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if title.startswith(b"ray::_Actor") and parent in raylets:
            found.append(int(process.name))
    return found


@contextmanager
def both_train(what: list[str], out: Path) -> Iterator[tuple[Nodes, subprocess.Popen[str], list[str]]]:
    """Two nodes, and a command that has a checkpoint of each of its two runs on them."""
    with nodes(1, 1) as cluster:
        command = [*what, "--out", str(out), "--engine", "ray", "--address", cluster.address]
        process = started(command)
        until(lambda: len(list(out.glob("checkpoints/*.safetensors"))) == 2 or process.poll() is not None)
        yield cluster, process, command


LONG = ["--method", "houlsby", "--budget", "2000 steps", "--seeds", "2"]


def run_id(record: Record) -> str:
    return record.run_id


def same(out: Path, home: Path, left_over: Sequence[str] = ("logits",)) -> list[int]:
    """How often each run had gone on; what they came to is what they come to at home."""
    away, here = ({record.run_id: record for record in records(folder)} for folder in (out, home))
    assert {name: came_to(record) for name, record in away.items()} == {name: came_to(record) for name, record in here.items()}
    assert {record.environment.engine for record in away.values()} == {"ray"}
    assert left(out) == list(left_over)
    return [record.resumed for record in away.values()]


@RAY
@pytest.mark.slow
def test_every_method_on_two_nodes_is_what_it_is_at_home(what: list[str], tmp_path: Path) -> None:
    what = [*what, "--method", "all", "--budget", "6 steps"]
    with nodes(1, 1) as two:
        ended(started([*what, "--out", str(tmp_path / "ray"), "--engine", "ray", "--address", two.address]))
    ended(started([*what, "--out", str(tmp_path / "home")]))
    assert same(tmp_path / "ray", tmp_path / "home") == [0] * 5
    assert len(list((tmp_path / "ray").glob("baseline-*.json"))) == 2


@pytest.fixture(scope="module")
def home(tiny_folder: Path, small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two long runs at home."""
    out = tmp_path_factory.mktemp("home")
    what = ["run", "--encoder", str(tiny_folder), "--data", str(small_folder), *SETTINGS, *LONG]
    ended(started([*what, "--out", str(out)]))
    return out


@RAY
@pytest.mark.slow
@pytest.mark.parametrize("what_dies", ["both workers", "a node"])
def test_a_worker_or_a_node_that_is_killed_costs_no_run(what: list[str], what_dies: str, home: Path, tmp_path: Path) -> None:
    with both_train([*what, *LONG], tmp_path) as (cluster, process, _):
        node = what_dies == "a node"
        victims = workers(cluster.raylets[:1] if node else cluster.raylets)
        assert len(victims) == (1 if node else 2)
        for victim in (*cluster.raylets[:node], *victims):
            os.kill(victim, signal.SIGKILL)
        err = ended(process)
    assert err.count("its worker is lost; it starts again") >= len(victims)
    assert sum(same(tmp_path, home)) >= 1


@RAY
@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_where_it_was(what: list[str], home: Path, tmp_path: Path) -> None:
    with both_train([*what, *LONG], tmp_path) as (cluster, process, command):
        process.kill()
        process.communicate()
        until(lambda: not workers(cluster.raylets))  # what it began ends with it
        err = ended(started(command))
    assert "resumes from its checkpoint" in err
    assert sum(same(tmp_path, home)) >= 1


@RAY
@pytest.mark.slow
def test_an_interrupt_keeps_all_that_was_trained(what: list[str], tmp_path: Path) -> None:
    forever = ["--method", "lora", "--budget", "20M tokens", "--seeds", "2"]
    with both_train([*what, *forever], tmp_path) as (_, process, _):
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    found = records(tmp_path)
    assert [record.state for record in found] == ["cancelled"] * 2
    from bench.training.checkpoint import read

    for record in found:
        assert record.training is not None
        assert read(checkpoint_path(tmp_path, record.run_id))[0].counts.steps == record.training.steps > 0


def memory() -> tuple[int, int]:
    """Bytes of this machine's memory, and how many of them are taken."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total, total - available


@RAY
@pytest.mark.slow
def test_a_run_that_ray_ends_for_want_of_memory_is_out_of_memory(
    what: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray is told that the node has 3 GiB left, and then others take them."""
    total, taken = memory()
    if total - taken < 8 * 2**30:
        pytest.skip("it takes 5 GiB for a moment")
    monkeypatch.setenv("RAY_memory_usage_threshold", str((taken + 3 * 2**30) / total))
    with nodes(1) as cluster:
        asked = [*what, "--method", "lora", "--budget", "20M tokens", "--out", str(tmp_path)]
        process = started([*asked, "--engine", "ray", "--address", cluster.address])
        until(lambda: list(tmp_path.glob("checkpoints/*.safetensors")) or process.poll() is not None)
        others: list[bytes] = []
        while process.poll() is None and memory()[1] < taken + 5 * 2**30:
            others.append(b"x" * 2**27)
            time.sleep(0.05)
        out, err = process.communicate(timeout=60)
        del others
    (record,) = records(tmp_path)
    assert (record.state, process.returncode) == ("out-of-memory", 1), out + err
    assert record.environment.engine == "ray"
    assert "it starts again" not in err
    assert left(tmp_path) == []


@RAY
@pytest.mark.slow
def test_a_cluster_without_room_for_a_run_is_refused(what: list[str], tmp_path: Path) -> None:
    with nodes(1) as cluster:
        asked = [*what, "--method", "lora", "--budget", "5 steps", "--out", str(tmp_path)]
        asked += ["--engine", "ray", "--address", cluster.address]
        for more, says in (
            ([], f"no node of the cluster has {usable_cores()} CPUs, one for each thread of a run (the largest has 1)"),
            (["--device", "cuda"], "no node of the cluster has a GPU"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "bench", *asked, *more], capture_output=True, text=True, timeout=120, check=False
            )
            assert done.returncode == 2
            (line,) = done.stderr.splitlines()
            assert says in line
    assert list(tmp_path.iterdir()) == []


# How fast a cluster is: `python -m tests.measurements.cluster` measures it


def test_the_measurement_of_a_cluster_adds_up() -> None:
    """Two workers; after their first runs one does two in 126 s and one two in 154 s, and 3 s pass around each on average."""
    made = [run(seed=seed) for seed in range(6)]
    assert made[0].seconds is not None
    seconds = [made[0].seconds.model_copy(update={"outside": life}) for life in (70.0, 70.0, 60.0, 88.0, 60.0, 60.0)]
    lives = [record.model_copy(update={"seconds": each}) for record, each in zip(made, seconds, strict=True)]
    row = row_of("ray", 2, lives, [80.0, 80.0, 143.0, 169.0, 206.0, 234.0], 235.0)
    assert (row.runs, row.run_seconds, row.training_seconds) == (6, 60.0, 64.0)
    assert row.runs_an_hour == pytest.approx(3600 * (2 / 126 + 2 / 154))
    assert row.around_seconds == pytest.approx(3.0)
    with pytest.raises(ValueError, match="more runs at once than 2 workers"):
        row_of("ray", 2, lives, [80.0, 81.0, 82.0, 169.0, 206.0, 234.0], 235.0)
    lines = table([row]).splitlines()
    assert " ".join(lines[0].split()) == "way workers runs seconds runs an hour a run s around a run s training s"
    assert " ".join(lines[2].split()) == "ray 2 6 235.0 104 60.0 3.00 64.0"
