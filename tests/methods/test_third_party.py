"""Methods from installed packages, used by the commands of another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import methods
from methods.base import registered
from tests.conftest import call

LAYER_NORM = '''\
"""LN-tuning: only the LayerNorms train."""

from dataclasses import dataclass

from methods.base import Method, register


@register("ln-tuning")
@dataclass(frozen=True)
class LayerNormTuning(Method):
    citation = "Qi et al., Parameter-Efficient Tuning on Layer Normalization for Pre-trained Language Models (arXiv 2211.08682)"
    deviation = "Weights and biases of every LayerNorm, and nothing else."
    learning_rates = (3e-4, 1e-3, 3e-3)

    learning_rate: float = 1e-3

    def attach(self, encoder):
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_("LayerNorm" in name or "layer_norm" in name)
        return encoder

    def trainable_parameters(self, shape):
        return 2 * shape.width * (2 * shape.layers + 1)
'''


def installed(site: Path, module: str, method: str = "a-method") -> Path:
    """A package of one module as pip leaves it, without the seconds that a build takes."""
    metadata = site / "the_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: the-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[adapter_bench.methods]\n{method} = the_package\n")
    (site / "the_package.py").write_text(module)
    return site


def bench(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True, text=True, timeout=300)


def test_a_method_of_another_package_is_listed(tmp_path: Path, tiny_folder: Path) -> None:
    site = installed(tmp_path, LAYER_NORM, "ln-tuning")
    listed = bench(site, "methods", "--encoder", str(tiny_folder))
    assert listed.returncode == 0, listed.stderr
    assert "ln-tuning: trains 320 parameters of tiny's body" in listed.stdout


@pytest.mark.slow
def test_a_method_of_another_package_runs_and_is_reported(tmp_path: Path, tiny_folder: Path, small_folder: Path) -> None:
    site = installed(tmp_path, LAYER_NORM, "ln-tuning")
    options = ["--encoder", str(tiny_folder), "--data", str(small_folder), "--max-length", "16", "--device", "cpu"]
    done = bench(site, "run", "--method", "ln-tuning", "--budget", "2 steps", "--out", str(tmp_path / "runs"), *options)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "runs").glob("*.json")
    record = json.loads(path.read_text())
    assert record["state"] == "complete"
    assert record["parameters"]["body"] == record["parameters"]["closed_form"] == 2 * 32 * (2 * 2 + 1)
    report = bench(Path("nowhere"), "report", "--results", str(tmp_path / "runs"), "--reference", "ln-tuning")
    assert report.returncode == 0, report.stderr
    assert "ln-tuning" in report.stdout


BROKEN = {
    "import": ("import a_library_that_is_not_there", "ModuleNotFoundError: No module named 'a_library_that_is_not_there'"),
    "syntax": ("def", "SyntaxError"),
    "exit": ("raise SystemExit(0)", "SystemExit"),
    "two-lines": ("raise RuntimeError('one\\ntwo\\x1b[31m')", r"RuntimeError: one\ntwo\x1b[31m"),
    "clash": (LAYER_NORM.replace("ln-tuning", "houlsby"), "two methods are called 'houlsby': methods.houlsby and the_package"),
    "abstract": (LAYER_NORM.replace("def trainable_parameters", "def another"), "trainable_parameters"),
    "undeclared": (
        LAYER_NORM.replace("citation = ", "cites = ").replace("learning_rates = ", "rates = "),
        "the method 'ln-tuning' does not declare its citation, learning_rates",
    ),
    "no-default": (LAYER_NORM.replace(": float = 1e-3", ": float"), "learning_rate"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_package_is_one_line_that_names_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    module, why = BROKEN[name]
    assert methods.names()  # which imports them all
    before = dict(registered)
    monkeypatch.syspath_prepend(installed(tmp_path, module))
    methods._load_all.cache_clear()
    try:
        assert call(["methods"]) == 2
    finally:
        registered.clear()
        registered.update(before)
        sys.modules.pop("the_package", None)
    printed, told = capfd.readouterr()
    (line,) = told.splitlines()
    assert printed == ""
    assert line.startswith("error: the method 'a-method' of the package 'the-package' does not load (")
    assert line.endswith("); update or uninstall that package")
    assert why in line
    assert line.isprintable()
