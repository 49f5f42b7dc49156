"""The views of a report: which tables each holds, in every format and width, inert, without what was not measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import methods
from bench.records.schema import Baseline, Record
from bench.report.options import View
from bench.report.render import VIEWS, render
from bench.report.tables.footnotes import notes
from bench.report.tables.markup import latex
from bench.report.tables.table import MOST_NOTES, MOST_WORDS, Note, Section, footnotes, terminal
from bench.system.errors import RecordError, SpecError
from tests.conftest import call
from tests.factories import HOSTILE, ORDER, ended, folder_of, hostile, one_group, run, trial
from tests.reports import check_latex, check_markdown


def everything() -> list[Record | Baseline]:
    slow = {"budget": run().spec.budget.model_copy(update={"amount": 240})}
    return [
        *(run(method, seed) for method in ORDER for seed in range(2)),
        *(run(method, seed, spec=slow) for method in ORDER for seed in range(2)),
        *(trial(method, 1.5e-3, 0.8) for method in ORDER),
    ]


def test_the_default_is_the_comparison_and_a_line_on_what_else_there_is_and_json_holds_all(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, *everything())
    text = render(folder, reference="houlsby", style="table")
    views = "pairs, confidence, curves, budgets, costs, tuning, all"
    assert text.splitlines()[-1] == f"Further views of these records, with --view: {views}"
    assert "Learning curves" not in text
    for style in ("markdown", "latex"):
        assert "Further views" not in render(folder, reference="houlsby", style=style)
    data = json.loads(render(folder, reference="houlsby", style="json", view="comparison"))
    houlsby = data["groups"][0]
    assert [mark["accuracy"] for mark in houlsby["curves"][0]["marks"]] == [0.8] * 4
    assert houlsby["curves"][0]["time_to_accuracy"][0]["reached"] == 2
    assert houlsby["costs"][0]["latency"][1]["overhead"] == 1
    assert data["sweeps"][0]["budgets"] == [60, 240]
    assert {row["method"] for row in data["tuning"][0]["methods"]} == set(ORDER)


def test_each_view_is_part_of_all_and_the_option_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path, *everything())
    for style in ("table", "markdown", "latex"):
        parts = [render(folder, reference="houlsby", style=style, view=view) for view in VIEWS]
        assert "\n\n\n".join(parts) == render(folder, reference="houlsby", style=style, view="all")
        assert len(set(parts)) == len(VIEWS)
    both = render(folder, reference="houlsby", style="table", view=["tuning", "curves"])
    assert both.index("Learning curves") < both.index("Tuning trials")
    assert [str(view) for view in View] == [*VIEWS, "all"]
    assert call(["report", "--results", str(folder), "--view", "curves", "--view", "costs"]) == 0
    wanted = render(folder, reference="houlsby", style="table", view=["curves", "costs"])
    assert capsys.readouterr().out == wanted + "\n"


def test_every_view_fits_a_terminal_and_a_table_that_does_not_is_a_list(tmp_path: Path) -> None:
    hours = [{"budget": run().spec.budget.model_copy(update={"amount": 3600 * (i + 1)})} for i in range(12)]
    folder = folder_of(tmp_path, *everything(), *(run(seed=seed, spec=spec) for spec in hours for seed in (0, 1)))
    for width in (40, 80, 100, 140):
        text = render(folder, reference="houlsby", style="table", view="all", width=width)
        assert max(len(line) for line in text.splitlines()) <= width
    headers = ["method", *(f"column\n{i}" for i in range(20))]
    text = terminal(Section("wide", headers, [["a", *(f"cell\n{i}" for i in range(20))]]), 80)
    assert text.splitlines()[2:] == ["a", *(f"  column {i}: cell {i}" for i in range(20))]


def test_under_a_table_stand_five_short_notes(tmp_path: Path) -> None:
    hours = [{"budget": run().spec.budget.model_copy(update={"amount": 3600 * (i + 1)})} for i in range(3)]
    many = [run(method, seed, wrong=100 if seed else 20, spec=spec) for spec in hours for method in ORDER for seed in (0, 1)]
    folder = folder_of(tmp_path, *everything(), *many, *(ended(method, "failed", "why " * 40, seed=7) for method in ORDER))
    text = render(folder, reference="houlsby", style="markdown", view="all")
    notes = [[line[2:] for line in table.splitlines() if line.startswith("- ")] for table in text.split("\n\n\n")]
    assert 3 < max(map(len, notes)) <= MOST_NOTES
    assert max(len(note.split()) for found in notes for note in found) == MOST_WORDS
    many_notes = [Note("kind", f"note {i}") for i in range(9)]
    assert footnotes(Section("", ["method"], [], many_notes)) == [f"note {i}" for i in range(MOST_NOTES)]


def test_latex_has_the_signs_of_mathematics() -> None:
    rows = [["a", "-1.50 (worse)"], ["b", "≤ 15.0 s"], ["c", "80.00 ±0.50"], ["-1 ≥", "+2.00"]]
    text = latex(Section("title", ["", ""], rows))
    for row in (r"a & $-1.50$ (worse)", r"b & $\leq$ 15.0 s", r"c & 80.00 $\pm$0.50", r"$-1$ $\geq$ & $+2.00$"):
        assert f"    {row} \\\\\n" in text


def test_a_view_without_anything_to_show(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, run())
    for view, what in (("budgets", "no runs that differ in the amount"), ("tuning", "no tuning trials")):
        with pytest.raises(RecordError, match=f"nothing to show as --view {view}: {what}"):
            render(folder, reference="houlsby", style="table", view=["comparison", view])
    assert "Costs of training" in render(folder, reference="houlsby", style="table", view="all")


def test_trials_alone_are_shown(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, trial("lora", 1.5e-3, 0.8))
    text = render(folder, reference="houlsby", style="table")
    assert text.startswith("Tuning trials · minilm on embedded-v1")
    assert "Further" not in text
    data = json.loads(render(folder, reference="houlsby", style="json"))
    assert (data["groups"], data["sweeps"]) == ([], [])
    assert data["tuning"][0]["methods"][0]["chosen_learning_rate"] == 0.0015
    with pytest.raises(RecordError, match="--view comparison: no runs, only tuning trials"):
        render(folder, reference="houlsby", style="table", view="comparison")
    with pytest.raises(SpecError, match="csv holds the comparison alone"):
        render(folder, reference="houlsby", style="csv")


# What stands in records


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
def test_names_from_records_are_inert_in_every_view(tmp_path: Path, text: str) -> None:
    folder = folder_of(tmp_path, *hostile(text))
    written = {
        style: render(folder, reference=text, style=style, view="all") for style in ("table", "markdown", "latex", "json")
    }
    for title in ("All pairs", "Confidence", "Learning curves", "Test accuracy by budget", "Costs of training", "Tuning"):
        assert f"\n{title}" in written["table"]
    for style in written.values():
        assert all(c.isprintable() or c == "\n" for c in style)
    assert max(len(line) for line in written["table"].splitlines()) <= 100
    check_markdown(written["markdown"])
    for table in written["markdown"].split("\n\n\n"):
        rows = [re.split(r"(?<!\\)\|", line) for line in table.splitlines() if line.startswith("|")]
        assert len(rows) > 2
        assert len({len(row) for row in rows}) == 1
    bare = check_latex(written["latex"])
    for table in bare.split(r"\end{table}")[:-1]:
        columns = len(re.search(r"\\begin\{tabular\}\{([lr]+)\}", table)[1])  # type: ignore[index]
        assert {line.count("&") + 1 for line in table.splitlines() if line.endswith("\\\\")} == {columns}


def test_rates_that_no_data_chose_are_said_unless_trials_chose_them() -> None:
    def said(rate: float, tuning: int | None = None) -> list[str]:
        spec = {"hyperparameters": {"learning_rate": rate}, "tuning": tuning}
        group = one_group(run(spec={"tuning": tuning}), run("vera", spec=spec))
        return [note for note in notes(group) if note.kind == "rates" and note.where == ("vera",)]

    default = methods.get("vera").learning_rate
    assert len(said(default)) == 1
    assert said(default, tuning=3) == said(default / 2) == []
