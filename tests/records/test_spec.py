"""What a person writes is understood or refused in one line, and a run's id follows from all that determines it."""

from __future__ import annotations

from typing import Any

import pytest

from bench.records.spec import Budget, RunSpec, parse_seeds, parse_size, run_id, spec_from_fields
from bench.system.errors import SpecError
from tests.conftest import make_spec


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("60s", 60, "seconds"),
        ("60 sec", 60, "seconds"),
        ("1 second", 1, "seconds"),
        ("10m", 600, "seconds"),
        ("10 mins", 600, "seconds"),
        ("1.5h", 5400, "seconds"),
        (".5 hours", 1800, "seconds"),
        ("  2 Hours ", 7200, "seconds"),
        ("500 steps", 500, "steps"),
        ("1 step", 1, "steps"),
        ("2k steps", 2000, "steps"),
        ("3 epochs", 3, "epochs"),
        ("0.5 epochs", 0.5, "epochs"),
        ("2M tokens", 2_000_000, "tokens"),
        ("1.5 M tokens", 1_500_000, "tokens"),
    ],
)
def test_budgets_that_people_write(text: str, amount: float, unit: str) -> None:
    assert Budget.parse(text) == Budget(amount=amount, unit=unit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not understood"),
        ("soon", "is not understood"),
        ("60", "is not understood"),
        ("60 parsecs", "no known unit"),
        ("10ms", "no known unit"),
        ("1,00 steps", "is not understood"),
        ("1,0000 steps", "is not understood"),
        (",500 steps", "is not understood"),
        ("1e3 s", "is not understood"),
        ("nan s", "is not understood"),
        ("inf s", "is not understood"),
        ("٣ s", "is not understood"),
        ("0s", "more than zero"),
        ("-5 s", "more than zero"),
        ("0.5 steps", "whole number of steps"),
        ("31000 h", "is more than the most"),
        ("9" * 50 + "s", "is more than the most"),
        ("9" * 400 + "s", "is not understood"),
        (" " * 10**5 + "60s", "is not understood"),
        ("1001 epochs", "is more than the most"),
    ],
)
def test_budgets_that_are_refused(text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("text", "shown", "slug"),
    [
        ("90s", "90 s", "90s"),
        ("2591999.5 s", "2591999.5 s", "2591999.5s"),
        ("1M reference tokens", "1,000,000 reference tokens", "1000000referencetokens"),
        ("1500 steps", "1,500 steps", "1500steps"),
        ("1 epoch", "1 epoch", "1epoch"),
        ("0.5 epochs",) * 2 + ("0.5epochs",),
    ],
)
def test_how_a_budget_is_shown(text: str, shown: str, slug: str) -> None:
    budget = Budget.parse(text)
    assert (str(budget), budget.slug) == (shown, slug)
    assert Budget.parse(shown) == budget


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1", [0]), ("3", [0, 1, 2]), ("7,", [7]), ("4, 7", [4, 7]), ("5,1", [5, 1]), ("4294967295,", [2**32 - 1])],
)
def test_seeds_that_people_write(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", ",", "0", "-1", "1001", "1.5", "a", "1,1", "01,1", "4294967296,", "9" * 30, "²", "1;2"])
def test_seeds_that_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="seed"):
        parse_seeds(text)


@pytest.mark.parametrize(("text", "size"), [("2GiB", 2**31), ("512 MiB", 2**29), ("1.5GB", 1_500_000_000), ("2048KiB", 2**21)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "2", "2GB2", "-1GiB", "0GiB", "1KiB", "5000TiB", "1tib", "9" * 400 + "GiB", "nanGiB"])
def test_sizes_that_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="memory"):
        parse_size(text)


CHANGES: dict[str, Any] = {
    "method": "lora",
    "hyperparameters": {"learning_rate": 1e-3},
    "budget": Budget(amount=5, unit="steps"),
    "seed": 1,
    "max_length": 33,
    "truncation": "head",
    "batch_size": 9,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "precision": "bf16",
    "device": "cuda",
    "threads": 3,
    "memory_cap": 2**30,
    "test_limit": 10,
    "train_limit": 10,
    "classes": 3,
    "reference_tokens": 1000,
    "purpose": "trial",
    "tuning": 3,
    "tuning_seeds": 2,
    "kernels": "graphs",
}


def identity(spec: RunSpec, encoder: str = "e", data: str = "d") -> str:
    return run_id(spec, encoder_sha256=encoder, data_sha256=data)


def test_every_field_is_either_a_name_or_determines_the_run() -> None:
    assert set(RunSpec.model_fields) == {*CHANGES, "encoder", "data"}


@pytest.mark.parametrize("field", CHANGES)
def test_each_determining_field_changes_the_id(field: str) -> None:
    base = make_spec()
    assert getattr(base, field) != CHANGES[field]
    assert identity(base.model_copy(update={field: CHANGES[field]})) != identity(base)


def test_contents_change_the_id_and_names_order_and_a_round_trip_do_not() -> None:
    base = make_spec()
    assert identity(make_spec(encoder="elsewhere", data="other")) == identity(base)
    assert identity(base, encoder="x") != identity(base)
    assert identity(base, data="x") != identity(base)
    assert identity(base, encoder="d", data="e") != identity(base)
    assert run_id(base, encoder_sha256="e", data_sha256="d", rules_version=10**6) != identity(base)
    assert identity(RunSpec.model_validate_json(base.model_dump_json())) == identity(base)
    shuffled = make_spec(hyperparameters=dict(reversed(base.hyperparameters.items())))
    assert identity(shuffled) == identity(base)


@pytest.mark.parametrize(
    ("field", "value", "option"),
    [
        ("batch_size", 0, "--batch-size 0"),
        ("max_length", 3, "--max-length 3"),
        ("seed", 2**32, "--seed 4294967296"),
        ("threads", 0, "--threads"),
    ],
)
def test_a_field_out_of_range_is_named_as_its_option(field: str, value: Any, option: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec_from_fields(**{**make_spec().model_dump(), field: value})
    assert str(caught.value).startswith(option)
