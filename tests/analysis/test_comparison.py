"""What may be compared, and how methods stand beside the reference."""

from __future__ import annotations

from typing import Any

import pytest

from bench.records.schema import Choice, DataCut, Parameters, Record, pack_bits, unpack_bits
from bench.records.spec import Budget
from bench.report.tables.columns import rows
from bench.report.tables.comparison import as_json, sentences
from bench.report.tables.footnotes import notes, title
from bench.report.tables.formatting import run_line, seed_list
from tests.factories import DATA, MACHINE, baseline, ended, groups, one_group, run, said


def test_means_and_differences_are_paired_by_seed() -> None:
    group = one_group(run(seed=0, wrong=20), run(seed=1, wrong=40), run("lora", 1, 30), run("lora", 0, 10))
    houlsby, lora = group.rows
    assert group.reference is houlsby
    assert (houlsby.accuracy, houlsby.accuracy_difference) == (pytest.approx(0.85), 0)
    assert (lora.accuracy, lora.accuracy_difference) == (pytest.approx(0.9), pytest.approx(0.05))
    assert lora.f1_difference == pytest.approx(0.05)
    assert lora.seeds == [0, 1]
    assert (lora.memory, lora.reviews_seen, lora.reviews_per_second) == (300 * 2**20, 1600, 25)
    assert "incomplete" not in said(group)


def test_only_shared_seeds_enter_a_difference_and_unequal_seeds_are_said() -> None:
    # Over all its seeds lora would stand 5 points above; on the one seed that both have it stands 5 below.
    group = one_group(run(seed=0, wrong=20), run("lora", 0, 30), run("lora", 1, 0), run("pfeiffer", 2, 0))
    _, pfeiffer, lora = group.rows
    assert lora.accuracy_difference == pytest.approx(-0.05)
    assert pfeiffer.accuracy_difference is None
    assert "having seed 0: pfeiffer lacks 0 and has 2 more; lora has 1 more" in said(group)["incomplete"]
    assert [row["verdict"] for row in as_json(group)][:3] == [
        "",
        "incomplete on none of seeds 0, 2",
        "incomplete on seeds 0 of 0, 1",
    ]


def test_order_is_reference_then_registry_then_name() -> None:
    names = ("zeta", "full", "alpha", "lora", "houlsby", "pfeiffer")
    group = one_group(*(run(name) for name in names), reference="lora")
    assert [row.method for row in group.rows] == ["lora", "houlsby", "pfeiffer", "full", "alpha", "zeta"]


APART: list[dict[str, Any]] = [
    {"environment": MACHINE.model_copy(update={"device": "Another CPU"})},
    {"spec": {"budget": Budget(amount=600, unit="seconds")}},
    {"spec": {"budget": Budget(amount=60, unit="steps")}},
    {"encoder": run().encoder.model_copy(update={"sha256": "f" * 64})},
    {"rules_version": 2},
    {"data": DATA.model_copy(update={"cut": "embedded-v2"})},
    {"data": DATA.model_copy(update={"sha256": "f" * 64})},
    {"spec": {"test_limit": 100}},
    {"spec": {"memory_cap": 2**30}},
    {"spec": {"max_length": 256}},
    {"spec": {"truncation": "head"}},
    {"spec": {"batch_size": 32}},
    {"spec": {"precision": "bf16"}},
    {"spec": {"threads": 1}},
    {"spec": {"dropout": 0.1}},
    {"spec": {"attention_dropout": 0.1}},
    {"spec": {"tuning": 3}},
    {"spec": {"tuning": 3, "tuning_seeds": 2}},
    {"spec": {"train_limit": 100}},
    {"spec": {"classes": 3}},
]


@pytest.mark.parametrize("other", APART, ids=str)
def test_groups_never_mix(other: dict[str, Any]) -> None:
    found = groups(run(), run("lora"), run(**other), run("lora", **other))
    assert [[row.method for row in group.rows] for group in found] == [["houlsby", "lora"]] * 2


def test_groups_stand_by_their_budget_and_no_difference_is_taken_across_them() -> None:
    def seconds(amount: float) -> dict[str, Any]:
        return {"budget": Budget(amount=amount, unit="seconds")}

    steps = {"budget": Budget(amount=9, unit="steps")}
    specs = [seconds(240), steps, seconds(60), seconds(7.5), seconds(120), {"max_length": 64}, {"threads": 10}, {"threads": 4}]
    found = groups(*(run(spec=spec) for spec in specs))
    assert [(group.key.threads, group.key.max_length, group.key.budget) for group in found] == [
        (2, 64, "60 s"), (2, 128, "7.5 s"), (2, 128, "60 s"), (2, 128, "120 s"), (2, 128, "240 s"), (2, 128, "9 steps"),
        (4, 128, "60 s"), (10, 128, "60 s"),
    ]  # fmt: skip
    limited = groups(*(run(spec={"test_limit": limit}) for limit in (1000, None, 200)))
    assert [group.key.test_limit for group in limited] == [None, 200, 1000]
    found = groups(run(), run("lora", spec={"max_length": 256}))
    without = next(group for group in found if group.reference is None)
    assert without.rows[0].accuracy_difference is None
    assert "reference" in said(without)


def test_a_title_names_an_encoder_by_its_content_and_tuned_runs() -> None:
    later = {"finished": "2026-02-02T00:00:00+00:00"}
    group = one_group(
        run("lora", spec={"encoder": "my-copy"}, **later), run(), run("full", spec={"encoder": "my-copy"}, **later)
    )
    assert title(group).startswith("minilm = my-copy on embedded-v1")
    assert group.rows[1].accuracy_difference == 0
    assert title(one_group(run())).startswith("minilm on embedded-v1")
    assert "tuned, 3 trials a method" in title(one_group(run(spec={"tuning": 3})))
    assert "tuned" not in title(one_group(run()))


@pytest.mark.parametrize("state", ["out-of-memory", "diverged", "cancelled", "failed"])
def test_other_states_are_rows(state: str) -> None:
    group = one_group(run(), ended("full", state, "the reason", parameters=Parameters(body=7, head=2, total=9, closed_form=7)))
    _, full = group.rows
    assert (full.runs, full.accuracy, full.accuracy_difference, full.body) == ([], None, None, 7)
    assert as_json(group)[1]["seeds"] == f"1 {state}"
    assert said(group)["state"] == f"Not complete: full seed 0 {state} (the reason)."


OFFICIAL = DATA.model_copy(update={"cut": "imdb-v1", "test": 25_000, "leaked": 123})


@pytest.mark.parametrize(
    ("data", "spec", "differs"),
    [
        (DATA, {}, "other encoder and test"),
        (OFFICIAL, {}, "other encoder"),
        (OFFICIAL, {"test_limit": 200}, "other encoder and test"),
        (OFFICIAL.model_copy(update={"leaked": 0}), {}, "other encoder and test"),
        (OFFICIAL, {"encoder": "FacebookAI/roberta-base"}, "one run elsewhere"),
        (OFFICIAL, {"encoder": "FacebookAI/xlm-roberta-base"}, "other encoder"),
        (DATA, {"encoder": "./roberta-base"}, "other test"),
    ],
)
def test_the_published_result_says_what_it_does_not_share(data: DataCut, spec: dict[str, Any], differs: str) -> None:
    group = one_group(run(data=data, spec=spec), ended("lora", "failed", data=data, spec=spec))
    assert rows(group)[-1].label == f"published: RoBERTa-base + adapters ({differs})"


def test_a_reference_that_failed_is_none_and_complete_without_a_test_is_no_result() -> None:
    group = one_group(ended("houlsby", "failed"), run("lora"))
    assert group.reference is None
    assert [row.method for row in group.rows] == ["houlsby", "lora"]
    assert {row.role for row in rows(group)} == {"method", "published"}
    group = one_group(run(), run("lora", test=None))
    assert group.rows[1].runs == []
    assert "no reason was recorded" in said(group)["state"]


def test_two_settings_of_a_method_are_two_rows_and_of_the_reference_the_one_with_more_runs_is_it() -> None:
    fast, wide = {"learning_rate": 0.003, "rank": 8}, {"learning_rate": 0.001, "rank": 8}
    group = one_group(run(), run("lora", spec={"hyperparameters": fast}), run("lora", spec={"hyperparameters": wide}))
    assert [row.label for row in group.rows] == ["houlsby", "lora (learning_rate 0.001)", "lora (learning_rate 0.003)"]
    other = {"hyperparameters": {"learning_rate": 0.0001}}
    group = one_group(run(seed=0, spec=other), run(seed=0), run(seed=1), ended("houlsby", "failed", seed=1, spec=other))
    assert group.reference is group.rows[0]
    assert group.rows[0].label == "houlsby (learning_rate 0.001)"
    assert group.rows[1].accuracy_difference == 0


def test_a_run_that_is_there_twice_counts_once_and_trials_are_no_part() -> None:
    late = "2026-02-02T00:00:00+00:00"
    copies = [run(wrong=20), run(wrong=40, finished=late), ended("houlsby", "cancelled", finished="2026-03-03T00:00:00+00:00")]
    group = one_group(copies[1], copies[2], copies[0], baseline(22404), baseline(22404))
    assert (group.rows[0].seeds, group.rows[0].other_runs) == ([0], [])
    assert group.rows[0].accuracy == pytest.approx(0.8)
    assert len(group.baselines) == 1
    assert groups(run(spec={"purpose": "trial"})) == []


def test_baselines_attach_to_the_right_groups() -> None:
    other_cut = DATA.model_copy(update={"cut": "embedded-v2"})
    baselines = [
        baseline(22404), baseline(1600), baseline(999), baseline(22404, test_limit=100), baseline(22404, rules_version=2),
        baseline(22404, data=other_cut),
    ]  # fmt: skip
    found = groups(*baselines, run(), run(spec={"test_limit": 100}), run(rules_version=2))
    attached = {
        (group.key.rules, group.key.test_limit): [
            (f.spec.train_reviews, f.spec.test_limit, f.rules_version) for f in group.baselines
        ]
        for group in found
    }
    assert attached == {
        (1, None): [(22404, None, 1), (1600, None, 1)],
        (1, 100): [(22404, 100, 1)],
        (2, None): [(22404, None, 2)],
    }
    (limited,) = groups(baseline(22404), baseline(100), run(spec={"train_limit": 100}))
    assert [baseline.spec.train_reviews for baseline in limited.baselines] == [100], "all texts are those of the limit"
    assert [row.label.rpartition(", ")[2] for row in rows(limited) if row.role == "baseline"] == ["all reviews"]
    assert all(f.data.cut == group.key.cut for group in found for f in group.baselines)


def test_a_baseline_stands_beside_the_reference() -> None:
    of_all, of_seen = [
        row for row in rows(one_group(run(wrong=20), baseline(22404, 0), baseline(1600, 40))) if row.role == "baseline"
    ]
    assert (of_all.accuracy_difference, of_seen.accuracy_difference) == (pytest.approx(0.1), pytest.approx(-0.1))
    assert "all reviews" in of_all.label
    assert "as many reviews as the reference" in of_seen.label


def test_verdicts_are_explained_and_one_seed_is_a_smoke_comparison() -> None:
    several = [run("houlsby", seed, 20 + seed) for seed in range(3)] + [run("lora", seed, 60 + 2 * seed) for seed in range(3)]
    group = one_group(*several)
    assert "over 3 seeds and reviews" in said(group)["verdicts"]
    assert f"difference {100 * (group.detectable or 0):.2f} points" in said(group)["verdicts"]
    assert "one seed" not in said(group)
    row = as_json(group)[1]
    assert (row["verdict"], row["Δ points"].split()[0]) == ("worse", "-20.50")
    assert row["p (Holm)"].startswith(("0.0", "<0.001"))
    assert "verdicts" not in said(one_group(run(), run("lora")))
    # sqrt(0.9 * 0.1 / 200) is 2.1 points.
    assert "on 200 reviews is 2.1 points" in said(one_group(run(), run("lora")))["one seed"]
    assert "one seed" not in said(one_group(*(run(seed=s) for s in (0, 1))))


def test_predictions_of_one_class_are_named_and_a_verdict_against_them_says_so() -> None:
    def answering(method: str, seed: int) -> Record:
        """All 200 reviews are called negative, half of them wrongly."""
        whole = run(method, seed)
        assert whole.test
        labels = unpack_bits(whole.test.predictions, 200) == unpack_bits(whole.test.correct, 200)
        test = whole.test.model_copy(
            update={"tp": 0, "fp": 0, "fn": 100, "tn": 100, "accuracy": 0.5, "precision": 0.0, "recall": 0.0, "f1": 0.0,
                    "predictions": pack_bits([0] * 200), "correct": pack_bits(labels == 0)}
        )  # fmt: skip
        return whole.model_copy(update={"test": test})

    usual = [run(seed=seed, wrong=20) for seed in range(4)]
    group = one_group(*usual, *(answering("lora", seed) if seed else run("lora") for seed in range(4)))
    assert (group.rows[1].collapsed, group.rows[1].one_class) == ([1, 2, 3], [1, 2, 3])
    (note,) = (note for note in notes(group) if note.kind == "collapse")
    assert note.where == ("lora",)
    assert "lora on seeds 1, 2, 3 (75 % [19.4, 99.4], one class)" in note.text
    assert "answering one class on seeds 1, 2, 3" in sentences(group)[1]
    assert "COLLAPSED: it answers one class" in run_line(group.rows[1].runs[1])
    assert "COLLAPSED" not in run_line(group.rows[1].runs[0])
    # Nothing is learned of a method from a reference that answers one class.
    against = one_group(*(answering("houlsby", seed) for seed in range(4)), *(run("lora", seed, 20) for seed in range(4)))
    assert as_json(against)[1]["verdict"] == "too few seeds, against one class on none of seeds 0–3"
    assert "houlsby, which answers one class" in sentences(against)[1]


def test_a_rate_at_the_edge_of_its_grid_is_said() -> None:
    choice = Choice(trials=[], seeds=[-1], budget="60 s", extended=True, at_edge=True, seconds=1.0)
    group = one_group(run(), run("lora", choice=choice))
    assert said(group)["edge"] == "Learning rates chosen at the edge of their grids: lora 0.001."
    assert "learning rate 0.001 at the edge of its grid" in run_line(group.rows[1].runs[0])
    assert "edge" not in said(one_group(run(choice=choice.model_copy(update={"at_edge": False}))))


@pytest.mark.parametrize(
    ("seeds", "text"),
    [([], "none"), ([3], "3"), ([2, 0, 1], "0, 1, 2"), ([0, 1, 2, 3], "0–3"), ([9, *range(5), 7], "0–4, 7, 9")],
)
def test_seeds_in_words(seeds: list[int], text: str) -> None:
    assert seed_list(seeds) == text


def test_leaks_versions_and_dirty_checkouts_are_said() -> None:
    # Of 20 wrong predictions two are on leaked reviews: 18 of the 198 others are wrong.
    group = one_group(run(wrong=20, leaked=(0, 1)))
    assert said(group)["leak"] == "2 test reviews are also in train; accuracy without them: houlsby 90.91."
    other = MACHINE.model_copy(update={"versions": {"torch": "0"}, "dirty": True})
    assert len(groups(run(), run("lora", environment=other))) == 2
    other = MACHINE.model_copy(update={"versions": {"torch": "2.13.0+cu126", "numpy": "2"}, "dirty": True})
    group = one_group(run(), run("lora", environment=other))
    assert {"versions", "uncommitted"} <= said(group).keys()
