"""The main table of the study, computed twice: by the report, and by a program that imports nothing of the project."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from typing import Any

import pytest

from bench.report.render import render
from tests.measurements.readme import ROOT

PROGRAM = ROOT / "tests" / "measurements" / "independent.py"
RECORDS = ROOT / "results" / "study-main"
SCORES = ("accuracy", "precision", "recall", "f1")
NUMBERS = ("difference", "standard_error", "freedom", "low", "high", "p", "p_holm", "p_equivalence")


@pytest.fixture(scope="module")
def independent() -> dict[str, Any]:
    assert RECORDS.is_dir(), "the records of the study's main table are committed"
    done = subprocess.run([sys.executable, "-I", PROGRAM, RECORDS, "--json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def reported() -> dict[str, Any]:
    report = json.loads(render(RECORDS, reference="houlsby", style="json"))
    (group,) = (group for group in report["groups"] if group["key"]["budget"] == "1,000,000 reference tokens")
    return {**group, "methods": {row["label"]: row for row in group["methods"]}}


def test_the_program_imports_nothing_of_the_project() -> None:
    text = PROGRAM.read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(text)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == {"numpy", "scipy"}
    assert len(text.splitlines()) <= 120


def test_both_have_the_planned_table(independent: dict[str, Any], reported: dict[str, Any]) -> None:
    assert set(independent["methods"]) == set(reported["methods"]) == {"houlsby", "pfeiffer", "lora", "full", "head-only"}
    assert independent["seeds"] == list(range(101, 109))
    assert all(row["seeds"] == independent["seeds"] for row in reported["methods"].values())
    for name in ("seed_variance_p", "minimum_detectable_difference"):
        assert independent[name] == pytest.approx(reported[name], rel=1e-6), name


def test_scores_comparisons_and_mcnemar_agree(independent: dict[str, Any], reported: dict[str, Any]) -> None:
    compared = 0
    for method, row in reported["methods"].items():
        mine, its = independent["methods"][method], row["paired"]
        for name in SCORES:
            assert mine[name] == pytest.approx(row[name], rel=0, abs=1e-9), (method, name)
        if its is None:
            continue
        compared += 1
        own, whole = mine["paired"], its["unconditional"]
        for name in NUMBERS:
            assert own[name] == pytest.approx(its[name], rel=1e-6), (method, name)
        assert (own["verdict"], own["unconditional"]) == (its["verdict"], whole["verdict"]), method
        for name in ("p", "p_holm"):
            assert own[f"permutation_{name}"] == pytest.approx(whole[name], rel=1e-6), (method, name)
        assert [found["seed"] for found in its["mcnemar"]] == independent["seeds"]
        for found, (method_alone, reference_alone, p) in zip(its["mcnemar"], own["mcnemar"], strict=True):
            assert (found["only_method"], found["only_reference"]) == (method_alone, reference_alone)
            assert found["p"] == pytest.approx(p, rel=1e-6)
    assert compared == 4
