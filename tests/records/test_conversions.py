"""The audit of calibrated budgets: what a run counts follows from what was asked for and from the calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.records.audit import audit
from bench.records.ratios import calibration_id
from bench.records.schema import Calibration, CalibrationSetting, Conversion, MethodSpeed, Record
from bench.records.spec import Budget
from bench.records.store import load, save
from tests.factories import MACHINE, kept, put, whole

SPEED = 2600.4
RATIO = 0.975
CHECKS = ("counted budget", "conversion", "calibration")


def calibration(**fields: Any) -> Calibration:
    setting = CalibrationSetting(
        encoder_sha256="e" * 64, data_sha256="d" * 64, cut="embedded-v2", max_length=128, truncation="head+tail", batch_size=16,
        dropout=0.0, attention_dropout=0.0, precision="fp32", device="cpu", threads=2,
    )  # fmt: skip
    speed = MethodSpeed(method="houlsby", hyperparameters={}, ratio=RATIO, low=0.96, high=0.99)
    own = {"environment": MACHINE, "methods": [speed], "finished": "2026-01-01T00:00:00+00:00", **fields}
    timed = [(one.method, one.hyperparameters) for one in own["methods"]]
    return Calibration(**{
        "run_id": calibration_id(setting, timed, own["environment"].device, own["finished"]), "rules_version": 3,
        "encoder": "minilm", "data": "embedded", "setting": setting, "reference": "houlsby", "seconds_asked": 60.0,
        "seconds": 60.0, "rounds": 9, "rounds_counted": 8, "tokens_per_second": SPEED, **own,
    })  # fmt: skip


def conversion(**fields: Any) -> Conversion:
    return Conversion(**{
        "calibration": calibration().run_id, "device": "Some CPU",
        "threads": 2, "asked": "60 s", "ratio": RATIO, "low": 0.96, "high": 0.99,
        "expected_seconds": 60.0, **fields,
    })  # fmt: skip


def converted(found: Conversion | None = None, tokens: int = 160_000, reference: int | None = 156_000) -> Record:
    """A whole run of rules 3 whose budget is 60 s of a reference that does 2,600 tokens a second."""
    found = conversion() if found is None else found
    base = whole().model_copy(update={"rules_version": 3, "conversion": found})
    spec = {"budget": Budget(amount=tokens, unit="tokens"), "reference_tokens": reference}
    assert base.training is not None
    curve = [point.model_copy(update={"fraction": min(1.0, point.tokens / tokens)}) for point in base.training.curve]
    return put(base, spec=spec, training={"curve": curve, "spent": 160_000.0, "overshoot": 160_000.0 - tokens})


def outcome(folder: Path, record: Record) -> str | None:
    (found,) = audit([kept(folder, record)])
    return found.failed[0] if found.failed else None


def test_a_converted_run_passes_beside_its_calibration_and_without_it(tmp_path: Path) -> None:
    (alone,) = audit([kept(tmp_path / "alone", converted())])
    assert alone.failed is None, alone.text()
    assert "calibration" in {name for name, _ in alone.skipped}
    save(tmp_path, calibration())
    (found,) = audit([kept(tmp_path, converted())])
    assert found.failed is None, found.text()
    assert set(CHECKS) <= {name for name, _ in found.passed}
    assert list(load(tmp_path, "calibration-*.json")) == [calibration()]
    assert list(load(tmp_path)) == [calibration(), converted()]


@pytest.mark.parametrize("damaged", [
    converted(tokens=159_000), converted(reference=155_000), converted(conversion(ratio=0.95)), converted(reference=None),
    converted(conversion(asked="150k reference tokens")), converted(conversion(asked="5 steps")),
    converted().model_copy(update={"conversion": None}),
])  # fmt: skip
def test_a_budget_that_does_not_follow(damaged: Record, tmp_path: Path) -> None:
    assert outcome(tmp_path, damaged) == "conversion"


@pytest.mark.parametrize("unit", ["seconds", "reference tokens"])
def test_a_run_of_rules_3_counts(unit: Any, tmp_path: Path) -> None:
    seconds = put(whole().model_copy(update={"rules_version": 3}), spec={"budget": Budget(amount=60, unit=unit)})
    assert outcome(tmp_path, seconds) == "counted budget"


@pytest.mark.parametrize("other", [
    {"tokens_per_second": 2700.0}, {"methods": []}, {"environment": MACHINE.model_copy(update={"device": "Other"})},
    {"environment": MACHINE.model_copy(update={"threads": 4})},
    {"methods": [MethodSpeed(method="houlsby", hyperparameters={}, ratio=0.976, low=0.96, high=0.99)]},
])  # fmt: skip
def test_a_calibration_that_says_otherwise(other: dict[str, Any], tmp_path: Path) -> None:
    made = calibration(**other)
    save(tmp_path, made)
    assert outcome(tmp_path, converted(conversion(calibration=made.run_id))) == "calibration"
