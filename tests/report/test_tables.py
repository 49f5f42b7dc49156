"""The tables beside the comparison: learning curves, time to accuracy, costs and tuning trials."""

from __future__ import annotations

from typing import Any

import pytest

from bench.analysis.costs import costs
from bench.analysis.learning_curves import LEVELS, PUBLISHED_LEVEL, at_marks, levels, marks, time_to
from bench.analysis.statistics import mean_half_width
from bench.analysis.tuning import sensitivities
from bench.records.schema import Energy, Latency, MemorySplit, Parameters, Record
from bench.report.tables import costs as costs_tables
from bench.report.tables import curves as curves_tables
from bench.report.tables import tuning as tuning_tables
from bench.report.tables.table import Section
from bench.rules import MARKS, TUNING_SEED
from tests.factories import ORDER, ended, evaluation, learning, one_group, run, said, trial


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
    assert shown["lora"]["other rate: %"] == "0.7: 80.00 *"
    assert shown["unheard-of"]["other rate: %"] == "0.1: 60.00 *"


def test_trials_of_other_groups_stand_apart_and_count_once() -> None:
    late = trial("lora", 1.5e-3, 0.6, finished="2026-02-02T00:00:00+00:00")
    long = learning(
        0.5, method="lora", seed=TUNING_SEED, test=None,
        spec={"purpose": "trial", "max_length": 256, "hyperparameters": {"learning_rate": 1.5e-3}},
    )  # fmt: skip
    found = sensitivities([trial("lora", 1.5e-3, 0.8), late, long], ORDER)
    assert sorted(len(row.trials) for one in found for row in one.methods) == [1, 1]
    assert {own.finished for one in found for row in one.methods for own in row.trials} == {late.finished, long.finished}


def test_with_cuda_graphs_a_note_has_what_was_reserved_for_them() -> None:
    measured = run().memory
    assert measured
    held = measured.model_copy(update={"cuda_allocated": 400 * 2**20, "cuda_reserved": 500 * 2**20})
    graphs = run(memory=held, spec={"kernels": "graphs", "device": "cuda"})
    assert "reserved up to 500 MiB" in said(one_group(graphs))["memory"]
    assert "memory" not in said(one_group(run(memory=held, spec={"device": "cuda"})))
    assert "memory" not in said(one_group(ended("lora", "failed", memory=None, spec={"kernels": "graphs", "device": "cuda"})))
