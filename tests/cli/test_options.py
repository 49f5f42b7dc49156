"""Options that commands share, short ones, completion, and sources that are joined."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import typer

from bench.cli.app import app
from bench.runs.request import Request, parse_settings
from tests.conftest import call
from tests.factories import kept, run

LEFT_OUT = {"budget", "seeds", "test_limit", "train_limit", "tune", "tune_seeds", "trials_only", "calibration"}


def test_three_commands_share_options_and_defaults() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    shared = {**asdict(Request()), "methods": None, "hyperparameters": None, "suite": None}
    for name, without in (("run", set()), ("watch", set()), ("calibrate", LEFT_OUT)):
        found = {option.name: option for option in commands[name].params}
        assert {key: found[key].default for key in shared if key in found} == {
            key: value for key, value in shared.items() if key not in without
        }
        assert found["methods"].opts == ["--method", "-m"]
        assert found["out"].opts == ["--out", "-o"]


def test_values_are_typed_by_their_hyperparameter() -> None:
    items = ["houlsby.learning_rate=5e-4", "houlsby.bottleneck=8", "houlsby.non_linearity=relu", "lora.rank=4"]
    assert parse_settings(items) == {
        "houlsby": {"learning_rate": 5e-4, "bottleneck": 8, "non_linearity": "relu"}, "lora": {"rank": 4},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("run --method head", ["head-only"]),
        ("run --suite qui", ["quick"]),
        ("watch --precision b", ["bf16"]),
        ("rep", ["report"]),
    ],
)
def test_the_console_script_completes(
    words: str, expected: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["adapter-bench"])
    line = {"COMP_WORDS": f"adapter-bench {words}", "COMP_CWORD": str(len(words.split()))}
    for name, value in {**line, "_ADAPTER_BENCH_COMPLETE": "complete_bash"}.items():
        monkeypatch.setenv(name, value)
    call([])
    assert capsys.readouterr().out.split() == expected


def test_a_path_begins_at_home_where_no_shell_expanded_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    kept(tmp_path / "home" / "runs", run("houlsby", 0))
    kept(tmp_path / "~name", run("lora", 0))
    assert call(["export", "~/runs", "./~name", "--out=~/table.csv"]) == 0
    assert (tmp_path / "home" / "table.csv").read_text().count("\n") == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "~name"]


def report(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, object], str]:
    assert call(["report", "--format", "json", *arguments]) == 0
    printed, told = capsys.readouterr()
    return json.loads(printed), told


def test_sources_are_joined_and_a_run_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, whole = (str(tmp_path / name) for name in ("first", "second", "whole"))
    records = [run(method, seed) for method in ("houlsby", "lora") for seed in (0, 1)]
    for folder, some in ((first, records[:3]), (second, records[1:]), (whole, records)):
        for record in some:
            kept(Path(folder), record)
    expected, told = report(whole, capsys=capsys)
    assert told == ""
    for arguments in ([first, second], ["--results", first, "--results", second], [first, "--results", second]):
        found, told = report(*arguments, capsys=capsys)
        assert found == expected, "with what is derived from the logits of both folders"
        assert told == f"merged 3 of {first!r}, 3 of {second!r} into 4 records\n"
    assert report(first, first, capsys=capsys)[1] == ""
    (alone,) = (path for path in Path(second).glob("*.json") if not (Path(first) / path.name).exists())
    assert report(first, str(alone), capsys=capsys)[0] == expected
