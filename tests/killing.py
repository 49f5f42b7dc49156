"""Kills real runs at random moments, and tells what was left.

Starting the command costs ten seconds of imports, so that a hundred kills of it would take an hour. Here one process, which
has everything imported, forks the command from itself, as often as it is killed: parent, child, files and signals are the
real ones. Only the start of a child is another (fork instead of the fork server), and measurements of the machine are short.

A scenario does one run in a folder of its own, kills it once in each phase that it names, lets it end, and holds it against
a run of the same command that nobody killed.
"""

from __future__ import annotations

import json
import mmap
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench.runs.launchers.process as local
from bench.records.schema import Record

PHASES = ("set-up", "training", "checkpoint", "evaluation", "record")
SETTINGS = ["--max-length", "32", "--batch-size", "8", "--test-limit", "40"]
TIMED = {"longest_step_seconds", "curve"}

_shared = mmap.mmap(-1, 16)
"""Seen by every process that is forked: byte 0 is the phase, byte 1 counts its changes, bytes 4 to 12 hold the child's id."""


def enter(phase: str) -> int:
    """Tell in which phase the run is now; returns the one before."""
    before = _shared[0]
    _shared[0] = PHASES.index(phase)
    _shared[1] = (_shared[1] + 1) % 256
    return before


def within(phase: str, function: Callable[..., Any], back: bool = True) -> Callable[..., Any]:
    def marked(*arguments: Any, **named: Any) -> Any:
        before = enter(phase)
        try:
            return function(*arguments, **named)
        finally:
            if back:
                enter(PHASES[before])

    return marked


def instrument(share: float) -> None:
    """Mark phases, and make short what only measures the machine. Functions, not behaviour, are replaced."""
    import bench.runs.executor as doing
    import bench.runs.launchers.preload  # noqa: F401
    import bench.training.checkpointer as resume
    import bench.training.run as run
    from bench.training.trainer import Trainer
    from tests.work import measure_shortly

    init, execute = local.LocalEngine.__init__, run.execute

    def forking(engine: Any, *arguments: Any, **named: Any) -> None:
        init(engine, *arguments, **named)
        engine._context = multiprocessing.get_context("fork")

    def child(*arguments: Any) -> Any:
        _shared[4:12] = os.getpid().to_bytes(8, "little")
        return execute(*arguments)

    local.LocalEngine.__init__ = forking  # type: ignore[method-assign]
    run.execute = child
    measure_shortly()
    resume.SHARE = share
    Trainer.run = within("training", Trainer.run)  # type: ignore[method-assign]
    Trainer._validation_accuracy = within("evaluation", Trainer._validation_accuracy)  # type: ignore[method-assign]
    resume.write = within("checkpoint", resume.write)
    run.predict = within("evaluation", run.predict, back=False)
    doing.save = within("record", doing.save, back=False)


def start(arguments: list[str], log: Path) -> int:
    """Fork a process that is the command; returns its id."""
    global _shared
    _shared = mmap.mmap(-1, 16)  # a child whose parent was killed may still write to the one before
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        from bench.cli.app import main

        main(arguments)
    except SystemExit as ended:
        os._exit(ended.code if isinstance(ended.code, int) else 1)
    except BaseException:
        import traceback

        traceback.print_exc()
    os._exit(70)


def ended(pid: int) -> int | None:
    """The exit code, or minus the signal, of a process that has ended."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def watched(arguments: list[str], log: Path) -> tuple[int, dict[str, list[float]]]:
    """An uninterrupted run: its exit code, and how long each stay in each phase was."""
    pid = start(arguments, log)
    stays: dict[str, list[float]] = {phase: [] for phase in PHASES}
    code, since, change = None, time.monotonic(), _shared[1]
    phase = _shared[0]
    while code is None:
        code = ended(pid)
        if _shared[1] != change or code is not None:
            stays[PHASES[phase]].append(time.monotonic() - since)
            since, change, phase = time.monotonic(), _shared[1], _shared[0]
        time.sleep(0.0005)
    return code, stays


def killed(arguments: list[str], log: Path, phase: str, who: str, delay: float) -> tuple[str, str] | None:
    """Start the command and kill it in a phase, some time after it first entered it: in which phase and whom, or None if it
    was too late.
    """
    pid = start(arguments, log)
    for wait in (delay, 0.0):  # what is over by then may come again
        while _shared[0] != PHASES.index(phase):
            if ended(pid) is not None:
                return None
            time.sleep(0.0005)
        time.sleep(wait)
    hit, child = PHASES[_shared[0]], int.from_bytes(_shared[4:12], "little")
    victim = child if who == "child" and child and hit != "record" else pid
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:  # it has just ended by itself
        victim = 0
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if victim == 0 or code == 0:
        return None
    return hit, "child" if victim == child else "parent"


def result(whole: dict[str, Any]) -> dict[str, Any]:
    """What a record says that its run came to, without what it took."""
    training = whole.get("training") or {}
    return {
        **{part: whole.get(part) for part in ("state", "spec", "parameters", "encoder", "data", "test", "out_of_domain")},
        "curve": [{key: value for key, value in point.items() if key != "seconds"} for point in training.get("curve", [])],
        "training": {key: value for key, value in training.items() if key not in TIMED},
    }


def until(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """Wait for a condition; returns what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return found


def facts(out: Path) -> dict[str, Any]:
    """What a results folder holds, and what should not be there."""
    records = [json.loads(path.read_text()) for path in out.glob("*.json")]
    one = records[0] if len(records) == 1 else {}
    return {
        "records": len(records),
        "state": one.get("state"),
        "resumed": one.get("resumed"),
        "result": result(one),
        "left": sorted(
            str(path.relative_to(out))
            for path in out.rglob("*")
            if path.name.endswith(".tmp") or path.parent.name in ("checkpoints", ".locks")
        ),
    }  # fmt: skip


def scenario(about: dict[str, Any], folder: Path, dice: random.Random, references: dict[str, Any]) -> dict[str, Any]:
    command = ["run", "--method", about["method"], "--encoder", about["encoder"], "--data", about["data"], *SETTINGS]
    command += ["--budget", about["budget"], "--seeds", f"{about['seed']},"]
    key, log = " ".join(command), folder / "log"
    if key not in references:
        out = folder / "reference"
        code, stays = watched([*command, "--out", str(out)], log)
        references[key] = {"code": code, "stays": stays, **facts(out)}
    reference, hits, ends = references[key], [], []
    out = folder / "killed"
    for phase in about["phases"]:
        for late in range(5):
            stay = min(dice.choice(reference["stays"][phase] or [0.0]) for _ in range(2))  # seldom too late
            who, delay = dice.choice(["parent", "child"]), dice.uniform(0, 0.8 * stay) / (1 + late) ** 2  # and sooner next time
            hit = killed([*command, "--out", str(out)], log, phase, who, delay)
            if hit is not None:
                hits.append(hit)
                break
            # It was too late, and the run came to its end: nothing may be wrong with that either. Another begins.
            ends.append(facts(out))
            out = folder / f"killed{len(ends)}"
    code, _ = watched([*command, "--out", str(out)], log)
    ends.append(facts(out))
    end = time.monotonic() + 10
    while (alive := left_over(folder)) and time.monotonic() < end:
        time.sleep(0.05)
    text = log.read_text()[-3000:]
    return {"about": about, "kills": hits, "code": code, "orphans": alive, "reference": reference, "ends": ends, "log": text}


def left_over(folder: Path) -> list[int]:
    """Processes that have the log of a scenario open: its commands, and what they started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(handle.readlink() == folder / "log" for handle in (process / "fd").iterdir()):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def kill(scenarios: list[dict[str, Any]], share: float, report: Path) -> None:
    """Do scenarios, each in a folder beside the report, a JSON file. The process is of no further use."""
    instrument(share)
    dice, references, done = random.Random(20), {}, []
    for number, about in enumerate(scenarios):
        folder = report.parent / f"scenario{number}"
        folder.mkdir()
        done.append(scenario(about, folder.resolve(), dice, references))
        report.write_text(json.dumps(done, indent=1))


def came_to(record: Record) -> dict[str, Any]:
    return result(record.model_dump(mode="json"))
