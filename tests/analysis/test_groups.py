"""Which runs stand in one table under rules 3: counted budgets, calibrated ones, and machines."""

from __future__ import annotations

import pytest

from bench.analysis.budget_sweep import budget_of
from bench.analysis.comparison import Group
from bench.records.schema import Environment, Record
from bench.records.spec import Budget
from bench.report.tables.footnotes import title
from bench.system.errors import RecordError
from tests.factories import MACHINE, counted, groups, run, said, shared

OTHER = MACHINE.model_copy(update={"device": "Other CPU", "threads": 4})


def methods(group: Group) -> list[str]:
    return [row.method for row in group.rows]


def test_reference_tokens_and_the_machine_of_the_calibration_make_a_table() -> None:
    (group,) = groups(shared(), shared("lora", tokens=900_000, name="later", environment=OTHER))
    assert methods(group) == ["houlsby", "lora"]
    assert (group.key.budget, group.key.device) == ("1,000,000 reference tokens", "Some CPU")
    assert "calibrated on Some CPU, 2 threads" in title(group)
    assert budget_of(group) == Budget(amount=1_000_000, unit="reference tokens")
    assert "Each method's share of the budget, in tokens: houlsby 1,000,000; lora 900,000." in said(group)["shares"]
    assert len(groups(shared(), shared("lora", tokens=900_000, device="Other CPU"))) == 2


def test_two_shares_of_one_method_are_refused() -> None:
    with pytest.raises(RecordError, match=r"lora has runs of 800,000 tokens and of 900,000 tokens for 1,000,000 reference"):
        groups(shared(), shared("lora", 0, 900_000), shared("lora", 1, 800_000))
    fast = {"reference_tokens": 1_000_000, "hyperparameters": {"learning_rate": 1.0}}
    record = shared("lora", 0, 900_000)
    other = record.model_copy(
        update={"spec": record.spec.model_copy(update={**fast, "budget": Budget(amount=5, unit="tokens")})}
    )
    assert len(groups(shared(), record, other)) == 1


def test_a_share_stands_in_the_table_of_as_many_plain_tokens_too() -> None:
    plain, under = groups(counted("lora"), counted("full"), shared(), shared("lora", tokens=900_000))
    if plain.key.budget != "1,000,000 tokens":
        plain, under = under, plain
    assert (budget_of(plain).unit, budget_of(under).unit) == ("tokens", "reference tokens")
    assert (methods(plain), methods(under)) == (["houlsby", "lora", "full"], ["houlsby", "lora"])
    assert plain.reference is not None
    assert said(plain)["shares"].endswith("of which this is the share: houlsby.")
    # LoRA's own budget here was counted, and it was calibrated beside the others; full was not.
    assert [row.conversion and row.conversion.ratio for row in plain.rows] == [1.0, 1 / 0.9, None]
    # What was run under plain tokens itself counts, and counts once.
    both = groups(counted(wrong=30), shared(wrong=20))
    assert {group.key.budget: group.rows[0].accuracy for group in both} == {
        "1,000,000 tokens": 0.85, "1,000,000 reference tokens": 0.9,
    }  # fmt: skip
    assert len(groups(shared(), shared("lora", tokens=900_000))) == 1


def measured(environment: Environment, mebibytes: int, method: str, seed: int) -> Record:
    record = counted(method, seed, environment=environment)
    assert record.memory
    memory = record.memory.model_copy(update={"peak_above_baseline": mebibytes * 2**20})
    return record.model_copy(update={"memory": memory})


def test_memory_and_speed_are_of_the_most_frequent_machine_alone() -> None:
    (group,) = groups(
        measured(MACHINE, 100, "houlsby", 0), measured(MACHINE, 100, "houlsby", 1), measured(MACHINE, 200, "lora", 0),
        measured(OTHER, 900, "lora", 1), measured(OTHER, 900, "full", 1),
    )  # fmt: skip
    houlsby, lora, full = group.rows
    assert (houlsby.memory, lora.memory, full.memory) == (100 * 2**20, 200 * 2**20, None)
    assert full.reviews_per_second is None
    assert full.accuracy is not None
    assert "memory and times are of Some CPU, 2 threads, alone. On seeds 1 the methods" in said(group)["machines"]
    assert "machines" not in said(groups(counted(), counted("lora"))[0])


def test_speed_is_of_the_calibration_where_there_is_one_and_a_wide_ratio_is_said() -> None:
    failed = shared("full").model_copy(update={"state": "failed", "reason": "why it ended", "test": None})
    (group,) = groups(shared(), shared("lora", 0, 800_000), shared("lora", 1, 800_000), failed)
    ratios = {row.label: row.conversion and row.conversion.ratio for row in group.rows}
    assert ratios == {"houlsby": 1.0, "lora": 1.25, "full": 1.0}
    assert group.calibrated
    assert [row.reviews_per_second for row in group.rows] == [None, None, None]
    assert said(group)["time"] == "Time per token is over the reference's, by calibration."
    (plain,) = groups(counted(), counted("lora"))
    assert not plain.calibrated
    assert [row.reviews_per_second for row in plain.rows] == [25, 25]
    assert "time" not in said(plain)
    (group,) = groups(shared(), shared("lora", tokens=800_000, low=0.9))
    assert said(group)["time"].endswith("known to no better than ±10 % for lora.")


def test_a_library_keeps_tables_apart_and_up_to_rules_2_the_machine_too() -> None:
    def versions(**changed: str) -> Environment:
        return MACHINE.model_copy(update={"versions": {"torch": "2.13.0", **changed}})

    assert len(groups(counted(), counted("lora", environment=versions(torch="2.13.0+cu126")))) == 1
    for changed in ({"torch": "2.14.0"}, {"peft": "1"}):
        assert len(groups(counted(), counted("lora", environment=versions(**changed)))) == 2
    assert len(groups(run(rules_version=2), run("lora", rules_version=2, environment=OTHER))) == 2
    assert len(groups(counted(), counted("lora", environment=OTHER))) == 1
