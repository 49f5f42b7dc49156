"""The Python interface: light to import, at home in a script without a guard, and the same numbers as the commands."""

from __future__ import annotations

import io
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bench
from bench.inference.predictions import PredictRequest, _texts
from bench.report.render import render
from bench.system.errors import RecordError, SpecError
from tests.measurements.readme import ROOT

STUDY = ROOT / "results" / "study-main"


def test_importing_it_brings_no_library() -> None:
    code = (
        "import sys, bench; print(sorted({'torch', 'numpy', 'pandas', 'pydantic', 'typer'} & sys.modules.keys()), dir(bench))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.startswith("[]")
    assert "'compare'" in out


@pytest.mark.usefixtures("short_runs")
def test_the_example_needs_no_guard(
    tiny_folder: Path, easy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["compare.py", str(tiny_folder), str(easy_folder)])
    runpy.run_path(str(ROOT / "examples" / "compare.py"), run_name="__main__")
    out = capsys.readouterr().out.splitlines()
    records = bench.load_records(tmp_path / "results" / "runs")
    runs = [record for record in records if record.kind == "run"]
    assert len(runs) == 4
    shown = {line.split(":")[0]: float(line.split()[-2]) for line in out[:4]}
    assert shown == {f"{r.spec.method}, seed {r.spec.seed}": round(100 * r.test.accuracy, 2) for r in runs if r.test}
    assert [line.split()[0] for line in out[5:7]] == ["houlsby", "lora"]
    assert {line.split()[0] for line in out[-2:]} <= {"positive", "negative"}


def test_a_comparison_is_that_of_the_report(tmp_path: Path) -> None:
    frame = bench.compare(bench.load_records(STUDY)).to_frame()
    spreadsheet = pd.read_csv(io.StringIO(render(STUDY, reference="houlsby", style="csv")))
    pd.testing.assert_frame_equal(frame, spreadsheet)
    assert frame["method"][0] == "houlsby"
    one, copy = next(path for path in STUDY.glob("houlsby-*-seed*.json")), tmp_path / "a[1].json"
    copy.write_bytes(one.read_bytes())
    for path in (one, copy):
        assert [record.run_id for record in bench.load_records(path)] == [one.stem.rsplit("-", 1)[1]]


def test_what_is_wrong_is_said_by_type(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="does not exist"):
        bench.load_records(tmp_path / "nowhere")
    with pytest.raises(SpecError, match="no option 'epochs'"):
        bench.run("lora", epochs=3)
    with pytest.raises(SpecError, match="at least one text"):
        bench.predict("abc", [])
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = bench.train  # type: ignore[attr-defined]
    (tmp_path / "foreign.json").write_text("{}")
    with pytest.warns(UserWarning, match="left out .*foreign.json"):
        assert bench.load_records(tmp_path) == []
    records = bench.load_records(STUDY)
    with pytest.raises(SpecError, match="no run here is of the reference 'bitfit'"):
        bench.compare(records, reference="bitfit")
    with pytest.raises(SpecError, match="margin=0: name points"):
        bench.compare(records, margin=0)
    with pytest.raises(SpecError, match="takes records"):
        bench.compare(str(STUDY))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="takes a list of texts"):
        bench.predict("abc", "a text")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"budget": 60}, "budget=60: input should be a valid string"),
        ({"methods": None}, "methods=None: input should be a valid list"),
        ({"hyperparameters": ["rank"]}, "hyperparameters="),
        ({"device": "tpu"}, "--device 'tpu': input should be 'auto', 'cpu' or 'cuda'"),
        ({"precision": "fp16"}, "precision='fp16': input should be"),
        ({"test_limit": "few"}, "test_limit='few': input should be a valid integer"),
    ],
)
def test_an_option_of_another_kind_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=re.escape(says)):
        bench.run(**{"methods": "lora", **options})


def test_a_dash_is_a_text_and_not_the_standard_input() -> None:
    with pytest.raises(RecordError, match="run 'abc' is neither"):
        bench.predict("abc", ["-"])
    assert _texts(PredictRequest(piped=False), ["-"]).texts == ["-"]
