"""The measurements beside the comparison: their parts work on little, and the document shows the committed files."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.checkpoint import find
from bench.reviews import Source
from bench.task import Task, cut, prepare
from tests.benchmarks import growth
from tests.benchmarks.peers import accuracy, worker
from tests.benchmarks.peers.recipes import METHODS, OURS, PEERS
from tests.benchmarks.peers.tables import summary
from tests.benchmarks.tables import DOCUMENT, RESULTS, TABLES, updated
from tests.conftest import write_encoder

MEASURED = sorted(path.stem for path in RESULTS.glob("*.json"))


def test_the_document_shows_what_is_committed() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert updated(text) == text, "run: make readme"
    assert [name for name in MEASURED if f"<!-- {name}.json: begin" not in text] == []


@pytest.mark.parametrize("name", MEASURED)
def test_a_measurement_names_a_clean_commit(name: str) -> None:
    about = json.loads((RESULTS / f"{name}.json").read_text())["environment"]
    assert about["dirty"] is False
    assert about["commit"]
    assert name in TABLES


def peers(name: str, rates: dict[str, float]) -> dict[str, Any]:
    recipes = [
        {"name": key, "reviews_per_second": [rate], "peak_bytes": 2**20, "times": [rates[OURS.name] / rate]}
        for key, rate in rates.items()
    ]
    return {"method": name, "recipes": recipes, "share_of_products": [0.8]}


def test_the_summary_has_the_best_peer() -> None:
    names = [recipe.name for recipe in PEERS]
    text = summary([peers("lora", dict(zip(names, [3.0, 4.0, 4.5, 8.0, 10.0, 12.0], strict=True)))])
    cells = [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]
    assert cells == ["lora", "4.00", "3.00", "1.50", "1.20", "1.20", "1", "1", "80%"]


class TestAccuracy:
    def test_the_same_predictions_lose_nothing(self) -> None:
        right = np.random.default_rng(0).random((4, 200)) < 0.8
        assert accuracy.bound(right, right) == (0, 0)

    def test_the_bound_is_one_sided_and_covers(self) -> None:
        """Nothing is lost in truth: at most one bound in twenty may lie below zero, give or take chance."""
        generator = np.random.default_rng(0)
        below = 0
        for _ in range(400):
            ours, others = (generator.random((5, 300)) < 0.85 for _ in range(2))
            loss, most = accuracy.bound(ours, others)
            assert loss < most
            below += most < 0
        assert below <= 30

    def test_a_loss_has_the_sign_of_what_the_suite_lacks(self) -> None:
        ours, others = np.zeros((3, 100), dtype=bool), np.ones((3, 100), dtype=bool)
        assert accuracy.bound(ours, others) == (1, 1)

    def test_the_table_has_methods_with_two_seeds_and_all_together(self) -> None:
        generator = np.random.default_rng(0)
        cells = {}
        for seed in range(2):
            for one in accuracy.comparisons(METHODS[: 2 + (seed == 0)], dropout=False):
                for key in one.keys(seed):
                    right = generator.random(50) < 0.8
                    cells[key] = base64.b64encode(np.packbits(right).tobytes()).decode()
        rows = accuracy.table({"cells": cells, "test_reviews": 50}, dropout=False).splitlines()[2:]
        found = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
        assert [row[0] for row in found] == ["houlsby", "pfeiffer", "all of these"]
        assert [row[3] for row in found] == ["2", "2", "4"]
        assert accuracy.table({"cells": cells, "test_reviews": 50}, dropout=True).count("\n") == 1

    @pytest.mark.parametrize("which", [0, 1], ids=["the suite", "the library"])
    def test_a_cell_trains_and_is_tested(
        self, which: int, small_source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = write_encoder(tmp_path / "plain")
        task: Task = prepare(find(str(folder)), small_source.sha256, lambda: cut(small_source))
        monkeypatch.setattr(worker, "task_of", lambda checkpoint: task)
        monkeypatch.setattr(accuracy, "LENGTH", 32)
        one = accuracy.comparisons(["lora"], dropout=False)[0]
        recipe = (OURS, one.other)[which]
        right = accuracy.cell("lora", recipe, 1, 0, 32, folder, 2, lambda *_: None)
        assert len(right) == len(task.test)
        assert 0 < sum(right) < len(right)


class TestGrowth:
    def test_a_pass_is_looked_at_in_stretches(
        self, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path))  # the function changes it; it is put back after the test
        monkeypatch.setattr(growth, "STRETCH", 2)
        monkeypatch.setattr(growth, "LENGTH", 16)
        found = growth.train("pfeiffer", str(small_folder), 64, 2, lambda *_: None)
        assert found.reviews == 64
        assert len(found.cost) == len(found.peak_bytes) == 2
        assert 64 < found.tokens <= 64 * 16
        assert min(found.cost) > 0
        assert found.tokenised_warm < found.tokenised_cold

    def test_cost_is_told_beside_that_of_the_fewest(self) -> None:
        few = growth.Grown(10, 100, 1.0, [1.0, 3.0, 2.0], [2**20, 2**21, 2**21], 5.0, 0.1)
        many = growth.Grown(20, 200, 4.0, [4.0, 4.0, 6.0, 6.0], [2**20, 2**20, 2**20, 2**22], 5.0, 0.1)
        rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in growth.table([few, many]).splitlines()[2:]]
        assert rows[0][:2] == ["10", "1.00"]
        assert rows[1] == ["20", "2.50", "2.00", "3.00", "1", "4", "5.0", "5.0 s", "0.10 s"]
