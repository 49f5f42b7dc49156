"""The comparison catches a slower step, and only that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.compare import LIBRARIES, MARGIN, main

KEY = {"cpu": "a processor", "threads": 2, "versions": dict.fromkeys(LIBRARIES, "1.0")}
WAS = {"step": 10.0, "report": 4.0}


@pytest.fixture
def compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Compares times with those of a baseline: (exit code, all that was printed)."""

    def run(was: dict[str, float], now: dict[str, float], **key: Any) -> tuple[int, str]:
        baseline = tmp_path / "baseline.json"
        assert main([str(results(tmp_path, was)), "--update"], baseline) == 0
        capsys.readouterr()
        code = main([str(results(tmp_path, now, **key))], baseline)
        return code, "".join(capsys.readouterr())

    return run


def results(folder: Path, relative: dict[str, float], **key: Any) -> Path:
    """A file as pytest-benchmark writes it, in so far as it is read."""
    benchmarks = [{"name": name, "extra_info": {"relative": value}, "stats": {}} for name, value in relative.items()]
    path = folder / "results.json"
    path.write_text(json.dumps({"machine_info": {"baseline_key": {**KEY, **key}}, "benchmarks": benchmarks}))
    return path


@pytest.mark.parametrize(
    ("was", "now", "code", "says"),
    [
        *((WAS, {**WAS, "step": factor * WAS["step"]}, 0, "All within the margin") for factor in (0.2, 1.0, 0.99 * MARGIN)),
        (WAS, {**WAS, "report": 1.01 * MARGIN * WAS["report"]}, 1, "SLOWER"),
        (WAS, {"step": 10.0}, 1, "MISSING"),
        ({"step": 10.0}, WAS, 0, "new"),
    ],
)
def test_what_is_slower_or_missing_fails_and_is_named(
    compare: Any, was: dict[str, float], now: dict[str, float], code: int, says: str
) -> None:
    found, text = compare(was, now)
    assert found == code
    named = [line.split()[0] for line in text.splitlines() if says in line]
    assert named == ["report"] if code else named


@pytest.mark.parametrize(
    "key",
    [{"cpu": "another"}, {"threads": 4}, {"versions": {**KEY["versions"], "torch": "2.0"}}],
    ids=lambda key: next(iter(key)),
)
def test_elsewhere_it_is_advisory(compare: Any, key: dict[str, Any]) -> None:
    code, text = compare(WAS, {"step": 100.0}, **key)
    assert code == 0
    assert "Advisory" in text
    assert "SLOWER" in text


def test_an_update_keeps_other_machines_of_the_same_versions(tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.json"
    newer = {"versions": {**KEY["versions"], "peft": "2.0"}}
    kept = []
    for key in ({}, {"cpu": "another"}, {"cpu": "another"}, newer):
        assert main([str(results(tmp_path, WAS, **key)), "--update"], baseline) == 0
        kept.append([(entry["key"]["cpu"], entry["key"]["versions"]["peft"]) for entry in json.loads(baseline.read_text())])
    two = [("a processor", "1.0"), ("another", "1.0")]
    assert kept == [two[:1], two, two, [("a processor", "2.0")]]


@pytest.mark.parametrize(
    ("bad", "text"),
    [*(("results.json", text) for text in (None, "", "{", "[]", '{"benchmarks": []}', *(
        json.dumps({"machine_info": {"baseline_key": KEY}, "benchmarks": benchmarks})
        for benchmarks in ([], [{"name": "step"}], [{"name": "step", "extra_info": {"relative": float("nan")}}])
    ))), *(("baseline.json", text) for text in (None, "", "{", "[]", '[{"key": {}}]'))],
)  # fmt: skip
def test_a_bad_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: str, text: str | None) -> None:
    found = results(tmp_path, WAS)
    (tmp_path / bad).unlink(missing_ok=True)
    if text is not None:
        (tmp_path / bad).write_text(text)
    for option in ([], ["--update"]) if bad == found.name else ([],):
        with pytest.raises(SystemExit, match=r"^2$"):
            main([str(found), *option], tmp_path / "baseline.json")
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(rf"error: {bad} [^\n]+\n", err)
    assert (tmp_path / "baseline.json").exists() == (bad == "baseline.json" and text is not None)
