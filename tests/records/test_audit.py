"""The audit finds what was changed in a record, and nothing in one that is whole."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.records.audit import CHECKS, Outcome, audit
from bench.records.audit.calibration import CHECKS as OF_CALIBRATIONS
from bench.records.audit.check import Case, Mismatch, NotApplicable
from bench.records.schema import Baseline, CurvePoint, Evaluation, Record, pack_bits, unpack_bits
from bench.records.spec import Budget
from bench.records.store import logits_sha256, save
from bench.rules import MARKS
from tests.conftest import call
from tests.factories import COMMITTED, LABELS, baseline, ended, evaluation, kept, logits_for, put, run, whole
from tests.records.damages import DAMAGES, Damage, on_kept_features, point, trial, went_on

ELSEWHERE = (
    "file name", "earlier attempt", "baseline reviews", "baseline trials", "labels", "out-of-domain labels",
    "out-of-domain reviews", "counted budget", "conversion", "calibration", "checksum",
    *(check.name for check in OF_CALIBRATIONS),
)  # fmt: skip
"""Checks with a test of their own, below or beside the baseline."""


def kept_as_is(folder: Path, record: Record) -> Path:
    return save(folder, record, logits_for(unpack_bits(evaluation(20).predictions, 200)))


def failed(folder: Path, *records: Record | Baseline) -> list[str | None]:
    """The check that fails for each record, in the order given; None for one that is whole."""
    return [outcome.failed[0] if outcome.failed else None for outcome in audit([kept(folder, record) for record in records])]


def checked(name: str, record: Record) -> str:
    """What one check finds that holds for a record alone."""
    (check,) = [check for check in CHECKS if check.name == name]
    return check.function(Case(Path("record.json"), record, {}))


@pytest.mark.parametrize(("check", "damage"), DAMAGES, ids=[f"{i}-{name}" for i, (name, _) in enumerate(DAMAGES)])
def test_each_check_finds_its_damage(check: str, damage: Damage, tmp_path: Path) -> None:
    path = kept_as_is(tmp_path, damage(whole()))
    (outcome,) = audit([path])
    assert outcome.failed is not None
    assert outcome.failed[0] == check, outcome.failed
    assert f"{path}: FAILED {check}: says " in outcome.text()


def test_every_check_can_fail() -> None:
    assert {check.name for check in CHECKS} == {name for name, _ in DAMAGES} | set(ELSEWHERE)
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.explanation for check in CHECKS)


def test_whole_records_pass(tmp_path: Path) -> None:
    alone = (
        "labels", "out-of-domain labels", "out-of-domain reviews", "trial", "baseline reviews", "baseline trials",
        "memory cap", "earlier attempt", "counted budget", "conversion", "calibration", "passes over cached features",
    )  # fmt: skip
    (outcome,) = audit([kept(tmp_path, whole())])
    assert outcome.failed is None
    assert [name for name, _ in outcome.skipped] == [check.name for check in CHECKS if check.name in alone]
    assert len(outcome.passed) + len(alone) + len(OF_CALIBRATIONS) == len(CHECKS)
    assert f": {len(outcome.passed)} checks hold (12 do not apply)" in outcome.text()


@pytest.mark.parametrize(
    ("purpose", "at", "right", "holds"),
    [
        ("run", 2, 401, False), ("run", 2, 400, True), ("run", 3, 400, True), ("run", 3, 401, True), ("trial", 3, 401, True),
        ("run", 3, 401.5, False), ("trial", 3, 401.5, False),
    ],
)  # fmt: skip
def test_validation_is_read_in_part_and_at_the_end_perhaps_whole(purpose: str, at: int, right: float, holds: bool) -> None:
    """Of 2,000 texts, of which 500 are read at a mark."""
    record = put(whole(), rules_version=3, data={"validation": 2000}, spec={"purpose": purpose})
    assert record.training is not None
    curve = [p.model_copy(update={"fraction": mark}) for p, mark in zip(record.training.curve, MARKS, strict=True)]
    record = point(at, accuracy=right / 2000)(put(record, training={"curve": curve}))
    with nullcontext() if holds else pytest.raises(Mismatch):
        checked("validation accuracy", record)


def test_a_head_on_kept_features_and_a_run_that_went_on_pass(tmp_path: Path) -> None:
    head, resumed = audit([kept(tmp_path / "head", on_kept_features()(whole())), kept(tmp_path / "run", went_on()(whole()))])
    assert (head.failed, resumed.failed) == (None, None)
    assert "passes over cached features" in [name for name, _ in head.passed]
    assert "charged by the outside clock" in [name for name, _ in resumed.skipped]


def test_other_states_trials_baselines_and_old_records_pass(tmp_path: Path) -> None:
    old = run(seed=7, latency=None, out_of_domain=None)
    assert old.memory is not None
    old = old.model_copy(update={"memory": old.memory.model_copy(update={"split": None, "ru_maxrss": None})})
    states = ("out-of-memory", "diverged", "cancelled", "failed")
    ends = [ended("lora", state, seed=i, rules_version=2) for i, state in enumerate(states)]
    never = ended("lora", "failed", seed=9, rules_version=2, parameters=None, memory=None)
    everything = [whole(), trial()(whole()), old, *ends, never, baseline(22404), baseline(1600, rules_version=2)]
    assert failed(tmp_path, *everything) == [None] * len(everything)


@pytest.mark.parametrize("unit", ["steps", "epochs", "tokens"])
def test_budgets_that_are_counted(unit: Any, tmp_path: Path) -> None:
    spent = {"steps": 100.0, "epochs": 1600 / 22404, "tokens": 160_000.0}[unit]
    record = whole()
    assert record.training is not None
    curve = [p.model_copy(update={"fraction": mark}) for p, mark in zip(record.training.curve, MARKS, strict=True)]
    budget = {"budget": Budget(amount=spent, unit=unit)}
    record = put(record, spec=budget, training={"spent": spent, "overshoot": 0.0, "curve": curve})
    assert failed(tmp_path, record) == [None]
    assert failed(tmp_path, put(record, training={"spent": 2 * spent, "overshoot": spent})) == ["spent"]
    more_than_a_step = {"steps": 3.0, "epochs": 0.01, "tokens": 3000.0}[unit]
    less = put(record, spec={"budget": Budget(amount=spent - more_than_a_step, unit=unit)})
    assert failed(tmp_path, put(less, training={"overshoot": more_than_a_step})) == ["at most one step too much"]
    wrong = [*curve[:1], curve[1].model_copy(update={"fraction": 0.6}), *curve[2:]]
    assert failed(tmp_path, put(record, training={"curve": wrong})) == ["curve fractions"]


def test_a_method_that_encodes_once_trains_on_more_than_it_sees(tmp_path: Path) -> None:
    spec = {"budget": Budget(amount=300_000, unit="tokens")}
    again = put(whole(), spec=spec, training={"steps": 200, "reviews_trained": 3200, "spent": 300_000.0, "overshoot": 0.0})
    assert again.training is not None
    last = [
        CurvePoint(**{**p.model_dump(), "fraction": mark, "step": 2 * p.step})
        for p, mark in zip(again.training.curve, MARKS, strict=True)
    ]
    assert failed(tmp_path, put(again, training={"curve": last})) == [None]
    assert failed(tmp_path, put(again, training={"curve": last, "spent": 300.0})) == ["spent"]


def test_a_file_under_another_name_or_that_was_changed_and_says_nothing_wrong(tmp_path: Path) -> None:
    path = kept(tmp_path, whole())
    other = path.rename(tmp_path / path.name.replace("houlsby", "lora"))
    (outcome,) = audit([other])
    assert outcome.failed is not None
    assert outcome.failed[0] == "file name"
    other.rename(path)
    path.write_text(path.read_text().replace('"python": "3.12.0"', '"python": "3.12.1"'))
    (outcome,) = audit([path])
    assert outcome.failed is not None
    assert outcome.failed[0] == "checksum"
    assert "changed after it was written" in outcome.text()


def test_a_baseline_is_fitted_on_reviews_that_exist(tmp_path: Path) -> None:
    assert failed(tmp_path, baseline(22405)) == ["baseline reviews"]
    assert failed(tmp_path, baseline(22404).model_copy(update={"run_id": "0" * 16})) == ["run id"]


def test_logits_must_be_those_of_the_predictions(tmp_path: Path) -> None:
    record, others = whole(), logits_for(1 - LABELS)
    found = []
    for logits in (others, others[:10], np.full_like(others, np.nan)):
        (outcome,) = audit([save(tmp_path, put(record, test={"logits_sha256": logits_sha256(logits)}), logits)])
        found.append(outcome.failed)
    assert found[0] == ("logits", "says predictions, raw fields give another class by the logits for 180 reviews")
    assert [failure and failure[0] for failure in found] == ["logits"] * 3
    assert record.test is not None
    sidecar = tmp_path / "b" / "logits" / f"{record.test.logits_sha256}.npy"
    path = kept(tmp_path / "b", record)
    sidecar.write_bytes(sidecar.read_bytes()[:-1] + b"\x00")
    assert "changed after" in str(audit([path])[0].failed)
    sidecar.unlink()
    assert "not beside" in str(audit([path])[0].failed)


def flipped(part: str, record: Record) -> Record:
    """The record with another label for review 100, and every figure as it follows from that."""
    test: Evaluation = getattr(record, part)
    assert part == "test" or test.logits_sha256 is None
    wrong = 20 if part == "test" else 40
    labels = LABELS.copy()
    labels[100] ^= 1
    predictions = np.where(np.arange(200) < wrong, 1 - labels, labels)
    from bench.records.metrics import confusion

    counts = confusion(labels, predictions)
    return put(
        record,
        **{
            part: {
                **counts.fields(), "predictions": pack_bits(predictions),
                "logits_sha256": logits_sha256(logits_for(predictions)) if part == "test" else None,
            }
        },
    )  # fmt: skip


@pytest.mark.parametrize(("part", "check"), [("test", "labels"), ("out_of_domain", "out-of-domain labels")])
def test_records_of_one_test_imply_the_same_labels(part: str, check: str, tmp_path: Path) -> None:
    records = [whole(seed=seed) for seed in range(3)]
    assert failed(tmp_path, *records) == [None] * 3
    assert failed(tmp_path, flipped(part, records[0]), *records[1:]) == [check, None, None]
    assert failed(tmp_path, flipped(part, records[0]), records[1]) == [check, check]
    other = put(flipped("test", records[0]), data={"sha256": "e" * 64})
    assert failed(tmp_path, other, *records[1:]) == [None] * 3


def test_out_of_domain_all_have_as_many_reviews(tmp_path: Path) -> None:
    records = [whole(seed=seed) for seed in range(3)]
    half = pack_bits(LABELS[:100])
    short = Evaluation(
        reviews=100, tp=50, fp=0, fn=0, tn=50, accuracy=1, precision=1, recall=1, f1=1, accuracy_without_leaked=1, leaked=[],
        predictions=half, correct=pack_bits([1] * 100),
    )  # fmt: skip
    assert failed(tmp_path, put(records[0], out_of_domain=short), *records[1:]) == ["out-of-domain reviews", None, None]


@pytest.mark.parametrize(("limit", "reviews", "seen", "right"), [
    (None, 1000, 999, 1000), (1500, 1000, 999, 1000), (1500, 1000, 1600, 1500), (600, 1000, 999, 600), (600, 600, 999, 600),
    (9000, 8530, 1600, None), (8000, 8530, 1600, 8000),
])  # fmt: skip
def test_out_of_domain_a_limit_is_of_the_sentences_that_a_run_is_tested_on(
    limit: int | None, reviews: int, seen: int, right: int | None
) -> None:
    """Few after little training, and never more than there are; without one (right: None) other records tell."""
    labels = [0] * (reviews // 2) + [1] * (reviews // 2)
    shown = {"reviews": reviews, "predictions": pack_bits(labels), "correct": pack_bits([1] * reviews)}
    record = put(whole(), spec={"test_limit": limit}, training={"reviews_seen": seen}, out_of_domain=shown)
    with nullcontext() if right == reviews else pytest.raises(NotApplicable if right is None else Mismatch):
        checked("out-of-domain reviews", record)


@pytest.mark.parametrize("number", [0, -1, 10**400, 2**63], ids=["zero", "negative", "huge", "long"])
def test_impossible_numbers_end_in_a_line(number: int, tmp_path: Path) -> None:
    fields = {
        "data": ("train", "test", "validation", "leaked"),
        "test": ("reviews", "tp", "fp", "fn", "tn"),
        "out_of_domain": ("reviews",),
        "training": ("steps", "reviews_seen", "reviews_distinct", "reviews_trained", "tokens_seen", "tokens_padded"),
        "parameters": ("body", "head", "total", "closed_form"),
        "memory": ("baseline", "peak", "peak_above_baseline", "ru_maxrss"),
    }
    record = put(whole(), spec={"budget": Budget(amount=0.01, unit="epochs")})
    for part, names in fields.items():
        for name in names:
            (outcome,) = audit([kept_as_is(tmp_path, put(record, **{part: {name: number}}))])
            assert len(outcome.text()) < 500


def test_the_command_says_a_line_a_record_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path, whole())
    bad = kept_as_is(tmp_path, put(whole(seed=1), training={"overshoot": 3.0}))
    kept(tmp_path, baseline(22404))
    assert call(["audit", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert f"{bad}: FAILED overshoot: says 3, raw fields give 4" in lines
    assert call(["audit", str(tmp_path), str(bad), "--verbose"]) == 1
    out = capsys.readouterr().out
    assert out.count("FAILED") == 1
    for text in (
        "  overshoot: 4\n",
        "  precision: 0.9\n",
        "  labels: those of 3 of 3 records\n",
        "  trial: – (it is no tuning trial)",
    ):
        assert text in out
    bad.unlink()
    assert call(["audit", str(tmp_path)]) == 0


def test_other_files_of_a_folder_are_named_and_the_exit_code_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record, foreign = kept(tmp_path, whole()), tmp_path / "package.json"
    foreign.write_text('{"name": "left-pad", "version": 1}')
    assert call(["audit", str(tmp_path)]) == 3
    assert capsys.readouterr().out.splitlines()[-1] == f"{foreign}: not a record of this suite"
    (cut := tmp_path / "cut.json").write_bytes(record.read_bytes()[:-20])
    assert call(["audit", str(tmp_path)]) == 1
    assert f"{cut}: FAILED record: it is not whole JSON" in capsys.readouterr().out.splitlines()
    assert call(["audit", str(foreign)]) == 2
    assert capsys.readouterr().err == f"error: {str(foreign)!r}: it is not a record of this suite\n"


def test_the_command_lists_its_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["audit", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("run id: Check that the id is the hash of spec")
    assert len(lines) == sum(not check.name.startswith("out-of-domain") for check in CHECKS)


def test_words_of_a_record_command_no_terminal(tmp_path: Path) -> None:
    record = put(whole(), state="failed", reason="\x1b[31m", test=None)
    outcomes: list[Outcome] = audit([kept_as_is(tmp_path, put(record, out_of_domain=None, run_id="0" * 16))])
    assert outcomes[0].text().isprintable()
    text = Outcome(Path("\x1b[2J.json"), [], [], ("state", "says \x9b2J, raw fields give \u202e")).text()
    assert text.isprintable()


def test_every_committed_record_passes() -> None:
    outcomes = audit(COMMITTED)
    assert len(outcomes) == sum(len(list(folder.glob("*.json"))) for folder in COMMITTED)
    assert [outcome.text() for outcome in outcomes if outcome.failed] == []
