"""The measurements beside the comparison: their parts work on little, and the document shows the committed files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import methods
from bench.analysis.statistics import holm, moments, two_way
from bench.rules import ALPHA
from bench.training.job import Result
from tests.factories import run
from tests.measurements import cluster, growth, methods_learn, sharing
from tests.measurements.cluster import row_of, table
from tests.measurements.peers import __main__ as turns
from tests.measurements.peers import accuracy, spinning
from tests.measurements.peers.common import BATCH, batches_of
from tests.measurements.peers.recipes import (
    GRAPHS,
    GROUPED,
    GROUPED_BF16,
    IN_FP32,
    LIBRARY,
    METHODS,
    OURS,
    PEERS,
    PLAIN,
    PUBLISHED,
    Recipe,
)
from tests.measurements.peers.tables import limits, summaries, summary
from tests.measurements.tables import DOCUMENT, RESULTS, TABLES, updated

MEASURED = re.findall(r"^<!-- ([\w-]+)\.json: begin", DOCUMENT.read_text(encoding="utf-8"), flags=re.M)


def test_the_document_shows_what_is_committed() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert len(MEASURED) == text.count("<!-- end -->") > 0
    assert updated(text) == text, "run: make readme"


@pytest.mark.parametrize("name", MEASURED)
def test_a_measurement_names_a_clean_commit(name: str) -> None:
    about = json.loads((RESULTS / f"{name}.json").read_text())["environment"]
    assert about["dirty"] is False
    assert about["commit"]
    assert name in TABLES


@pytest.mark.parametrize(("dropout", "methods"), [(False, METHODS), (True, ("houlsby", "full"))])
def test_the_suite_loses_less_than_a_point(dropout: bool, methods: tuple[str, ...]) -> None:
    """To the libraries' trainers at equal reviews, and to itself with hidden dropout."""
    found = json.loads((RESULTS / accuracy.OUT[dropout].name).read_text())
    rows = [line.split("|") for line in accuracy.table(found, dropout).splitlines()[2:]]
    assert [row[1].strip() for row in rows] == [*methods, "mean of these"]
    assert all(int(row[4]) == 6 and float(row[-2]) < 1 for row in rows)


@pytest.mark.parametrize("method", METHODS)
def test_the_suite_is_faster_and_smaller_than_any_peer(method: str) -> None:
    """In the committed turns, on a processor on which it takes bf16; the fewest times of each peer are what is aimed for."""
    whole = json.loads((RESULTS / "peers.json").read_text())
    assert whole["precision"] == "bf16"
    recipes = {recipe["name"]: recipe for found in whole["methods"] if found["method"] == method for recipe in found["recipes"]}
    assert recipes.keys() == {recipe.name for recipe in (*PEERS, GROUPED_BF16, IN_FP32)}
    ours = median(recipes[OURS.name]["peak_bytes"])
    through_the_encoder = {PUBLISHED.name: 3.5, PLAIN.name: 1.3}
    alone = {PUBLISHED.name: 10.0, LIBRARY.name: 10.0, PLAIN.name: 10.0}
    fewest = alone if method == "head-only" else through_the_encoder
    for name in recipes.keys() - {OURS.name, IN_FP32.name}:
        assert median(recipes[name]["times"]) >= fewest.get(name, 1.0), name
        assert ours <= median(recipes[name]["peak_bytes"]), name


@pytest.mark.parametrize("method", METHODS)
def test_in_fp32_the_suite_is_smaller_than_any_peer_and_faster_than_any_without_like_lengths(method: str) -> None:
    """In the committed turns, on a processor without bf16; a library that is given like lengths too is as fast there."""
    whole = json.loads((RESULTS / "peers-fp32.json").read_text())
    assert whole["precision"] == "fp32"
    recipes = {recipe["name"]: recipe for found in whole["methods"] if found["method"] == method for recipe in found["recipes"]}
    assert recipes.keys() == {recipe.name for recipe in PEERS}
    ours = median(recipes.pop(OURS.name)["peak_bytes"])
    assert all(ours <= 0.7 * median(recipe["peak_bytes"]) for recipe in recipes.values())
    assert all(median(recipes[name]["times"]) > 1.2 for name in recipes.keys() - {GROUPED.name})


@pytest.mark.parametrize("method", METHODS[:-1])
def test_in_fp32_the_suite_is_as_fast_as_a_library_with_like_lengths_in_two_thirds_of_its_memory(method: str) -> None:
    """In the committed rounds of these two alone; and its products reach what is aimed for."""
    whole = json.loads((RESULTS / "peers-fp32-grouped.json").read_text())
    (found,) = (found for found in whole["methods"] if found["method"] == method)
    grouped, ours = found["recipes"]
    assert (grouped["name"], ours["name"]) == (GROUPED.name, OURS.name)
    assert median(grouped["times"]) > 0.95
    assert median(ours["peak_bytes"]) < 2 / 3 * median(grouped["peak_bytes"])
    assert median(found["share_of_products"]) > 0.62
    assert median(found["share_of_cold_products"]) > 0.72


def test_on_cuda_a_graph_a_step_is_four_times_as_fast_as_any_peer_and_plain_kernels_are_smaller() -> None:
    """In the committed turns, which are of Houlsby adapters alone."""
    (found,) = json.loads((RESULTS / "peers-cuda.json").read_text())["methods"]
    recipes = {recipe["name"]: recipe for recipe in found["recipes"]}
    assert found["method"] == "houlsby"
    assert recipes.keys() == {recipe.name for recipe in (*PEERS, GRAPHS)}
    ours, graphs = recipes.pop(OURS.name), recipes.pop(GRAPHS.name)
    for peer in recipes.values():
        assert median(graphs["reviews_per_second"]) > 4 * median(peer["reviews_per_second"])
        assert median(peer["times"]) > 1.2
        assert median(ours["peak_bytes"]) < median(peer["peak_bytes"])


def test_on_cuda_no_difference_to_the_librarys_trainer_is_significant() -> None:
    """At equal reviews; over the methods less than a point is lost."""
    found = json.loads((RESULTS / "peers-accuracy-cuda.json").read_text())
    tests = []
    for one in accuracy.comparisons(METHODS, dropout=False):
        ours, others = accuracy._pairs(found, one, range(6)).astype(np.int64)
        tests.append(two_way(moments(others - ours)).p)
    assert min(holm(tests)) > ALPHA
    assert float(accuracy.table(found, False).splitlines()[-1].split("|")[-2]) < 1


@pytest.mark.parametrize(
    ("measurement", "asked", "why"),
    [
        (turns, ["--rounds", "0"], "error: --rounds must be at least 1"),
        (turns, ["--alone", "--ablations"], "error: argument --ablations: not allowed with argument --alone"),
        (turns, ["--max-length", "513"], "error: --max-length must be between 8 and 512"),
        (turns, ["--out", str(DOCUMENT)], f"error: '{DOCUMENT}' is no file of such a measurement; give another --out"),
        (turns, ["--out", str(RESULTS)], f"error: '{RESULTS}' is no file of such a measurement; give another --out"),
        (turns, ["--grouped", "--alone"], "error: argument --alone: not allowed with argument --grouped"),
        (spinning, ["--steps", "51"], "error: --rounds must be at least 1, --steps between 1 and 50"),
        (growth, ["--data", "nope"], "error: data 'nope'"),
        (growth, ["--method", "nope"], "error: argument --method: invalid choice: 'nope'"),
        (methods_learn, ["--method", "houslby"], "error: unknown method 'houslby'; did you mean 'houlsby'?"),
        (methods_learn, ["--encoder", "nope"], "error: encoder 'nope'"),
        (sharing, ["--encoder", "nope"], "error: encoder 'nope'"),
        (cluster, ["--encoder", "nope"], "error: encoder 'nope'"),
        (accuracy, ["--dropout", "--method", "lora"], "error: --dropout compares houlsby and full; give one of them as"),
        (accuracy, ["--device", "cuda"], "no CUDA device"),
        (accuracy, ["--seed", "100"], "error: --seed must be"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line(
    measurement: ModuleType, asked: list[str], why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.system.device.shows_gpu", lambda: False)
    monkeypatch.setattr("sys.argv", ["measurement", *asked])
    with pytest.raises(SystemExit) as ended:
        measurement.main()
    assert ended.value.code == 2
    assert why in capsys.readouterr().err.splitlines()[-1]


def test_tokens_cost_the_same_however_many_reviews_there_are() -> None:
    """Speed within the noise of a shared machine, memory closely: what leaked or was kept a review would show."""
    few, _, all_of_them = json.loads((RESULTS / "growth.json").read_text())["passes"]
    assert all_of_them["reviews"] > 20 * few["reviews"]
    assert median(all_of_them["cost"]) < 1.1 * median(few["cost"])
    assert all_of_them["peak_bytes"][-1] < 1.1 * few["peak_bytes"][-1]
    assert all_of_them["tokenised_cold"] <= 15
    assert all_of_them["tokenised_warm"] <= 1


def peers(name: str, rates: dict[str, float]) -> dict[str, Any]:
    recipes = [
        {"name": key, "reviews_per_second": [rate], "peak_bytes": [2**23, 2**20, 2**21], "times": [rates[OURS.name] / rate]}
        for key, rate in rates.items()
    ]
    return {"method": name, "epochs": 1, "recipes": recipes, "share_of_products": [0.8]}


def test_the_summary_has_the_best_peer() -> None:
    names = [recipe.name for recipe in PEERS]
    text = summary([peers("lora", dict(zip(names, [3.0, 4.0, 4.5, 8.0, 10.0, 12.0], strict=True)))])
    cells = [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]
    assert cells == ["lora", "4.00", "3.00", "1.50", "1.20", "1.20", "2", "2", "2", "80%"]


def test_what_the_suite_gains_in_fp32_is_told_round_by_round() -> None:
    names = [recipe.name for recipe in (*PEERS, IN_FP32)]
    found = peers("lora", dict(zip(names, [3.0, 4.0, 4.5, 8.0, 10.0, 24.0, 12.0], strict=True)))
    row = summaries([found])[1].splitlines()[2]
    assert [cell.strip() for cell in row.strip("|").split("|")] == ["lora", "4.00", "3.00", "1.50", "1.20", "2"]
    for recipe in found["recipes"]:
        recipe["reviews_per_second"] += [12.0, 24.0] if recipe["name"] == IN_FP32.name else [3.0, 4.0]
    assert "4.00 (4.00–6.00)" in summaries([found])[1]
    assert summaries([peers("lora", dict.fromkeys(names[:-1], 1.0))])[1:] == []


def test_the_shares_of_both_lists_are_told_by_method() -> None:
    found = {**peers("lora", {OURS.name: 12.0}), "share_of_products": [0.5, 0.7, 0.6], "share_of_cold_products": [0.75]}
    cells = [cell.strip() for cell in limits([found]).splitlines()[2].strip("|").split("|")]
    assert cells == ["lora", "12.0", "60%", "50%–70%", "75%", ""]


@pytest.mark.parametrize("recipe", [OURS, PEERS[0], PEERS[-2]], ids=lambda recipe: recipe.name)
def test_batches_of_a_turn_stand_for_those_of_the_pool(recipe: Recipe) -> None:
    lengths = np.random.default_rng(0).integers(20, 257, size=5000)
    longest, *timed = batches_of(recipe, lengths, 8)
    everything = batches_of(recipe, lengths, 50)[1:]
    assert {len(batch) for batch in (longest, *timed)} == {BATCH}
    assert lengths[longest].max() == max(lengths[batch].max() for batch in everything)
    assert len(set(np.concatenate(everything).tolist())) == 50 * BATCH

    def padded(batches: list[Any]) -> float:
        return float(np.mean([lengths[batch].max() for batch in batches]))

    assert padded(timed) == pytest.approx(padded(everything), rel=0.03)
    assert (padded(timed) < 160) == recipe.groups


class TestGrowth:
    def test_a_pass_is_looked_at_in_stretches(
        self, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path))  # the function changes it; it is put back after the test
        monkeypatch.setattr(growth, "STRETCH", 2)
        monkeypatch.setattr(growth, "LENGTH", 16)
        found = growth.train("pfeiffer", str(small_folder), 64, 2, "fp32", lambda *_: None)
        assert found.reviews == 64
        assert len(found.cost) == len(found.peak_bytes) == 2
        assert 64 < found.tokens <= 64 * 16
        assert min(found.cost) > 0
        assert min(found.tokenised_warm, found.tokenised_cold) > 0

    def test_cost_is_told_beside_that_of_the_fewest(self) -> None:
        few = growth.Grown(10, 100, 1.0, [1.0, 3.0, 2.0], [2**20, 2**21, 2**21], 5.0, 0.1)
        many = growth.Grown(20, 200, 4.0, [4.0, 4.0, 6.0, 6.0], [2**20, 2**20, 2**20, 2**22], 5.0, 0.1)
        rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in growth.table([few, many]).splitlines()[2:]]
        assert rows[0][:2] == ["10", "1.00"]
        assert rows[1] == ["20", "2.50", "2.00", "3.00", "1", "4", "5.0", "5.0 s", "0.10 s"]


class TestMethodsLearn:
    def test_every_method_has_learned(self) -> None:
        found = json.loads((RESULTS / "methods-learn.json").read_text())["methods"]
        assert {one["method"] for one in found} == set(methods.names())
        assert all(one["learned"] for one in found)

    def test_what_learns_is_told_from_what_does_not(self, tiny_folder: Path, easy_folder: Path) -> None:
        def learned(steps: int) -> methods_learn.Learned:
            return methods_learn.learn("fourierft", str(tiny_folder), str(easy_folder), steps, 2, lambda *_: None)

        long, none = learned(60), learned(1)
        assert long.learned
        assert long.loss_last < long.loss_first
        assert long.accuracy > 0.9
        assert not none.learned
        assert methods_learn.table([none]).splitlines()[-1].endswith("| NO        |")

    def test_the_same_command_makes_what_the_file_lacks(
        self, tiny_folder: Path, easy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[str] = []

        def at_once(engine: Any, work: str, name: str, *given: Any) -> Result:
            made.append(name)
            learned = methods_learn.Learned(name, methods.get(name).hyperparameters(), 1, 0.7, 0.5, 0.8, name != "lora")
            return Result(learned)

        monkeypatch.setattr(methods_learn.LocalEngine, "run", at_once)
        where = ["learn", "--encoder", str(tiny_folder), "--data", str(easy_folder), "--out", str(tmp_path / "learn.json")]
        for asked in (["full"], ["full", "bitfit"], ["bitfit"]):
            monkeypatch.setattr("sys.argv", [*where, *(f"--method={name}" for name in asked)])
            methods_learn.main()
        assert made == ["full", "bitfit"]
        monkeypatch.setattr("sys.argv", [*where, "--method=lora"])
        with pytest.raises(SystemExit, match="1"):
            methods_learn.main()
        kept = json.loads((tmp_path / "learn.json").read_text())["methods"]
        assert [one["method"] for one in kept] == ["lora", "full", "bitfit"]


def test_the_measurement_of_a_cluster_adds_up() -> None:
    """Two workers; after their first runs one does two in 126 s and one two in 154 s, and 3 s pass around each on average."""
    made = [run(seed=seed) for seed in range(6)]
    assert made[0].seconds is not None
    seconds = [made[0].seconds.model_copy(update={"outside": life}) for life in (70.0, 70.0, 60.0, 88.0, 60.0, 60.0)]
    lives = [record.model_copy(update={"seconds": each}) for record, each in zip(made, seconds, strict=True)]
    row = row_of("ray", 2, lives, [80.0, 80.0, 143.0, 169.0, 206.0, 234.0], 235.0)
    assert (row.runs, row.run_seconds, row.training_seconds) == (6, 60.0, 64.0)
    assert row.runs_an_hour == pytest.approx(3600 * (2 / 126 + 2 / 154))
    assert row.around_seconds == pytest.approx(3.0)
    with pytest.raises(ValueError, match="more runs at once than 2 workers"):
        row_of("ray", 2, lives, [80.0, 81.0, 82.0, 169.0, 206.0, 234.0], 235.0)
    lines = table([row]).splitlines()
    assert " ".join(lines[0].split()) == "way workers runs seconds runs an hour a run s around a run s training s"
    assert " ".join(lines[2].split()) == "ray 2 6 235.0 104 60.0 3.00 64.0"
