"""Pictures: names that do not overlap, scales, valid specifications, words that are inert, and the files that are written."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.figures import LACKING, drawings, of_group, scatter
from bench.report.figures.axes import Scale, widen
from bench.report.figures.export import mark, picture
from bench.report.figures.figure import NARROW, PICTURE, Canvas
from bench.report.figures.label_placement import AROUND, Box, Text, place_labels, spread
from bench.report.figures.marks import looks
from bench.report.figures.points import names
from bench.report.load import read
from tests.conftest import call
from tests.factories import ORDER, folder_of, groups, hostile, one_group
from tests.reports import PLAIN, SVG, found_in, one_of_each, swept, ugly, usual


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
