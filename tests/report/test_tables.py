"""The tables beside the comparison: learning curves, time to accuracy, costs, tuning trials, and the views that show them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import methods
from bench.analysis.costs import costs
from bench.analysis.learning_curves import LEVELS, PUBLISHED_LEVEL, at_marks, levels, marks, time_to
from bench.analysis.statistics import mean_half_width
from bench.analysis.tuning import sensitivities
from bench.records.schema import Baseline, Energy, Latency, MemorySplit, Parameters, Record
from bench.report.options import View
from bench.report.render import VIEWS, render
from bench.report.tables import costs as costs_tables
from bench.report.tables import curves as curves_tables
from bench.report.tables import tuning as tuning_tables
from bench.report.tables.footnotes import notes
from bench.report.tables.markup import latex
from bench.report.tables.table import MOST_NOTES, MOST_WORDS, Note, Section, footnotes, terminal
from bench.rules import MARKS, TUNING_SEED
from bench.system.errors import RecordError, SpecError
from tests.conftest import call
from tests.factories import HOSTILE, ORDER, ended, evaluation, folder_of, hostile, learning, one_group, run, trial
from tests.report.test_report import check_latex, check_markdown


def broken(method: str, rate: float, state: str) -> Record:
    spec = {"purpose": "trial", "hyperparameters": {"learning_rate": rate}}
    return ended(method, state, seed=TUNING_SEED, spec=spec)


def cells(section: Section) -> dict[str, dict[str, str]]:
    """Label → header → cell."""
    headers = [header.replace("\n", " ") for header in section.headers]
    return {row[0]: dict(zip(headers, (cell.replace("\n", " ") for cell in row), strict=True)) for row in section.rows}


# Learning curves


def test_a_curve_is_the_mean_over_seeds_at_each_mark() -> None:
    found = marks([learning(0.6, 0.7, 0.8, 0.9), learning(0.5, 0.7, 0.7, 0.8, seed=1, speed=1.2)])
    assert [mark.fraction for mark in found] == list(MARKS)
    assert [mark.accuracy for mark in found] == pytest.approx([0.55, 0.7, 0.75, 0.85])
    assert [mark.seconds for mark in found] == pytest.approx([16.5, 33, 49.5, 66])
    assert [mark.reviews for mark in found] == [400, 800, 1200, 1600]


def test_a_mark_that_one_seed_lacks_has_no_mean_and_a_head_stands_at_the_last() -> None:
    found = marks([learning(0.6, 0.7, 0.8, 0.9), learning(0.5, 0.7, seed=1)])
    assert [mark.accuracy for mark in found] == [pytest.approx(0.55), pytest.approx(0.7), None, None]
    assert [mark.accuracy for mark in marks([])] == [None] * 4
    whole = learning(0.6, 0.7, 0.8, 0.9)
    assert whole.training
    last = whole.training.curve[-1:]
    head = whole.model_copy(update={"training": whole.training.model_copy(update={"curve": last})})
    assert [mark.accuracy for mark in marks([head])] == [None, None, None, 0.9]
    assert at_marks(last) == {1.0: last[0]}
    assert list(at_marks(whole.training.curve[:2])) == [0.25, 0.5]


def test_time_to_accuracy_is_the_first_mark_at_or_above_it() -> None:
    # What falls again was reached all the same.
    found = time_to([learning(0.6, 0.8, 0.7, 0.9)], 0.8)
    assert (found.seconds, found.reviews, found.reached, found.runs) == (30, 800, 1, 1)


@pytest.mark.parametrize(
    ("bests", "seconds", "reached"),
    [
        ([15, 30, 60], 30, 3),
        ([15, 60, None], 60, 2),
        ([15, None, None], None, 1),
        ([15, 45], 30, 2),
        ([15, None], None, 1),
        ([None], None, 0),
        ([], None, 0),
    ],
)
def test_a_seed_that_never_had_it_is_later_than_all_others(
    bests: list[int | None], seconds: float | None, reached: int
) -> None:
    runs = [
        learning(*[0.9 if best is not None and 60 * mark >= best else 0.5 for mark in MARKS], seed=seed)
        for seed, best in enumerate(bests)
    ]
    found = time_to(runs, 0.85)
    assert (found.seconds, found.reached, found.runs) == (seconds, reached, len(bests))


def test_the_published_accuracy_is_timed_for_encoders_of_its_size_alone() -> None:
    base = Parameters(body=226_080, head=770, total=110_000_000, closed_form=226_080)
    assert levels(one_group(run())) == LEVELS
    assert levels(one_group(run(parameters=base))) == (*LEVELS, PUBLISHED_LEVEL)
    assert "94.16 %" in str(curves_tables.sections(one_group(run(parameters=base)))[1].headers)


def test_the_tables_of_curves() -> None:
    group = one_group(
        *(learning(0.7, 0.78, 0.81, 0.86 if seed < 2 else 0.84, seed=seed) for seed in range(3)),
        learning(0.5, 0.6, 0.7, 0.76, method="lora", speed=2),
        learning(0.5, 0.6, 0.7, 0.74, method="full"),
        ended("pfeiffer", "failed"),
        learning(method="head-only"),
    )
    curve, timed = map(cells, curves_tables.sections(group))
    assert list(curve) == ["houlsby", "lora", "full"]
    assert curve["houlsby"]["at 75 %"] == "81.00 (45.0 s)"
    assert curve["lora"]["at 100 %"] == "76.00 (120 s)"
    assert timed["houlsby"]["time to 75 %"] == "≤ 30.0 s"
    assert timed["houlsby"]["time to 85 %"] == "≤ 60.0 s (2 of 3)"
    assert timed["lora"]["time to 75 %"] == "≤ 120 s"
    assert timed["lora"]["reviews by then"] == ""  # those of the last level, which it never had
    assert timed["full"]["time to 75 %"] == "not reached"
    # The standard error of 80 % on 500 validation reviews is 1.8 points.
    assert "of one of 80 %: 1.8 points" in curves_tables.sections(group)[0].notes[0].text
    assert curves_tables.sections(one_group(learning(), ended("lora", "failed"))) == []


# Costs


def test_costs_are_medians_over_seeds() -> None:
    def made(seed: int, factor: int) -> Record:
        split = MemorySplit(weights=100 * 2**20, gradients=2**20, optimizer=2 * 2**20, activations=factor * 2**20)
        memory = run().memory
        assert memory
        return run(
            seed=seed, memory=memory.model_copy(update={"split": split}), bytes_to_ship=factor * 1024,
            latency=[Latency(batch=1, milliseconds=10 + factor, bare_milliseconds=10, merged_milliseconds=10)],
            energy=Energy(joules=100 * factor, source="a counter"), out_of_domain=evaluation(40 + seed),
        )  # fmt: skip

    group = one_group(*(made(seed, factor) for seed, factor in enumerate((1, 2, 9))))
    found = costs(group.rows[0])
    assert found.memory_bytes
    assert (found.memory_bytes["activations"], found.bytes_to_ship, found.energy_joules) == (2 * 2**20, 2048, 200)
    training, use = costs_tables.sections(group)
    assert cells(training)["houlsby"] | {"device seconds": ""} == {
        "method": "houlsby", "weights MiB": "100", "gradients MiB": "1.0", "optimizer MiB": "2.0", "activations MiB": "2.0",
        "energy J": "200", "device seconds": "",
    }  # fmt: skip
    half = mean_half_width([0.8, 0.795, 0.79])
    assert half == pytest.approx(4.302653 * 0.005 / 3**0.5)
    assert cells(use)["houlsby"] == {
        "method": "houlsby", "to ship": "2.0 KiB", "latency ms batch 1": "12.0 (+20 %)", "merged ms batch 1": "10.0",
        "out-of-domain accuracy %": f"79.50 ±{100 * half:.2f}",
    }  # fmt: skip
    assert any("by a counter" in note.text for note in training.notes)


def test_what_no_run_measured_is_named_and_takes_no_column() -> None:
    memory = run().memory
    assert memory
    old: dict[str, Any] = {
        "latency": None, "energy": None, "out_of_domain": None, "memory": memory.model_copy(update={"split": None})
    }  # fmt: skip
    training, use = costs_tables.sections(one_group(run(**old), run("lora", **old)))
    assert list(cells(training)["lora"]) == ["method", "device seconds"]
    assert training.notes[-1].text == "Not measured: weights MiB; gradients MiB; optimizer MiB; activations MiB; energy J."
    assert use.notes[-1].text == "Not measured: latency ms batch 1; latency ms batch 32; out-of-domain accuracy %."
    # One that has them gives the others a dash.
    training, use = costs_tables.sections(one_group(run(), run("lora", **old)))
    assert cells(training)["lora"]["weights MiB"] == "–"
    assert cells(use)["lora"]["latency ms batch 32"] == "–"
    assert cells(use)["houlsby"]["latency ms batch 32"] == "64.0 (+100 %)"


def test_the_accuracy_without_leaks_is_shown_where_there_are_leaks() -> None:
    _, clean = costs_tables.sections(one_group(run()))
    _, leaked = costs_tables.sections(one_group(run(wrong=20, leaked=(0, 1))))
    header = "accuracy % without leaked"
    assert header not in cells(clean)["houlsby"]
    assert cells(leaked)["houlsby"][header] == "90.91"


# Tuning trials


def test_trials_stand_at_the_rates_that_the_method_declares() -> None:
    (found,) = sensitivities(
        [
            trial("lora", 1.5e-3, 0.70), trial("lora", 5e-3, 0.80), broken("lora", 1.5e-2, "diverged"),
            trial("houlsby", 5e-4, 0.9), trial("houlsby", 1.5e-3, 0.9), trial("houlsby", 5e-3, 0.9),
            run(), run("lora"),
        ],
        ORDER,
    )  # fmt: skip
    shown = cells(tuning_tables.section(found))
    assert list(shown) == ["houlsby", "lora"]
    assert list(shown["lora"].values())[1:4] == ["0.0015: 70.00", "0.005: 80.00 *", "0.015: no accuracy, collapsed"]
    # A tie goes to the default.
    assert list(shown["houlsby"].values())[1:4] == ["0.0005: 90.00", "0.0015: 90.00 *", "0.005: 90.00"]
    assert shown["houlsby"]["device s of tuning"] == "192 s"
    # What the diverged trial took is not known.
    assert shown["lora"]["device s of tuning"] == "≥ 128 s"
    (note,) = (note for note in tuning_tables.section(found).notes if note.kind == "state")
    assert note.text == "Not complete: lora at 0.015, diverged (why it ended)."


def test_rates_that_are_not_declared_stand_apart() -> None:
    (found,) = sensitivities([trial("lora", 0.7, 0.8), trial("lora", 1.5e-3, 0.7), trial("unheard-of", 0.1, 0.6)], ORDER)
    shown = cells(tuning_tables.section(found))
    assert shown["lora"]["other rates rate: %"] == "0.7: 80.00 *"
    assert shown["unheard-of"]["other rates rate: %"] == "0.1: 60.00 *"


def test_trials_of_other_groups_stand_apart_and_count_once() -> None:
    late = trial("lora", 1.5e-3, 0.6, finished="2026-02-02T00:00:00+00:00")
    long = learning(
        0.5, method="lora", seed=TUNING_SEED, test=None,
        spec={"purpose": "trial", "max_length": 256, "hyperparameters": {"learning_rate": 1.5e-3}},
    )  # fmt: skip
    found = sensitivities([trial("lora", 1.5e-3, 0.8), late, long], ORDER)
    assert sorted(len(row.trials) for one in found for row in one.methods) == [1, 1]
    assert {own.finished for one in found for row in one.methods for own in row.trials} == {late.finished, long.finished}


# Views


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
