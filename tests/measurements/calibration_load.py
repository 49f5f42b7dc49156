"""Ratios of a quiet machine and of one that is busy: `make calibration-load`.

The five methods are calibrated alone, then beside a process that burns a core in bursts, and once more alone. Ratios must
agree within their intervals although the raw speed moves: that is what a calibration is for. Start it on a machine that does
nothing else.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from bench.records.schema import Calibration
from bench.runs.calibration import Named, calibrate
from bench.runs.plan import Request, plan
from bench.system.processes import end_with_parent
from bench.training.job import Job
from tests.measurements.keeping import about, in_one_line, keep

__all__ = ["OUT", "burning", "measure", "table"]

OUT = Path("results/calibration-load.json")
SECONDS = 300.0
"""Of each calibration's rounds: under load fewer of them count."""
BURST, PAUSE = 2.0, 2.0
"""Mean seconds, each drawn from an exponential distribution: bursts longer than a slice, so that some slices are hit whole,
some in part and some not at all."""
METHODS = ["all"]


def burn(seed: int, pause: float) -> None:
    """Keep a core busy in bursts until the process is ended; without pauses all the time."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    generator = np.random.default_rng(seed)
    while True:
        end = time.monotonic() + generator.exponential(BURST)
        while time.monotonic() < end:
            pass
        time.sleep(generator.exponential(pause))


@contextmanager
def burning(seed: int = 0, pause: float = PAUSE) -> Iterator[None]:
    """A process beside this one that burns a core in bursts with pauses of so many seconds on average."""
    process = multiprocessing.get_context("spawn").Process(target=burn, args=(seed, pause), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def measure(job: Job, methods: list[Named], seconds: float = SECONDS) -> dict[str, Any]:
    """The calibrations as records: quiet, beside the load, and quiet again."""
    found: dict[str, Calibration] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("quiet", "loaded", "quiet again"):
            with burning() if name == "loaded" else nullcontext():
                found[name] = calibrate(job, methods, Path(folder) / name, seconds=seconds)
    return {name: made.model_dump(mode="json") for name, made in found.items()}


def table(found: dict[str, Any]) -> str:
    """A row a calibration: the reference's mean speed, the rounds that count, and each ratio with its interval."""
    rows = []
    for name, made in found["calibrations"].items():
        reference, *others = made["methods"]
        speed = sum(one["tokens"] for one in reference["slices"]) / sum(one["seconds"] for one in reference["slices"])
        ratios = [f"{one['ratio']:.2f} ({one['low']:.2f}–{one['high']:.2f})" for one in others]
        rows.append([name, f"{speed:,.0f}", f"{made['rounds_counted']} of {made['rounds']}", *ratios])
    headers = ["", f"{reference['method']}, tokens/s", "rounds that count", *(one["method"] for one in others)]
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True)


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--data", default="embedded")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    with in_one_line():
        jobs = plan(Request(METHODS, asked.encoder, asked.data, "1 epoch", device="cpu")).jobs
        environment = about(jobs[0].spec.threads)
        methods = [(job.spec.method, job.setting) for job in jobs]
        found = measure(jobs[0], methods, asked.seconds)
        load = {"burst_seconds": BURST, "pause_seconds": PAUSE}
        whole = {"environment": environment, "load": load, "calibrations": found}
        keep(asked.out, whole)
    print(table(whole))


if __name__ == "__main__":
    main()
