"""Work for the processes that tests start; it is named there as "tests.work:function"."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.system.processes import end_with_parent

if TYPE_CHECKING:
    from bench.training.job import Job

Notify = Callable[[str, float], None]
HEAVY = {"torch", "transformers", "adapters", "peft", "pandas", "datasets", "evaluate", "sklearn", "tokenizers"}
FEW = 60
"""Sentences of another source that a short run is tested on."""


def where(notify: Notify) -> tuple[int, int]:
    notify("working", 0.0)
    notify("working", 1.0)
    return os.getpid(), os.getppid()


def what_is_loaded(notify: Notify) -> tuple[set[str], int]:
    """The libraries that are there already, and how many Python threads run."""
    return sys.modules.keys() & {"torch", "transformers", "datasets", "peft", "adapters", "sklearn"}, threading.active_count()


def after_a_baseline_and_a_set_up(job: Job, notify: Notify) -> set[str]:
    """The libraries that are there once a method is attached, and what only a baseline needs is imported."""
    from sklearn.svm import LinearSVC

    from bench.system.meters import MemoryMeter
    from bench.training.setup import set_up

    assert LinearSVC
    set_up(job, MemoryMeter("cpu"))
    return sys.modules.keys() & {"peft", "adapters", "sklearn"}


def environment_variable(name: str, notify: Notify) -> str | None:
    return os.environ.get(name)


def die(how: str, notify: Notify) -> None:
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGSEGV if how == "signal" else signal.SIGKILL)
    time.sleep(60)


def peak_of(mebibytes: int, notify: Notify) -> int:
    """Peak above the baseline while so much memory is filled."""
    from bench.system.meters import MemoryMeter

    meter = MemoryMeter("cpu")
    meter.start()
    _fill(mebibytes)
    return meter.above_baseline()


def peak_with_a_pause(counted: int, paused: int, notify: Notify) -> tuple[int, int, int, int]:
    """Peaks above the baseline after filling and freeing memory, and again after more of that in a pause."""
    from bench.system.meters import MemoryMeter

    meter = MemoryMeter("cpu")
    meter.start()
    _fill(counted)
    first = meter.above_baseline()
    with meter.paused():
        _fill(paused)
    peak = meter.peak()
    return first, meter.above_baseline(), peak.baseline, peak.peak


def kept_of_freed(mebibytes: int, keep: bool, environment: dict[str, str], notify: Notify) -> tuple[int, int]:
    """Resident bytes above the start after so much was filled in blocks and freed; and again once it was given back."""
    from bench.system.allocator import keep_freed, trim

    os.environ.update(environment)
    if keep:
        keep_freed()
    before = _resident()
    _fill_in_blocks(mebibytes)
    freed = _resident()
    trim()
    return freed - before, _resident() - before


def left_by_arrow(mebibytes: int, notify: Notify) -> tuple[int, int]:
    """The same of memory that Arrow filled and freed."""
    import pyarrow

    from bench.system.allocator import trim

    before = _resident()
    for buffer in [pyarrow.allocate_buffer(2**16) for _ in range(16 * mebibytes)]:
        memoryview(buffer).cast("B")[:] = bytes(2**16)
    del buffer
    freed = _resident()
    trim()
    return freed - before, _resident() - before


def kept_after_a_run(job: Any, mebibytes: int, notify: Notify) -> int:
    """Resident bytes that stay when, after a run in this process, so much was filled in blocks and freed."""
    from bench.system.allocator import trim
    from bench.training.run import execute

    execute(job)
    trim()
    before = _resident()
    _fill_in_blocks(mebibytes)
    return _resident() - before


def metered_beside_what_is_kept(mebibytes: int, notify: Notify) -> tuple[int, int]:
    """Where freed memory is kept, and so much was filled and freed before the meter started and in a pause of it: by how much
    its baseline is above the process's memory at first, and the peak above the baseline.
    """
    from bench.system.allocator import keep_freed
    from bench.system.meters import MemoryMeter

    keep_freed()
    before, meter = _resident(), MemoryMeter("cpu")
    _fill_in_blocks(mebibytes)
    meter.start()
    with meter.paused():
        _fill_in_blocks(mebibytes)
    return meter.baseline - before, meter.above_baseline()


def _fill_in_blocks(mebibytes: int) -> None:
    """As a step does it: many allocations, all of which are freed."""
    blocks = [bytearray(b"1" * 2**20) for _ in range(mebibytes)]
    del blocks


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def largest_after_a_reset(mebibytes: int, notify: Notify) -> tuple[int, int, int]:
    """What getrusage says of a process that filled so much, before and after a reset; and what the meter kept."""
    import resource

    from bench.system.meters import MemoryMeter

    _fill(mebibytes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    meter = MemoryMeter("cpu")
    meter.start()
    meter.look()
    return before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, meter.largest


def _fill(mebibytes: int) -> None:
    block = bytearray(mebibytes * 2**20)
    for i in range(0, len(block), 4096):
        block[i] = 1


def measure_shortly() -> None:
    """From now on, runs in this process measure the machine for moments only, and there are few sentences to test on."""
    import bench.data.task as task
    import bench.inference.latency as latency

    whole = task.read_sentences

    def few() -> task.Reviews:
        found = whole()
        rows = slice(0, None, len(found) // (FEW - 1))
        return task.Reviews(found.texts[rows], found.labels[rows])

    latency.SECONDS, task.read_sentences, task.SENTENCES_VERSION = 0.01, few, "few"


def short(job: Any, notify: Any) -> Any:
    """A run that measures the machine for moments only; all else is that of any run."""
    from bench.training.run import execute

    measure_shortly()
    return execute(job, notify)


def eager(job: Any, notify: Any) -> Any:
    """A short run that keeps every step, however slow the disk is."""
    import bench.training.checkpointer as resume

    resume.SHARE = 1e9
    return short(job, notify)


def sleep(path: str) -> None:
    """A child that would outlive its parent."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    Path(path).write_text(str(os.getpid()))
    time.sleep(120)


def imported_by(folder: Path, *commands: list[str]) -> list[set[str]]:
    """The modules that one process has imported by the end of each of these commands, all of which end well."""
    script = (
        "import sys\nfrom bench.cli.app import main\n"
        f"for arguments in {commands!r}:\n"
        " try:\n  main(arguments)\n"
        " except SystemExit as end:\n  print('\\nMODULES', end.code, *(name for name in sys.modules if '.' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=120)
    ends = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("MODULES ")]
    assert [code for code, *_ in ends] == ["0"] * len(commands), done.stderr
    return [set(modules) for _, *modules in ends]
