"""Processes: clean memory, deaths that are told apart, interrupts that lose nothing, no orphans."""

from __future__ import annotations

import multiprocessing
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType

import pyarrow
import pytest

import bench.runs.launchers.process as local
from bench.models.pretrained import PretrainedModel
from bench.runs.launchers.process import Died, LocalEngine
from tests.conftest import make_job, make_spec
from tests.killing import left_over, until


@pytest.fixture(scope="module")
def engine() -> LocalEngine:
    return LocalEngine("cpu")


def test_work_is_done_in_a_process_of_its_own(engine: LocalEngine) -> None:
    heard: list[tuple[str, float]] = []
    result = engine.run("tests.work:where", listen=lambda phase, share: heard.append((phase, share)))
    (pid, parent), watch = result.outcome, result.watch
    assert pid != os.getpid()
    assert parent != os.getpid()  # forked from the server that imported
    assert heard == [("working", 0.0), ("working", 1.0)]
    first, last = watch.phases["working"]
    assert 0 < first <= last <= watch.seconds
    assert watch.between("working") == last - first
    assert watch.between("resting") is None


def test_each_process_starts_with_the_libraries_of_every_run(
    engine: LocalEngine, tiny: PretrainedModel, small_folder: Path
) -> None:
    """The others are imported by the runs that need them."""
    loaded, threads = engine.run("tests.work:what_is_loaded").outcome
    assert loaded == {"torch", "transformers", "datasets"}
    job = make_job(make_spec("lora"), tiny, small_folder)
    assert engine.run("tests.work:after_a_baseline_and_a_set_up", job).outcome == {"sklearn", "peft"}
    assert threads == 2  # the main one, and the one that waits for the parent's end


@pytest.mark.parametrize(
    ("how", "by_the_kernel", "says"),
    [("signal", False, "SIGSEGV"), ("exit", False, "exit code 3"), ("kill", True, "SIGKILL"), ("kill", False, "SIGKILL")],
)
def test_a_death_is_told_and_only_a_kill_by_the_kernel_is_out_of_memory(
    how: str, by_the_kernel: bool, says: str, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([5, 5 + by_the_kernel])
    monkeypatch.setattr(local, "kernel_kills", lambda: next(counts))
    with pytest.raises(Died, match=says) as caught:
        engine.run("tests.work:die", how)
    assert caught.value.out_of_memory == by_the_kernel


def test_memory_of_one_run_does_not_reach_the_next(engine: LocalEngine) -> None:
    large = engine.run("tests.work:peak_of", 400).outcome
    small = engine.run("tests.work:peak_of", 1).outcome
    assert large > 398 * 2**20  # the kernel counts pages in batches
    assert small < 100 * 2**20


def test_the_peak_holds_what_was_freed_and_leaves_out_what_was_paused(engine: LocalEngine) -> None:
    counted, with_paused, baseline, peak = engine.run("tests.work:peak_with_a_pause", 100, 400).outcome
    assert 98 * 2**20 <= counted < 150 * 2**20
    assert with_paused < 150 * 2**20
    assert with_paused == peak - baseline


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library is left as it is")
@pytest.mark.parametrize(
    ("keep", "environment", "kept"),
    [
        (False, {}, False),
        (True, {}, True),
        (True, {"MALLOC_TRIM_THRESHOLD_": "131072"}, False),
        (True, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}, False),
        (True, {"MALLOC_ARENA_MAX": "2", "GLIBC_TUNABLES": "glibc.rtld.nns=8"}, True),
    ],
)
def test_freed_memory_is_kept_where_that_is_asked_for(
    engine: LocalEngine, keep: bool, environment: dict[str, str], kept: bool
) -> None:
    freed, given_back = engine.run("tests.work:kept_of_freed", 200, keep, environment).outcome
    assert (freed > 190 * 2**20) == kept
    assert max(given_back, 0 if kept else freed) < 10 * 2**20


@pytest.mark.skipif(pyarrow.default_memory_pool().backend_name == "system", reason="Arrow has no pool of its own")
def test_what_arrow_freed_is_given_back(engine: LocalEngine) -> None:
    """It would stand in a baseline, and be gone from the peak as soon as Arrow is used again."""
    freed, given_back = engine.run("tests.work:left_by_arrow", 100).outcome
    assert freed > 50 * 2**20
    assert given_back < 20 * 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library is left as it is")
def test_a_run_keeps_freed_memory(engine: LocalEngine, tiny: PretrainedModel, small_folder: Path) -> None:
    job = make_job(make_spec(purpose="trial"), tiny, small_folder)
    assert engine.run("tests.work:kept_after_a_run", job, 200).outcome > 190 * 2**20


def test_what_is_kept_of_freed_memory_is_not_metered(engine: LocalEngine) -> None:
    assert max(engine.run("tests.work:metered_beside_what_is_kept", 200).outcome) < 10 * 2**20


@pytest.fixture
def blocks_mapped(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEngine]:
    """An engine whose processes, forked or not, map each large block of memory by itself."""
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(2**16))
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # the next one is started in this environment
    yield LocalEngine("cpu")
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["houlsby", "full"])
def test_a_forked_run_has_the_peak_of_a_cold_process(
    blocks_mapped: LocalEngine, minilm: PretrainedModel, small_folder: Path, name: str
) -> None:
    """A fork shares the pages of its server, which are neither in its baseline twice nor in its peak.

    Blocks are mapped one by one: how they lie in a heap, which is another in every cold process, is several percent by itself.
    """
    cold = LocalEngine("cpu")
    cold._context = multiprocessing.get_context("spawn")
    job = make_job(make_spec(name, max_length=128, batch_size=16, purpose="trial"), minilm, small_folder)
    blocks_mapped.run("bench.training.run:execute", job)  # tokenises, which the others then find done
    forked, spawned = (one.run("bench.training.run:execute", job).outcome.record.memory for one in (blocks_mapped, cold))
    assert forked.peak_above_baseline > 200 * 2**20
    assert forked.peak_above_baseline == pytest.approx(spawned.peak_above_baseline, rel=0.03)


@pytest.mark.parametrize("script", ["script.py", "<stdin>"])
def test_the_script_of_the_parent_is_not_run_again(
    script: str, engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script.py").write_text("raise AssertionError('it runs again')")
    parent = ModuleType("__main__")
    parent.__file__ = str(tmp_path / script)
    monkeypatch.setitem(sys.modules, "__main__", parent)
    assert engine.run("tests.work:where").outcome[0] != os.getpid()


def test_no_process_outlives_its_parent(tmp_path: Path) -> None:
    """Where the fork server lives on; that each run's process begins with this, the kills of test_kills.py show."""
    path = tmp_path / "pid"
    script = (
        "import multiprocessing\nfrom tests.work import sleep\n"
        f"process = multiprocessing.get_context('forkserver').Process(target=sleep, args=({str(path)!r},))\n"
        "process.start()\nprocess.join()\n"
    )
    with (tmp_path / "log").open("w") as log:
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=log)
    child = int(until(lambda: path.exists() and path.read_text()))
    assert {parent.pid, child} < set(left_over(tmp_path))
    parent.kill()
    parent.wait()
    until(lambda: not left_over(tmp_path), 60)


def test_the_largest_memory_survives_a_reset(engine: LocalEngine) -> None:
    before, after, kept = engine.run("tests.work:largest_after_a_reset", 400).outcome
    assert after < before - 300 * 2**20, "resetting the mark resets the kernel's own figure; the meter need not look before"
    assert kept == before
