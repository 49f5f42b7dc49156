"""What a cluster of one and two workers does in an hour, and what scheduling and gathering cost a run: `make cluster`.

The same runs, counted in steps and of one thread each, are done here one after the other, then on a Ray cluster with one node
of one CPU, then with two. All of it is on this machine, and whoever asks needs a little of it too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from tabulate import tabulate

from bench.records.schema import Baseline, Record
from bench.records.store import load
from bench.runs.launchers.ray_cluster import Cluster, connected
from bench.runs.plan import Matrix, Request, plan
from bench.runs.scheduler import carry_out
from tests.measurements.keeping import about, in_one_line, keep_rows
from tests.nodes import nodes

__all__ = ["Row", "measure", "row_of", "table"]

OUT = Path("results/cluster.json")
WORKERS = (1, 2)
NOTES = [
    "runs an hour: of each worker from the end of its first run to the end of its last, added up; a first run also waits for "
    "the libraries, which a worker imports once.",
    "around a run: seconds between two runs of one worker in which no run's process lived, on average: scheduling, sending, "
    "writing.",
    "training: two workers share caches and memory, and the machine with the process that asks.",
]


@dataclass(frozen=True)
class Row:
    """One way to do the runs."""

    way: str
    workers: int
    runs: int
    seconds: float
    """Of all, from the call to the last record."""
    runs_an_hour: float
    run_seconds: float
    """Median life of a run's process, by the clock of the process that started it, without each worker's first run."""
    around_seconds: float
    """What passes between two of them on one worker, on average."""
    training_seconds: float
    """Median of what a run's training took: more where workers share the machine."""


def row_of(way: str, workers: int, records: Sequence[Record], ends: Sequence[float], seconds: float) -> Row:
    """The row of complete runs, given when each record was told of, in seconds from the call.

    Which worker did which run follows from the times: the one that was last free, and free before half of the run's life.
    """
    lanes: list[list[float]] = []
    done: list[tuple[Record, float, float]] = []
    for end, record in sorted(zip(ends, records, strict=True), key=lambda pair: pair[0] - _life(pair[1])):
        free = [lane for lane in lanes if lane[-1] <= end - _life(record) / 2]
        if len(lanes) < workers and not free:
            lanes.append([end])  # a worker's first run, which waits for the libraries, is not measured
            continue
        if not free:
            raise ValueError(f"{way}: more runs at once than {workers} workers can do")
        lane = max(free, key=lambda lane: lane[-1])
        done.append((record, _life(record), end - _life(record) - lane[-1]))
        lane.append(end)
    measured = [record for record, _, _ in done]
    return Row(
        way=way, workers=workers, runs=len(records), seconds=seconds,
        runs_an_hour=3600 * sum((len(lane) - 1) / (lane[-1] - lane[0]) for lane in lanes if len(lane) > 1),
        run_seconds=median(life for _, life, _ in done), around_seconds=fmean(around for _, _, around in done),
        training_seconds=median(record.seconds.charged for record in measured if record.seconds is not None),
    )  # fmt: skip


def _life(record: Record) -> float:
    """Seconds that the run's process lived."""
    return (record.seconds.outside if record.seconds is not None else None) or 0.0


def timed(way: str, workers: int, matrix: Matrix, cluster: Cluster | None) -> Row:
    """Do a matrix in a folder of its own."""
    ends: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()

        def tell(record: Record | Baseline, path: Path, new: bool) -> None:
            ends[record.run_id] = time.monotonic() - began

        done = carry_out(matrix, Path(folder), force=False, tell=tell, announce=lambda choice: None, cluster=cluster)
        seconds = time.monotonic() - began
        records = [record for record in load(Path(folder)) if isinstance(record, Record)]
    if not done:
        raise RuntimeError(f"{way}: {[record.reason for record in records if record.state != 'complete']}")
    return row_of(way, workers, records, [ends[record.run_id] for record in records], seconds)


def measure(request: Request, workers: Sequence[int] = WORKERS) -> list[Row]:
    """A row for this machine's own engine, and one for each number of workers, each with the same runs on one thread."""
    rows: list[Row] = []
    for count in (0, *workers):
        with ExitStack() as stack:
            # The nodes have the whole machine; whoever asks has one core, and with it a run one thread.
            address = stack.enter_context(nodes(*[1] * count)).address if count else None
            whole = os.sched_getaffinity(0)
            stack.callback(os.sched_setaffinity, 0, whole)
            os.sched_setaffinity(0, {min(whole)})
            cluster = None if address is None else stack.enter_context(connected(address))
            rows.append(timed("ray" if count else "local", count or 1, plan(request), cluster))
    return rows


def table(rows: Sequence[Row], style: str = "simple") -> str:
    """The rows as text, in a style of tabulate."""
    heads = ["way", "workers", "runs", "seconds", "runs an hour", "a run s", "around a run s", "training s"]
    cells = [
        [row.way, row.workers, row.runs, f"{row.seconds:.1f}", f"{row.runs_an_hour:,.0f}", f"{row.run_seconds:.1f}",
         f"{row.around_seconds:.2f}", f"{row.training_seconds:.1f}"]
        for row in rows
    ]  # fmt: skip
    return tabulate(cells, heads, style, disable_numparse=True, colalign=("left", *["right"] * 7))


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--budget", default="60 steps")
    parser.add_argument("--seeds", default="3", help="runs of each of the two methods")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    # Sentences, whose test is short: what is measured is the cluster, and a run of half a minute shows it as well.
    request = Request(
        ["houlsby", "lora"], given.encoder, data="rotten-tomatoes", budget=given.budget, seeds=given.seeds, test_limit=40,
        device="cpu",
    )  # fmt: skip
    environment = about(threads=1)
    with in_one_line():
        rows = measure(request)
    asked = {name: getattr(request, name) for name in ("methods", "encoder", "data", "budget", "seeds")}
    keep_rows(given.out, table(rows), NOTES, environment, rows, asked=asked)


if __name__ == "__main__":
    main()
