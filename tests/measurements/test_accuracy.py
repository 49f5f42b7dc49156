"""Accuracy at equal reviews: runs that go on where they stopped, parts that are joined, and the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.sources import Source
from bench.data.task import Task, prepare, split
from bench.models.pretrained import find
from bench.records.schema import pack_bits
from bench.system.errors import RecordError
from tests.conftest import write_encoder
from tests.measurements.keeping import resumed
from tests.measurements.peers import accuracy
from tests.measurements.peers.recipes import METHODS, OURS


class TestAccuracy:
    @pytest.mark.parametrize("methods", [1, 3])
    def test_the_bound_is_one_sided_and_covers(self, methods: int) -> None:
        """Nothing is lost in truth, seeds and reviews differ: one bound in twenty may lie below zero, give or take chance."""
        generator = np.random.default_rng(0)
        below = 0
        for _ in range(400):
            ease = generator.normal(1.5, 1.0, size=300)
            luck = generator.normal(0, 0.1, size=(2, methods, 5, 1))
            ours, others = generator.normal(size=(2, methods, 5, 300)) < ease + luck
            loss, most = accuracy.bound(ours, others)
            assert loss < most
            below += most < 0
        assert below <= 30

    def test_a_loss_has_the_sign_of_what_the_suite_lacks(self) -> None:
        ours, others = np.zeros((3, 100), dtype=bool), np.ones((3, 100), dtype=bool)
        assert accuracy.bound(ours, others) == (1, 1)
        right = np.random.default_rng(0).random((4, 200)) < 0.8
        assert accuracy.bound(right, right) == (0, 0)

    def test_the_table_has_methods_with_two_seeds_and_their_mean_over_shared_ones(self) -> None:
        generator = np.random.default_rng(0)
        cells = {}
        for seed in range(3):
            for one in accuracy.comparisons(METHODS[: 5 - (seed == 2)], dropout=False):
                for key in one.keys(seed):
                    right = generator.random(50) < 0.8
                    cells[key] = pack_bits(right)

        def rows(dropout: bool = False) -> list[list[str]]:
            lines = accuracy.table({"cells": cells, "test_reviews": 50}, dropout).splitlines()[2:]
            return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]

        assert [(row[0], row[3]) for row in rows()] == [
            ("houlsby", "3"), ("pfeiffer", "3"), ("lora", "3"), ("full", "3"), ("head-only", "2"), ("mean of these", "2")
        ]  # fmt: skip
        assert rows(dropout=True) == []
        del cells[accuracy.comparisons(["full"], dropout=False)[0].keys(1)[0]]
        del cells[accuracy.comparisons(["full"], dropout=False)[0].keys(0)[1]]
        assert [row[0] for row in rows()] == ["houlsby", "pfeiffer", "lora", "head-only"], "no mean over some of them"

    def test_what_another_setting_made_is_left(self, tmp_path: Path) -> None:
        about = {"commit": "a", "dirty": False, "threads": 2}
        found = resumed(tmp_path / "a.json", {"max_length": 128, "environment": about}, cells={})
        (tmp_path / "a.json").write_text(json.dumps(found))
        later = resumed(tmp_path / "a.json", {"max_length": 128, "environment": {**about, "commit": "b"}})
        assert later["commits"] == ["a", "b"]
        for settings in ({"max_length": 64, "environment": about}, {"max_length": 128, "environment": {**about, "threads": 1}}):
            with pytest.raises(RecordError, match=r"was made with another (max_length|threads)"):
                resumed(tmp_path / "a.json", settings)

    def test_an_interrupt_says_how_it_goes_on(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupt(given: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("sys.argv", ["accuracy"])
        monkeypatch.setattr(accuracy, "_measure", interrupt)
        with pytest.raises(SystemExit) as ended:
            accuracy.main()
        assert ended.value.code == 130
        assert capsys.readouterr().err == "\nstopped; the same command goes on from what is finished\n"

    @pytest.mark.parametrize("which", [0, 1], ids=["the suite", "the library"])
    def test_a_cell_trains_and_is_tested(
        self, which: int, small_source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = write_encoder(tmp_path / "plain")
        task: Task = prepare(find(str(folder)), small_source.sha256, lambda: split(small_source))
        monkeypatch.setattr(accuracy, "task_of", lambda pretrained: task)
        monkeypatch.setattr(accuracy, "LENGTH", 32)
        one = accuracy.comparisons(["lora"], dropout=False)[0]
        recipe = (OURS, one.other)[which]
        right = accuracy.cell("lora", recipe, 1, 0, 32, folder, 2, lambda *_: None)
        assert len(right) == len(task.test)
        assert 0 < sum(right) < len(right)


class TestAccuracyInParts:
    def write(self, path: Path, seed: int, **other: Any) -> Path:
        one = accuracy.comparisons(["lora"], dropout=False)[0]
        cells = {key: pack_bits([True, False, True]) for key in one.keys(seed)}
        about = {"commit": "a", "dirty": False, "device": "a GPU"}
        content = {"max_length": 128, "test_reviews": 3, "environment": about, "commits": ["a"], "cells": cells, **other}
        path.write_text(json.dumps(content))
        return path

    def test_disjoint_seeds_are_joined(self, tmp_path, monkeypatch, capsys):
        parts = [self.write(tmp_path / f"{seed}.json", seed) for seed in range(3)]
        out = tmp_path / "all.json"
        monkeypatch.setattr("sys.argv", ["accuracy", "--merge", *map(str, parts), "--out", str(out)])
        accuracy.main()
        one = accuracy.comparisons(["lora"], dropout=False)[0]
        assert accuracy._finished(json.loads(out.read_text()), one) == [0, 1, 2]
        assert "| lora" in capsys.readouterr().out

    def test_what_does_not_belong_together_is_refused(self, tmp_path):
        first = self.write(tmp_path / "a.json", 0)
        with pytest.raises(RecordError, match="another max_length"):
            accuracy.merge([first, self.write(tmp_path / "b.json", 1, max_length=64)])
        with pytest.raises(RecordError, match="repeats"):
            accuracy.merge([first, self.write(tmp_path / "c.json", 0)])
        with pytest.raises(RecordError, match="cannot be read"):
            accuracy.merge([first, tmp_path / "none.json"])
