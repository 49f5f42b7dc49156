"""Runs on clusters of Ray on this machine are the runs at home: same predictions, same records, and no less survives."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.records.audit import audit
from bench.records.schema import Record
from bench.runs.launchers.worker import software
from bench.runs.monitor import overview
from bench.system.device import usable_cores
from bench.training.job import checkpoint_path
from tests.conftest import call, left, records
from tests.killing import SETTINGS, came_to, until
from tests.nodes import RAY, Nodes, nodes


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
    assert left(tmp_path, "") == []
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
    assert left(out, "") == list(left_over)
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
    assert left(tmp_path, "") == []


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
