"""The flat table of all runs: every number of a record under one name, in CSV as in Parquet."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from bench.report.export import as_csv, table
from tests.conftest import call
from tests.factories import HOSTILE, baseline, ended, folder_of, run


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    mixed = {"hyperparameters": {"learning_rate": 0.001, "rank": "all"}}
    whole = {"hyperparameters": {"learning_rate": 0.001, "rank": 8}}
    first = (run(), run("lora", 1, 30, spec=mixed), ended("full", "failed", "why"), baseline(22404))
    return [folder_of(tmp_path / "a", *first), folder_of(tmp_path / "b", run(), run("lora", 2, spec=whole))]


def test_both_kinds_hold_the_same_runs_once(folders: list[Path], tmp_path: Path) -> None:
    for kind in ("csv", "parquet"):
        assert call(["export", "--to", kind, *map(str, folders), "--out", str(tmp_path / f"runs.{kind}")]) == 0
    sheet, frame = pd.read_csv(tmp_path / "runs.csv"), pd.read_parquet(tmp_path / "runs.parquet")
    assert list(sheet.columns) == list(frame.columns)
    assert len(sheet) == len(frame) == sheet["run_id"].nunique() == 5
    by_id = frame.set_index("run_id")
    lora = run("lora", 1, 30, spec={"hyperparameters": {"learning_rate": 0.001, "rank": "all"}})
    assert by_id.loc[lora.run_id, "test.accuracy"] == pytest.approx(0.85)
    assert by_id.loc[lora.run_id, "spec.hyperparameters.rank"] == "all"
    assert by_id.loc[run().run_id, "latency.batch 32.milliseconds"] == 64
    assert sorted(frame["state"].dropna()) == ["complete"] * 3 + ["failed"]
    assert not {"test.predictions", "test.correct", "training.curve"} & set(frame.columns)
    assert sheet["test.accuracy"].dropna().tolist() == frame["test.accuracy"].dropna().tolist()


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
def test_words_of_records_are_cells_and_no_formulas(text: str) -> None:
    written = as_csv(table([run(text, spec={"encoder": text}), run()]))
    rows = list(csv.reader(io.StringIO(written)))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(rows) == 3
    assert not rows[1][rows[0].index("spec.encoder")].lstrip().startswith(("=", "+", "-", "@"))
