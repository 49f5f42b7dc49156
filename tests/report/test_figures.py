"""The figures: the numbers of the tables in them, no text on another, and no power to what stands in records."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import methods
from bench.analysis.budget_sweep import sweeps
from bench.analysis.comparison import Group
from bench.records.schema import Baseline, MemorySplit, Record
from bench.records.spec import Budget
from bench.report.figures import LACKING, drawings, forest, memory, of_group, scatter
from bench.report.figures import curves as curves_figure
from bench.report.figures import sweep as sweep_figure
from bench.report.figures.axes import Scale, lines_across, widen
from bench.report.figures.export import mark, picture
from bench.report.figures.figure import NARROW, PICTURE, Canvas, Drawing
from bench.report.figures.label_placement import AROUND, Box, Text, place_labels, spread
from bench.report.figures.marks import COLOURS, SHAPES, looks
from bench.report.figures.points import CUT, names
from bench.report.load import read
from bench.report.options import Figure
from bench.report.tables.budgets import sections
from bench.report.tables.columns import rows
from tests.conftest import call
from tests.factories import (
    HOSTILE,
    ORDER,
    baseline,
    counted,
    ended,
    folder_of,
    groups,
    hostile,
    learning,
    one_group,
    run,
    shared,
)
from tests.report.test_report import usual

SHORT = {"budget": Budget(amount=15, unit="seconds")}
SVG = "{http://www.w3.org/2000/svg}"
PLAIN = {"svg", "title", "desc", "g", "path", "text", "tspan", "rect", "line", "defs"}
"""What a drawing is made of, none of which runs or fetches anything."""


def swept() -> list[Record | Baseline]:
    wrong = {"houlsby": (40, 30, 22), "full": (50, 28, 20), "lora": (44, 33, 24)}
    return [
        run(method, seed, found + seed, spec={"budget": Budget(amount=amount, unit="seconds")})
        for method, each in wrong.items()
        for amount, found in zip((15, 60, 240), each, strict=True)
        for seed in range(2)
    ] + [baseline(22404)]


def one_of_each(records: list[Record | Baseline]) -> list[Drawing]:
    """The last drawing of each figure."""
    return list({drawing.figure: drawing for drawing in drawings(groups(*records)).values()}.values())


def found_in(spec: Any, key: str) -> Iterator[Any]:
    """Every value under a key, however deep."""
    if isinstance(spec, dict):
        yield from (value for name, value in spec.items() if name == key)
        yield from (found for value in spec.values() for found in found_in(value, key))
    elif isinstance(spec, list):
        yield from (found for value in spec for found in found_in(value, key))


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
    assert [point["x"] for point in scatter.means(group, scatter.MEMORY)] == [500, 300]
    assert [point["x"] for point in scatter.runs(group, scatter.MEMORY)] == [500, 500]


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


def barred(group: Group) -> list[list[str]]:
    """Whose intervals a forest draws."""
    drawing = forest.drawing(group, looks([]))
    assert drawing
    layers = [
        layer for layer in drawing.spec(PICTURE)["layer"] if layer["mark"]["type"] == "rule" and "x2" in layer["encoding"]
    ]
    return [[point["label"] for point in layer["data"]["values"]] for layer in layers]


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


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_nothing_on_the_front_is_beaten_and_all_else_is(found: list[tuple[int, int]]) -> None:
    points = [{"x": x, "accuracy": accuracy} for x, accuracy in found]
    kept = scatter.front(points)

    def beaten(point: dict[str, int]) -> bool:
        return any(
            other["x"] <= point["x"] and other["accuracy"] >= point["accuracy"]
            and (other["x"], other["accuracy"]) != (point["x"], point["accuracy"])
            for other in points
        )  # fmt: skip

    assert not any(map(beaten, kept))
    assert all(beaten(point) or point in kept for point in points)
    assert [point["x"] for point in kept] == sorted({point["x"] for point in kept})


# Places of texts


def test_names_of_points_that_almost_coincide_do_not() -> None:
    spots = [(200.0, 100.0), (212.0, 102.0), (195.0, 110.0), (30.0, 30.0), (515.0, 150.0)]
    texts = [Text(name, x, y, AROUND) for name, (x, y) in zip(ORDER, spots, strict=True)]
    frame, dots = Box(0, 0, 520, 340), [Box(x - 8, y - 8, x + 8, y + 8) for x, y in spots]
    boxes = [text.box(place, 15) for text, place in zip(texts, place_labels(texts, dots, frame, 15), strict=True)]
    for i, box in enumerate(boxes):
        assert not any(box.shared(other) for other in [*dots, *boxes[:i]])
        assert box.shared(frame) == pytest.approx(box.shared(box))


@given(st.lists(st.floats(0, 300), max_size=12))
def test_names_at_the_ends_of_lines_are_apart_and_in_order(wanted: list[float]) -> None:
    found = spread(wanted, 20, 300)
    placed = sorted(found)
    assert all(after - before >= 20 - 1e-6 for before, after in pairwise(placed))
    assert max(found, default=0) <= 300
    assert sorted(range(len(wanted)), key=lambda i: (wanted[i], i)) == sorted(range(len(found)), key=lambda i: found[i])


def test_names_are_short_harmless_and_different() -> None:
    found = names(["lora", "lora", "a\x1b", "a\u202e", "x" * 80, "x" * 81, ""])
    assert found[:2] == ["lora", "lora #2"]
    assert len(set(found)) == len(found)
    assert all(name.isprintable() and len(name) <= 43 for name in found)


def test_a_scale_is_what_it_is_in_vega() -> None:
    scale = widen([10, 1000], log=True)
    assert scale.share(100) == pytest.approx(0.5)
    assert scale.low < 10 < 1000 < scale.high
    assert scale.ticks() == [10, 100, 1000]
    assert Scale(2.0e5, 9.0e5, log=True).ticks() == [200_000, 500_000]
    assert Scale(20.0, 40.0).value(Scale(20.0, 40.0).share(33)) == pytest.approx(33)


# Specifications and pictures


@pytest.mark.parametrize("canvas", [PICTURE, NARROW], ids=["picture", "page"])
def test_specifications_are_valid_and_no_word_of_a_record_is_an_expression(canvas: Canvas) -> None:
    import altair as alt

    own = {"datum.dx", "datum.dy", "datum.align", "datum.baseline", "split(replace(datum.label, ')', ''), ' (')"}
    for drawing in [*one_of_each(hostile('datum.x"]; alert(1); ["')), *one_of_each(swept())]:
        spec = drawing.spec(canvas)
        alt.LayerChart.validate(spec)
        assert {*found_in(spec, "expr"), *found_in(spec, "labelExpr")} <= own
        for key in ("transform", "params", "url", "href", "test", "filter", "calculate"):
            assert not any(True for _ in found_in(spec, key))


def ugly(*more: str) -> list[Record | Baseline]:
    """One group in which every hostile word is a method, a setting, a name of the encoder and a reason."""
    words = [*HOSTILE, *more]
    named = [{"encoder": text, "hyperparameters": {"learning_rate": 0.001, "x": text}} for text in words]
    return [
        run(),
        *(run(text, 0, 20 + i, spec=spec) for i, (text, spec) in enumerate(zip(words, named, strict=True))),
        *(ended(text, "failed", text, seed=1, spec=spec) for text, spec in zip(words, named, strict=True)),
        baseline(22404),
    ]


def test_hostile_names_are_plain_text_in_a_picture() -> None:
    group = one_group(*ugly())
    made = of_group(group, looks(row.method for row in group.rows))
    assert [drawing.figure for drawing in made] == [figure for figure in LACKING if figure != "sweep"]
    for drawing in made:
        tree = ElementTree.fromstring(picture(drawing, "svg"))
        assert {element.tag.removeprefix(SVG) for element in tree.iter()} <= PLAIN
        said = [*tree.itertext(), *(value for element in tree.iter() for value in element.attrib.values())]
        assert all(text.replace("\n", "").isprintable() for text in said)
        assert not [name for element in tree.iter() for name in element.attrib if name.startswith("on") or "href" in name]


def test_a_picture_is_the_same_every_time_and_says_what_it_was_drawn_from() -> None:
    drawing = drawings(groups(*usual()))["forest-minilm-60s"]
    svg = picture(drawing, "svg")
    assert svg == picture(drawing, "svg")
    assert svg.decode().splitlines()[-1] == mark(drawing.spec(PICTURE))
    assert mark(drawing.spec(PICTURE)) != mark(replace(drawing, shared="other runs").spec(PICTURE))
    tree = ElementTree.fromstring(svg)
    texts = {text for element in tree.iter(f"{SVG}text") for text in [element.text]}
    assert {"Difference from houlsby", "houlsby", "pfeiffer", "full"} <= texts
    assert drawing.caption in tree.findtext(f"{SVG}desc", "")


def test_the_committed_figures_are_those_of_the_committed_records() -> None:
    results = Path(__file__).parents[2] / "results"
    compared, _ = read([results / "study-main"], "houlsby")
    expected = {f"{name}.svg": drawing for name, drawing in drawings(compared).items()}
    assert {path.name for path in (results / "figures").iterdir()} == set(expected), "run: make figures"
    for name, drawing in expected.items():
        last = (results / "figures" / name).read_text(encoding="utf-8").splitlines()[-1]
        assert last == mark(drawing.spec(PICTURE)), f"{name} is of other records; run: make figures"


# What the command writes


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "runs", *usual())


def report(runs: Path, *arguments: str) -> None:
    assert call(["report", "--results", str(runs), *arguments]) == 0


def test_a_file_gets_one_figure_and_a_folder_all(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(runs, "--format", "svg", "--out", str(tmp_path / "one.svg"))
    assert "Accuracy and trainable parameters" in (tmp_path / "one.svg").read_text()
    assert capsys.readouterr().out == f"{tmp_path / 'one.svg'}\n"
    report(runs, "--format", "svg", "--out", str(tmp_path / "all"))
    assert {path.name for path in (tmp_path / "all").iterdir()} == {
        f"{figure}-minilm-60s.svg" for figure in LACKING if figure != "sweep"
    }
    assert len(capsys.readouterr().out.splitlines()) == 6
    report(runs, "--format", "png", "--figure", "forest", "--out", str(tmp_path / "some"))
    (only,) = (tmp_path / "some").iterdir()
    assert only.read_bytes().startswith(b"\x89PNG\r\n")
    capsys.readouterr()
    report(runs, "--format", "svg", "--figure", "forest")
    assert ElementTree.fromstring(capsys.readouterr().out).tag == f"{SVG}svg"
