"""Memory, energy and latency of the records of a folder, and the shortest training that reached a target, as one file.

python -m tests.measurements.gpu.collect RUNS --out FILE [--target SHARE]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

__all__ = ["collect", "main", "table"]

TARGET = 0.9416
"""Accuracy on the official test that the adapter should reach on a base-size encoder."""


def collect(folder: Path, target: float = TARGET) -> dict[str, Any]:
    """Costs of every complete run, and of the adapter's runs the one with the fewest device seconds that reached `target`."""
    runs, environment = [], None
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        if record.get("kind") != "run" or record.get("state") != "complete":
            continue
        environment = environment or record["environment"]
        runs.append(
            {
                "run_id": record["run_id"], "method": record["spec"]["method"], "encoder": record["spec"]["encoder"],
                "budget": record["spec"]["budget"], "max_length": record["spec"]["max_length"],
                "kernels": record["spec"].get("kernels", "plain"), "device": record["environment"]["device"],
                "accuracy": record["test"]["accuracy"], "test_reviews": record["test"]["reviews"],
                "seconds": record["seconds"]["charged"], "memory": record["memory"], "energy": record.get("energy"),
                "latency": record.get("latency"),
            }
        )  # fmt: skip
    reached = [run for run in runs if run["method"] == "houlsby" and run["accuracy"] >= target]
    first = min(reached, key=lambda run: float(run["seconds"]), default=None)
    return {
        "target": target, "reached": first is not None, "seconds_to_target": None if first is None else first["seconds"],
        "run_of_target": None if first is None else first["run_id"], "environment": environment, "runs": runs,
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """A row a run, the shortest training first."""
    rows = []
    for run in sorted(found["runs"], key=lambda run: float(run["seconds"])):
        joules = "" if run["energy"] is None else f"{run['energy']['joules']:,.0f}"
        peak = run["memory"]["cuda_allocated"] or run["memory"]["peak"] - run["memory"]["baseline"]
        calls = [f"{call['milliseconds']:.1f}" for call in run["latency"] or [{"milliseconds": float("nan")}] * 2]
        way = [run["method"], str(run["max_length"]), run["kernels"]]
        rows.append([*way, f"{run['seconds']:.1f}", joules, f"{peak / 2**20:,.0f}", f"{run['accuracy']:.2%}", *calls])
    headers = ["method", "tokens", "kernels", "seconds", "joules", "MiB", "accuracy", "ms a call of 1", "of 32"]
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.measurements.gpu.collect", description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, metavar="RUNS")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--target", type=float, default=TARGET)
    given = parser.parse_args(arguments)
    found = collect(given.runs, given.target)
    if not found["runs"]:
        print(f"error: {str(given.runs)!r} holds no complete run; do the stage comparison first", file=sys.stderr)
        return 2
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    for run in found["runs"]:
        print(f"{run['method']}, {run['encoder']}: {run['accuracy']:.2%} after {run['seconds']:.1f} s")
    seconds = found["seconds_to_target"]
    print(f"target {given.target:.2%}: " + ("not reached" if seconds is None else f"reached in {seconds:.1f} s of training"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
