"""`make gpu`: everything that waits for a GPU, in stages of at most ten minutes that can be repeated.

    python -m tests.measurements.gpu --out DIR --wheels DIR [--encoder NAME] [--data NAME] [--stage NAME …] [--dry]

Stages: install, doctor, tests, calibration, peers, utilisation, accuracy, comparison, target, costs. Each writes the results of
its commands into `--out` as soon as they are made, and `NAME.log` and `NAME.json` (state, seconds, exit codes) into its folder
`stages`. A stage that is done is skipped, one that failed or ran out of its `--limit` is resumed by the same command: runs,
seeds and methods that are finished are not repeated. `--again` repeats done ones.

`install` puts the wheels into `OUT/site`, which the other stages find first, whatever versions the machine has of the same
packages. Encoders that were carried into `OUT/cache/encoders/all-mpnet-base-v2` are found under the name mpnet.

`--dry` does the same on a CPU with minilm and numbers that are as small as can be.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.measurements.gpu.install import InstallError, install
from tests.measurements.gpu.stages import ROOT, STAGES, Command, Kit

__all__ = ["main"]

NAMES = ("install", *(stage.name for stage in STAGES))
STATES = "stages"
"""Folder apart from the measurements, which may be called like the stage that makes them."""
LIMIT = 570
"""Seconds of a stage, for machines that give a command ten minutes."""
GRACE = 15
"""Seconds in which a command that is stopped may keep what it has."""


class _Timeout(Exception):
    pass


def _environment(out: Path) -> dict[str, str]:
    """That of the stages: carried packages first, then this project; the cache in the output folder."""
    paths = [str(out / "site")] if (out / "site").is_dir() else []
    paths += [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "true",
    }
    return {**os.environ, "ADAPTER_BENCH_CACHE": str(out / "cache"), **own}


def _together(commands: Sequence[Command], log: Any, environment: dict[str, str], ends: float) -> list[int]:
    """Run commands side by side; returns their exit codes. At the end of the time they are interrupted, then killed."""
    for command in commands:
        log.write(f"$ {' '.join(command)}\n".encode())
    log.flush()
    processes: list[subprocess.Popen[bytes]] = []
    how = {"cwd": ROOT, "env": environment, "stdout": log, "stderr": subprocess.STDOUT, "start_new_session": True}
    try:
        for command in commands:
            processes.append(subprocess.Popen(command, **how))
        return [process.wait(max(0.0, ends - time.monotonic())) for process in processes]
    except subprocess.TimeoutExpired:
        raise _Timeout from None
    finally:
        _stop(processes)


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Interrupt what still runs, wait, and kill it with everything it started."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGINT)
    ends = time.monotonic() + GRACE
    for process in running:
        try:
            process.wait(max(0.0, ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _state(out: Path, name: str) -> str | None:
    try:
        return str(json.loads((out / STATES / f"{name}.json").read_text())["state"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _do(name: str, kit: Kit, wheels: Path | None, limit: float) -> tuple[str, list[int], str]:
    """Do a stage; returns its state, the exit codes of its commands, and a word on it."""
    with (kit.out / STATES / f"{name}.log").open("ab") as log:
        if name == "install":
            if wheels is None:
                raise InstallError("--wheels is missing: name the folder of carried wheels, or give --stage without install")
            return "done", [], f"{install(wheels, kit.out / 'site', ROOT)} wheels"
        stage = next(stage for stage in STAGES if stage.name == name)
        groups = stage.commands(kit)
        codes: list[int] = []
        ends = time.monotonic() + limit - GRACE
        for group in groups:
            try:
                codes += _together(group, log, _environment(kit.out), ends)
            except _Timeout:
                return "unfinished", codes, "the time is over; the same command resumes"
            if any(codes):
                return "failed", codes, f"see {STATES}/{name}.log"
        return "done", codes, stage.does if groups else "nothing to do"


def _check(given: argparse.Namespace) -> str | None:
    """What is wrong with the arguments, if anything is."""
    if not GRACE < given.limit <= 3600:
        return f"--limit must be more than {GRACE} and at most 3600 seconds"
    if not 1 <= given.workers <= 16:
        return "--workers must be between 1 and 16"
    if given.out.exists() and not given.out.is_dir():
        return f"--out {str(given.out)!r} is a file; give a folder"
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the stages asked for; returns 0 when all are done, 1 when one is not, 2 for wrong input."""
    parser = argparse.ArgumentParser(prog="python -m tests.measurements.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all results, and of the packages installed")
    parser.add_argument("--wheels", type=Path, help="folder of carried wheels, for the stage install")
    parser.add_argument("--encoder", help="default: mpnet; minilm with --dry")
    parser.add_argument("--data", help="folder with train and test, or a name; default: imdb; embedded with --dry")
    parser.add_argument("--stage", action="append", choices=NAMES, help="repeatable; default: all, in their order")
    parser.add_argument("--skip", action="append", choices=NAMES, default=[], help="repeatable")
    parser.add_argument("--limit", type=float, default=LIMIT, help=f"seconds of a stage (default: {LIMIT})")
    parser.add_argument("--workers", type=int, default=3, help="trainings side by side in the stage accuracy (default: 3)")
    parser.add_argument("--again", action="store_true", help="repeat stages that are done")
    parser.add_argument("--dry", action="store_true", help="small numbers, on a CPU")
    given = parser.parse_args(arguments)
    if wrong := _check(given):
        print(f"error: {wrong}", file=sys.stderr)
        return 2
    try:
        (given.out / STATES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"error: --out {str(given.out)!r} cannot be made ({error.strerror}); give another folder", file=sys.stderr)
        return 2
    encoder, data = given.encoder or ("minilm" if given.dry else "mpnet"), given.data or ("embedded" if given.dry else "imdb")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing it started outlives it
    folders = {name: str(Path(name).resolve()) if Path(name).is_dir() else name for name in (encoder, data)}
    kit = Kit(given.out.resolve(), folders[encoder], folders[data], given.dry, given.workers)
    whole = True
    for name in (name for name in NAMES if name in (given.stage or NAMES) and name not in given.skip):
        if _state(kit.out, name) == "done" and not given.again:
            print(f"{name}: done before", flush=True)
            continue
        began = time.monotonic()
        try:
            state, codes, word = _do(name, kit, given.wheels, given.limit)
        except InstallError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        seconds = round(time.monotonic() - began, 1)
        content = {"stage": name, "state": state, "seconds": seconds, "exit_codes": codes, "dry": kit.dry}
        (kit.out / STATES / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
        print(f"{name}: {state} after {seconds:.0f} s; {word}", flush=True)
        whole = whole and state == "done"
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
