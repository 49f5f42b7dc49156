"""The figures: which there are, their colours and shapes, and the numbers of the tables in them."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

import methods
from bench.records.schema import Record
from bench.records.spec import Budget
from bench.report.figures import LACKING, drawings, of_group, scatter
from bench.report.figures import curves as curves_figure
from bench.report.figures.axes import lines_across
from bench.report.figures.figure import PICTURE
from bench.report.figures.marks import COLOURS, SHAPES, looks
from bench.report.figures.points import CUT
from bench.report.options import Figure
from bench.report.tables.columns import rows
from tests.factories import ORDER, baseline, counted, ended, groups, one_group, run, shared
from tests.reports import found_in, one_of_each, swept, usual

SHORT = {"budget": Budget(amount=15, unit="seconds")}


# Which figures there are


def test_every_figure_of_the_option_exists_under_a_name_of_its_own() -> None:
    assert {*LACKING, "all"} == set(get_args(Figure))
    found = drawings(groups(*swept()))
    assert {drawing.figure for drawing in found.values()} == set(LACKING)
    assert "sweep-minilm" in found
    assert {name for name in found if name.startswith("forest")} == {f"forest-minilm-{b}s" for b in (15, 60, 240)}
    found = drawings(groups(run(), run("lora"), run(spec={"max_length": 256}), run("lora", spec={"max_length": 256})))
    assert [name for name in found if name.startswith("curves")] == ["curves-minilm-60s", "curves-minilm-60s-2"]


def test_a_figure_without_anything_to_show_is_not_there() -> None:
    bare = {"training": None, "memory": None}
    found = {drawing.figure for drawing in of_group(one_group(run(**bare), ended("lora", "failed")), looks([]))}
    assert found == {"accuracy-parameters"}
    assert not of_group(one_group(ended("houlsby", "failed")), looks([]))
    assert not list(drawings([]))


# Colours and shapes


def test_the_five_methods_of_the_comparison_keep_their_looks_and_no_two_look_alike() -> None:
    found = looks(["of-another-machine", "lora"])
    assert list(found)[:5] == ORDER
    assert [found[name].colour for name in ORDER] == list(COLOURS[:5])
    assert found["of-another-machine"] == looks(["of-another-machine"])["of-another-machine"]
    assert list(found)[-1] == "of-another-machine"
    assert looks([]).keys() == set(methods.names())
    found = looks(f"method-{i:02}" for i in range(len(COLOURS) * len(SHAPES) - len(methods.names())))
    assert len({(look.colour, look.shape) for look in found.values()}) == len(found) == 56


def test_lines_of_one_colour_differ_in_their_dashes() -> None:
    found = looks([])
    other = next(name for name, look in found.items() if name != "houlsby" and look.colour == found["houlsby"].colour)
    assert len({(look.colour, look.dash) for look in found.values()}) == len(found)
    drawing = next(d for d in of_group(one_group(run(), run(other)), found) if d.figure == "curves")
    scales = [dash["scale"] for dash in found_in(drawing.spec(PICTURE), "strokeDash") if isinstance(dash, dict)]
    assert scales
    for scale in scales:
        assert dict(zip(scale["domain"], map(tuple, scale["range"]), strict=True)) == {
            "houlsby": found["houlsby"].dash, other: found[other].dash,
        }  # fmt: skip


def test_a_method_looks_the_same_in_every_figure() -> None:
    expected = looks([])
    for drawing in one_of_each(swept()):
        for scale in (color["scale"] for color in found_in(drawing.spec(PICTURE), "color") if isinstance(color, dict)):
            if "houlsby" in scale["domain"]:
                assert scale["range"] == [expected[name].colour for name in scale["domain"]]


# Numbers


def test_points_are_the_means_of_the_table_and_the_runs_beside_them() -> None:
    group = one_group(*usual())
    points, single = scatter.means(group, scatter.PARAMETERS), scatter.runs(group, scatter.PARAMETERS)
    table = [row for row in rows(group) if row.role in {"reference", "method"}]
    assert [point["label"] for point in points] == [line.label for line in table]
    for point, line, row in zip(points, table, group.rows, strict=True):
        assert point["accuracy"] == pytest.approx(100 * (line.accuracy or 0))
        assert point["x"] == (line.body or 0) + (line.head or 0)
        assert point["high"] - point["accuracy"] == pytest.approx(100 * (line.accuracy_half_width or 0))
        assert point["runs"] == [record.run_id for record in row.runs]
    by_run = {point["runs"][0]: point["accuracy"] for point in single}
    several = [record for row in group.rows if len(row.runs) > 1 for record in row.runs]
    assert by_run == {record.run_id: pytest.approx(100 * record.test.accuracy) for record in several if record.test}


def test_memory_is_what_the_comparison_counts() -> None:
    measured = run().memory
    assert measured
    on_gpu = measured.model_copy(update={"cuda_reserved": 500 * 2**20, "cuda_allocated": 400 * 2**20})
    group = one_group(run(memory=on_gpu), run(seed=1, memory=on_gpu), run("lora"))
    assert [point["x"] for point in scatter.means(group, scatter.MEMORY)] == [400, 300]
    assert [point["x"] for point in scatter.runs(group, scatter.MEMORY)] == [400, 400]


def test_time_is_that_of_a_calibration_or_of_clocks_that_were_alone() -> None:
    calibrated = one_group(shared(), shared("lora", tokens=800_000, low=0.9))
    drawing = scatter.drawing(calibrated, looks([]), scatter.time(calibrated))
    assert drawing
    points = scatter.means(calibrated, scatter.time(calibrated) or scatter.MEMORY)
    assert [(point["x"], point["left"], point["right"]) for point in points][1] == (1.25, 0.9, pytest.approx(1.2625))
    timed = one_group(run(), run("lora"))
    cost = scatter.time(timed)
    assert cost
    assert [point["x"] for point in scatter.means(timed, cost)] == [40, 40]
    seconds = run().seconds
    assert seconds
    # It took 90 s where its calibration expects 60: the clock of no run in its table is drawn.
    late = seconds.model_copy(update={"charged": 90.0})
    plain = next(g for g in groups(shared(seconds=late), counted("full")) if "reference" not in g.key.budget)
    assert scatter.time(replace(plain, rows=[replace(row, conversion=None) for row in plain.rows])) is None
    said = [point["says"] for point in curves_figure.means(plain)]
    assert not any(", 64.0 s," in words for words in said)


def test_collapsed_runs_are_named_in_every_figure() -> None:
    group = one_group(run(), run(seed=1), run("lora"), run("lora", 1, wrong=100))
    for drawing in of_group(group, looks([])):
        assert "lora on seed 1 (50 % [1.3, 98.7])" in drawing.caption
        assert "lora on seed 1" in drawing.key


def test_baselines_of_several_seeds_are_one_line_and_one_row() -> None:
    records = [*seeing(9000, 9100), run("lora"), run("lora", 1), baseline(22404, 30), baseline(9000, 36), baseline(9100, 44)]
    group = one_group(*records)
    assert len(group.baselines) == 3
    of_all, alike, published = lines_across(group, PICTURE)
    assert alike["accuracy"] == pytest.approx(80)
    assert set(alike["runs"]) == {found.run_id for found in group.baselines[1:]}
    assert alike["text"] == "baseline, 9,050 reviews, mean of 2: 80.00"
    assert "on 9,050 reviews, mean of 2, without an encoder: 80.00 %" in alike["says"]
    assert (of_all["text"], len(of_all["runs"])) == ("baseline, 22,404 reviews: 85.00", 1)
    assert lines_across(group, PICTURE, equal=False) == [of_all, published]
    row = rows(group)[-2]
    assert row.label.endswith("as many reviews as the reference, mean of 2")
    assert (row.accuracy, row.reviews_seen, row.accuracy_difference) == (pytest.approx(0.8), 9050, pytest.approx(-0.1))
    assert [row.role for row in rows(group)].count("baseline") == 2


def seeing(*reviews: int) -> list[Record]:
    """The reference over as many seeds, each of which saw so many different reviews."""
    training = run().training
    assert training
    each = [training.model_copy(update={"reviews_distinct": seen}) for seen in reviews]
    return [run(seed=seed, training=found) for seed, found in enumerate(each)]


def test_captions_name_no_line_or_interval_that_is_not_there() -> None:
    for records, said in (
        ([], "across: the published"),
        ([baseline(22404)], "across: the baseline without an encoder, and the pub"),
    ):
        single = [*records, run(), run("lora"), run(spec=SHORT), run("lora", spec=SHORT)]
        drawn = {drawing.figure: drawing for drawing in drawings(groups(*single)).values()}
        for name in ("accuracy-parameters", "accuracy-memory", "sweep"):
            assert said in drawn[name].caption
            assert "One run each." in drawn[name].caption
            assert "interval" not in drawn[name].caption + drawn[name].key
    assert "across: baselines without an encoder, and" in of_group(one_group(*usual()), looks([]))[3].caption
    several = next(drawing for drawing in one_of_each(swept()) if drawing.figure == "sweep")
    assert all("95 % interval over seeds" in said for said in (several.caption, several.key))


def test_intervals_end_where_accuracies_do() -> None:
    apart = one_group(run(wrong=70), run(seed=1, wrong=20), run(seed=2, wrong=18), run("lora"), run("lora", 1))
    half = apart.rows[0].accuracy_half_width
    assert half is not None
    assert (apart.rows[0].accuracy or 0) + half > 1
    for cost in (scatter.PARAMETERS, scatter.MEMORY):
        point = scatter.means(apart, cost)[0]
        assert 0 <= point["low"] < point["accuracy"] < point["high"] == 100
        drawing = scatter.drawing(apart, looks([]), cost)
        assert drawing
        assert CUT in drawing.caption
        assert CUT in drawing.key
        tops = [scale["domain"][1] for y in found_in(drawing.spec(PICTURE), "y") if (scale := y.get("scale"))]
        assert tops
        assert max(tops) <= 100
    usual_drawing = scatter.drawing(one_group(*usual()), looks([]), scatter.PARAMETERS)
    assert usual_drawing
    assert CUT not in usual_drawing.caption


def test_the_front_is_said_to_be_one_of_estimates() -> None:
    group = one_group(*usual())
    costs = (
        (scatter.PARAMETERS, "mean accuracy"),
        (scatter.MEMORY, "accuracy and median memory"),
        (scatter.time(group), "speed"),
    )
    for cost, middle in costs:
        drawing = scatter.drawing(group, looks([]), cost)
        assert drawing
        for said in (drawing.caption, drawing.key):
            assert "unresolved" in said
            assert f"{middle} over seeds" in said


def test_figures_say_what_stands_beside_the_numbers_in_tables() -> None:
    group = one_group(*usual(), ended("lora", "out-of-memory"), ended("lora", "failed", seed=1))
    made = of_group(group, looks([]))
    assert len(made) == 6
    for drawing in made:
        for said in (drawing.caption, drawing.key):
            assert "Without a number here: lora (1 failed, 1 out-of-memory)." in said
    assert not any("Without a number" in drawing.key for drawing in of_group(one_group(run(), run("lora")), looks([])))
    unmeasured = of_group(one_group(run(), run("lora", memory=None)), looks([]))
    assert ["Without a number here: lora." in drawing.key for drawing in unmeasured] == [False, False, True, False, False, True]
    records = [run(), run(spec=SHORT), run("lora"), ended("lora", "failed", spec=SHORT)]
    (drawing,) = (found for found in drawings(groups(*records)).values() if found.figure == "sweep")
    assert "Without a number here: lora at 15 s (1 failed)." in drawing.key
