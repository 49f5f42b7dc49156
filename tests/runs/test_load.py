"""Many at once: writers, readers and runs in one folder, and ten thousand records. Nothing is lost, nothing is torn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.records.schema import Baseline, Record
from bench.records.spec import run_id
from bench.records.store import Damaged, finished, load, path_of, seal
from bench.report.render import render
from tests.factories import baseline, run

WRITERS, EACH = 2, 40
WRITE = f"""
import sys
from pathlib import Path
from bench.records.store import finished, prepare_folder, save
from tests.factories import LABELS, kept, run
folder, writer = Path(sys.argv[1]), int(sys.argv[2])
for i in range({EACH}):
    prepare_folder(folder)
    kept(folder, run(seed={EACH} * writer + i, wrong=20 + writer))
    # One that every writer writes, each another time of its end.
    again = run("lora", finished=f"2026-01-01T00:00:0{{writer}}+00:00")
    save(folder, again)
    assert finished(folder, again.run_id) is not None
"""


def watch(folder: Path, done: Callable[[], bool]) -> list[int]:
    """How many records there were at each look until the writers were done; every look finds only whole ones."""
    seen: list[int] = []
    while True:
        last = done()
        found = list(load(folder))
        assert not [item for item in found if isinstance(item, Damaged)]
        assert not seen or len(found) >= seen[-1], "a record was there and is gone"
        seen.append(len(found))
        if last:
            return seen


def test_writers_and_a_reader_in_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet" / "there"
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(folder), str(i)], env=environment, stderr=subprocess.PIPE, text=True)
        for i in range(WRITERS)
    ]
    seen = watch(folder, lambda: all(writer.poll() is not None for writer in writers))
    for writer in writers:
        assert writer.communicate()[1] == ""
        assert writer.returncode == 0
    assert seen[-1] == WRITERS * EACH + 1
    seeds = [record.spec.seed for record in load(folder) if isinstance(record, Record) and record.spec.method == "houlsby"]
    assert sorted(seeds) == list(range(WRITERS * EACH))
    assert not list(folder.rglob(".*")), "something unfinished was left"
    assert len(list((folder / "logits").iterdir())) == WRITERS


def many(folder: Path, count: int) -> int:
    """`count` records as `save` writes them, though without waiting for the disk, and two baselines."""
    methods = ("houlsby", "pfeiffer", "lora", "full", "head-only")
    folder.mkdir()
    alike = [run(wrong=20 + i) for i in range(7)]
    records: list[Record | Baseline] = [baseline(22404), baseline(1600)]
    for i in range(count):
        record, rest = alike[i % 7], i // len(methods)
        own = {"method": methods[i % len(methods)], "seed": rest % 50, "max_length": 64 + rest // 50}
        spec = record.spec.model_copy(update=own)
        identity = run_id(spec, encoder_sha256=record.encoder.sha256, data_sha256=record.data.sha256, rules_version=1)
        records.append(record.model_copy(update={"spec": spec, "run_id": identity}))
    for made in records:
        path_of(folder, made).write_bytes(seal(made.model_dump_json(indent=1).encode() + b"\n"))
    return len(records)


@pytest.mark.slow
def test_ten_thousand_records_are_read_and_reported(tmp_path: Path) -> None:
    folder, count = tmp_path / "runs", 10_000
    assert many(folder, count) == len(list(folder.iterdir())) == count + 2
    torn = sorted(folder.glob("houlsby-*.json"))[::500]
    for path in torn:
        path.write_bytes(path.read_bytes()[:-200])
    found = list(load(folder))
    assert [item.path for item in found if isinstance(item, Damaged)] == torn
    assert len({record.run_id for record in found if not isinstance(record, Damaged)}) == count + 2 - len(torn)
    left_out: list[Damaged] = []
    groups = json.loads(render(folder, reference="houlsby", style="json", left_out=left_out))["groups"]
    reported = [run_id for group in groups for method in group["methods"] for run_id in method["run_ids"]]
    assert len(set(reported)) == len(reported) == count - len(torn) == count - len(left_out)
    assert finished(folder, reported[-1]) is not None


@pytest.mark.slow
def test_twenty_runs_at_once_in_one_folder_while_reports_read_it(tiny_folder: Path, small_folder: Path, tmp_path: Path) -> None:
    """Whole runs, each in a process of its own, asked for by threads that know nothing of each other."""
    from bench.runs.plan import Request, plan
    from bench.runs.scheduler import carry_out

    out, runs = tmp_path / "runs", 20

    def one(seed: int) -> bool:
        request = Request(
            ["lora"], encoder=str(tiny_folder), data=str(small_folder), budget="2 steps", seeds=f"{seed},", max_length=16,
            batch_size=4, test_limit=20, device="cpu",
        )  # fmt: skip
        return carry_out(plan(request), out, force=False, tell=lambda record, path, new: None, announce=lambda choice: None)

    over = threading.Event()
    with ThreadPoolExecutor(runs + 1) as pool:
        reader = pool.submit(watch, out, over.is_set)
        try:
            complete = list(pool.map(one, range(runs)))
        finally:
            over.set()
        seen = reader.result()
    assert complete == [True] * runs
    assert seen[-1] == runs
    assert len(seen) > runs, "the reader looked while they ran"
    found = [record for record in load(out) if isinstance(record, Record)]
    assert sorted(record.spec.seed for record in found) == list(range(runs))
    assert {record.state for record in found} == {"complete"}
    (group,) = json.loads(render(out, reference="lora", style="json"))["groups"]
    assert group["methods"][0]["seeds"] == list(range(runs))
    assert not list(out.glob(".*.tmp"))
