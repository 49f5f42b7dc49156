"""Methods from installed packages: real packages, installed by pip, used by the commands of another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "1.0"

[project.entry-points."adapter_bench.methods"]
{method} = "{module}"

[tool.setuptools]
py-modules = ["{module}"]
"""

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


def install(tmp_path: Path, name: str, method: str, module: str) -> Path:
    """Build and install a package of one module; returns the folder that it is in."""
    source, target = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    (source / "pyproject.toml").write_text(PROJECT.format(name=name, method=method, module=name.replace("-", "_")))
    (source / f"{name.replace('-', '_')}.py").write_text(module)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(target), str(source)], check=True, timeout=120)
    return target


def bench(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True, text=True, timeout=300)


def test_a_method_of_another_package_is_listed(tmp_path: Path, tiny_folder: Path) -> None:
    site = install(tmp_path, "ln-tuning-method", "ln-tuning", LAYER_NORM)
    listed = bench(site, "methods", "--encoder", str(tiny_folder))
    assert listed.returncode == 0, listed.stderr
    assert "ln-tuning: trains 320 parameters of tiny's body" in listed.stdout


@pytest.mark.slow
def test_a_method_of_another_package_runs_and_is_reported(tmp_path: Path, tiny_folder: Path, small_folder: Path) -> None:
    site = install(tmp_path, "ln-tuning-method", "ln-tuning", LAYER_NORM)
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
def test_a_broken_package_is_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    module, why = BROKEN[name]
    site = _unpacked(tmp_path, module)
    done = bench(site, "methods")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the method 'a-method' of the package 'the-package' does not load (")
    assert line.endswith("); update or uninstall that package")
    assert why in line
    assert line.isprintable()


def _unpacked(site: Path, module: str) -> Path:
    """A package as pip would unpack it, without the seconds that a build takes."""
    metadata = site / "the_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: the-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[adapter_bench.methods]\na-method = the_package\n")
    (site / "the_package.py").write_text(textwrap.dedent(module))
    return site
