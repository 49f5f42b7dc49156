"""What each figure shows: the forest, curves, parts of memory and the sweep over budgets."""

from __future__ import annotations

import pytest

from bench.analysis.budget_sweep import sweeps
from bench.analysis.comparison import Group
from bench.records.schema import MemorySplit
from bench.records.spec import Budget
from bench.report.figures import curves as curves_figure
from bench.report.figures import forest, memory
from bench.report.figures import sweep as sweep_figure
from bench.report.figures.figure import NARROW, PICTURE
from bench.report.figures.marks import looks
from bench.report.tables.budgets import sections
from tests.factories import groups, learning, one_group, run
from tests.reports import found_in, swept, usual


def barred(group: Group) -> list[list[str]]:
    """Whose intervals a forest draws."""
    drawing = forest.drawing(group, looks([]))
    assert drawing
    layers = [
        layer for layer in drawing.spec(PICTURE)["layer"] if layer["mark"]["type"] == "rule" and "x2" in layer["encoding"]
    ]
    return [[point["label"] for point in layer["data"]["values"]] for layer in layers]


def test_one_seed_has_no_bar_and_that_is_said() -> None:
    group = one_group(
        *(run(seed=seed, wrong=20 + seed) for seed in range(3)), *(run("lora", s, 24 + s) for s in range(3)), run("full")
    )
    assert barred(group) == [["lora"]]
    drawing = forest.drawing(group, looks([]))
    assert drawing
    for said in (drawing.key, drawing.caption):
        assert "Bars: 95 % interval of each difference taken alone, over seeds and reviews." in said
        assert "No bar: one seed, so no interval." in said
    assert barred(one_group(run(), run("lora"))) == []
    alone = forest.drawing(one_group(run(), run("lora")), looks([]))
    assert alone
    assert alone.key == "No bar: one seed, so no interval."
    assert barred(one_group(run(), run(seed=1), run("lora"), run("lora", 1, 30))) == [["lora"]]


def test_texts_of_the_forest_are_inside_it_and_not_on_its_line() -> None:
    group = one_group(
        run(wrong=30), run(seed=1, wrong=30), run("lora", 0, 20), run("lora", 1, 22), run("full", 0, 60), run("full", 1, 62)
    )
    drawing = forest.drawing(group, looks([]))
    assert drawing
    for canvas in (PICTURE, NARROW):
        (layer,) = (layer for layer in drawing.spec(canvas)["layer"] if layer["mark"]["type"] == "text")
        low, high = layer["encoding"]["x"]["scale"]["domain"]
        assert [point["label"] for point in layer["data"]["values"]] == ["lora", "full"]
        for point in layer["data"]["values"]:
            at, zero = (canvas.width * (value - low) / (high - low) for value in (point["x"], 0))
            width = 0.5 * (canvas.text - 1) * len(point["said"])
            left = at + point["dx"] - {"left": 0, "center": width / 2, "right": width}[point["align"]]
            assert left >= 0
            assert left + width <= canvas.width
            assert not left < zero < left + width


def test_the_forest_is_the_verdicts_of_the_comparison() -> None:
    group = one_group(*usual())
    found = forest.differences(group)
    assert [point["label"] for point in found] == [row.label for row in group.rows]
    assert (found[0]["x"], found[0]["said"]) == (0, "reference")
    for point, row in zip(found[1:], group.rows[1:], strict=True):
        assert row.paired
        assert point["x"] == pytest.approx(100 * (row.accuracy_difference or 0))
        if row.paired.low is not None and row.paired.high is not None:
            assert (point["low"], point["high"]) == pytest.approx((100 * row.paired.low, 100 * row.paired.high))
        assert point["said"].endswith(row.paired.verdict)


def test_a_curve_has_its_means_and_its_runs() -> None:
    group = one_group(
        learning(0.6, 0.7, 0.8, 0.9), learning(0.7, 0.7, 0.8, 0.8, seed=1), learning(0.5, 0.6, 0.7, 0.8, method="lora")
    )
    points = curves_figure.means(group)
    assert [(point["x"], point["y"]) for point in points if point["label"] == "houlsby"] == [
        (25, pytest.approx(65)), (50, pytest.approx(70)), (75, pytest.approx(80)), (100, pytest.approx(85)),
    ]  # fmt: skip
    assert len(curves_figure.runs(group)) == 8


def test_parts_of_memory_follow_each_other_and_add_up() -> None:
    found = memory.parts(one_group(run(), run("lora")))
    assert [point["part"] for point in found[:4]] == ["weights", "gradients", "optimizer state", "activations, rest"]
    assert [point["from"] for point in found[:4]] == [0, *(point["to"] for point in found[:3])]
    assert found[3]["to"] == pytest.approx(300)


def test_parts_of_memory_are_of_what_they_add_up_to_and_a_split_of_nothing_is_drawn() -> None:
    measured = run().memory
    assert measured
    on_gpu = measured.model_copy(update={"cuda_reserved": 500 * 2**20, "cuda_allocated": 300 * 2**20})
    for held, said in ((measured, "peak above the baseline"), (on_gpu, "peak of torch's allocations on the GPU")):
        drawing = memory.drawing(one_group(run(memory=held), run("lora", memory=held)))
        assert drawing
        assert f"Medians over seeds of the {said}." in drawing.caption
        titles = {x.get("title") for x in found_in(drawing.spec(PICTURE), "x") if isinstance(x, dict) and "field" in x}
        assert titles == {f"{said}, MiB"}
    nothing = measured.model_copy(update={"split": MemorySplit(weights=0, gradients=0, optimizer=0, activations=0)})
    drawing = memory.drawing(one_group(run(memory=nothing)))
    assert drawing
    assert drawing.spec(PICTURE)["layer"]


def test_the_sweep_has_every_budget_and_a_crossing_is_told_as_the_table_tells_it() -> None:
    (sweep,) = sweeps(groups(*swept()))
    found = sweep_figure.means(sweep)
    assert [(point["label"], point["x"]) for point in found[:3]] == [("houlsby", 15), ("houlsby", 60), ("houlsby", 240)]
    assert found[0]["y"] == pytest.approx(100 * (sweep.groups[0].rows[0].accuracy or 0))
    drawing = sweep_figure.drawing(sweep, looks([]))
    assert drawing
    assert ("cross at about" in drawing.caption) == any(crossing.at is not None for crossing in sweep.crossings)
    wrong = {"houlsby": (60, 20), "full": (20, 60)}
    records = [
        run(method, seed, found + seed % 2, spec={"budget": Budget(amount=amount, unit="steps")})
        for method, each in wrong.items()
        for amount, found in zip((1000, 2000), each, strict=True)
        for seed in range(4)
    ]
    (sweep,) = sweeps(groups(*records))
    drawing = sweep_figure.drawing(sweep, looks([]))
    assert drawing
    said = " cross at about 1,400 steps."
    assert f"full and houlsby{said}" in drawing.caption
    assert any(note.text.endswith(said) for section in sections(sweep) for note in section.notes)
    assert drawing.shared in sections(sweep)[0].title
