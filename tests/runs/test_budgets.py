"""Budgets that a calibration converts: which are found, refused and audited, and what a conversion says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data.task import Task
from bench.records.audit import audit
from bench.records.schema import Calibration
from bench.records.spec import Budget
from bench.records.store import load, path_of, save
from bench.report.load import read as read_report
from bench.runs import budgets as module
from bench.runs.budgets import calibrated, convert, find_calibrations, load_calibration, reference_tokens, speed_of
from bench.runs.calibration import setting_of
from bench.system.errors import RecordError, SpecError
from bench.training.job import Job
from tests.conftest import call
from tests.runs.simulation import Machine, declared, simulated


def test_a_budget_is_converted(subject: Job, tmp_path: Path) -> None:
    made = simulated(subject, tmp_path, Machine())
    own = made.methods[1]
    got = convert([made], Budget.parse("1M reference tokens"), "pfeiffer", own.hyperparameters, 1000)
    budget, tokens, conversion = got
    assert budget == Budget(amount=round(1_000_000 / own.ratio), unit="tokens")
    assert tokens == 1_000_000
    assert conversion.asked == "1,000,000 reference tokens"
    assert conversion.expected_seconds == pytest.approx(1e6 / made.tokens_per_second)
    whole = reference_tokens(Budget.parse("60s"), made)
    assert whole % 1000 == 0
    assert abs(whole - 60 * made.tokens_per_second) <= 500
    budget, tokens, _ = convert([made], Budget.parse("60s"), "houlsby", made.methods[0].hyperparameters, 1000)
    assert budget.amount == tokens == whole
    with pytest.raises(SpecError, match=r"2,000 reference tokens is too small for full: .* fewer than one batch"):
        convert([made], Budget.parse("2k reference tokens"), "full", made.methods[3].hyperparameters, 2000)
    with pytest.raises(SpecError, match="too small"):
        convert([made], Budget.parse("0.01s"), "full", made.methods[3].hyperparameters, 2000)
    with pytest.raises(RecordError, match="dora was not calibrated"):
        convert([made], Budget.parse("60s"), "dora", {}, 2000)


@pytest.mark.parametrize(
    ("methods", "share", "refused"),
    [
        ("-m houlsby", 0.9, True), ("-m houlsby", 1.1, False), ("-m lora", 0.9, False), ("-m lora", 0.09, True),
        ("-m lora -m houlsby", 0.9, True), ("-m houlsby --set houlsby.bottleneck=2", 0.9, False),
    ],
)  # fmt: skip
def test_reference_tokens_that_no_ratio_makes_a_batch_are_refused_before_a_calibration(
    methods: str, share: float, refused: bool, what: list[str], tmp_path: Path, small_task: Task,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    class Calibrating(Exception):
        """Raised in the place of a calibration."""

    def calibrate(*arguments: object, **fields: object) -> None:
        raise Calibrating

    monkeypatch.setattr(module, "calibrate", calibrate)
    batch = 16 * float(small_task.lengths(small_task.train, 128).mean())
    budget = f"{round(share * batch)} reference tokens"
    arguments = ["run", *what[2:], *methods.split(), "--budget", budget, "--out", str(tmp_path)]
    if refused:
        assert call(arguments) == 2
        assert capsys.readouterr().err.startswith(f"error: budget {round(share * batch):,} reference tokens is too small for ")
    else:
        with pytest.raises(Calibrating):
            call(arguments)
    assert list(tmp_path.iterdir()) == []


def test_what_a_folder_holds_is_found_and_the_rest_is_calibrated_beside_it(
    subject: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = simulated(subject, tmp_path, Machine())
    model = first.environment.device
    asked = declared("lora", "bitfit")
    found = [speed_of(find_calibrations(tmp_path, setting_of(subject), model), one) for one in asked]
    assert [one and one[0] for one in found] == [first, None]
    timed: list[list[str]] = []

    def short(subject: Job, methods: object, out: Path, **fields: object) -> Calibration:
        names = [name for name, _ in methods]  # type: ignore[attr-defined]
        timed.append(names)
        return simulated(subject, out, Machine(), names)

    monkeypatch.setattr(module, "calibrate", short)
    found = calibrated(subject, asked, tmp_path, progress=print)
    assert timed == [["bitfit"]]
    assert [len(one.methods) for one in found] == [5, 2]
    assert found[0] == first  # seconds go on to mean what they did
    _, tokens, conversion = convert(found, Budget.parse("60s"), *asked[1], 100)
    assert conversion.calibration == found[1].run_id
    assert tokens == reference_tokens(Budget.parse("60s"), first)
    assert calibrated(subject, asked, tmp_path, progress=print) == found
    assert len(timed) == 1


def test_what_is_not_valid_is_refused_in_one_line(subject: Job, tmp_path: Path) -> None:
    made = simulated(subject, tmp_path, Machine())
    path, lora = path_of(tmp_path, made), declared("lora")
    assert load_calibration(path, setting_of(subject), lora) == made
    elsewhere = setting_of(subject).model_copy(update={"threads": 64, "device": "cuda"})
    assert load_calibration(path, elsewhere, lora) == made
    with pytest.raises(RecordError, match=r"another kind of machine .*name it with --calibration"):
        find_calibrations(tmp_path, setting_of(subject), "Another CPU")
    with pytest.raises(RecordError, match="another kind of machine"):
        find_calibrations(tmp_path, elsewhere, made.environment.device)
    for field_, word in (("max_length", "max_length"), ("encoder_sha256", "encoder"), ("precision", "precision")):
        other = setting_of(subject).model_copy(update={field_: {"max_length": 64, "precision": "bf16"}.get(field_, "0" * 64)})
        assert find_calibrations(tmp_path, other, made.environment.device) == []
        with pytest.raises(RecordError, match=f"another setting: its {word} is"):
            load_calibration(path, other, lora)
    with pytest.raises(RecordError, match="does not hold bitfit"):
        load_calibration(path, setting_of(subject), declared("bitfit"))
    old = save(tmp_path / "old", made.model_copy(update={"rules_version": 1}))
    with pytest.raises(RecordError, match="rules version 1"):
        load_calibration(old, setting_of(subject), lora)
    assert find_calibrations(tmp_path / "old", setting_of(subject), made.environment.device) == []
    with pytest.raises(RecordError, match="there is no record"):
        load_calibration(tmp_path / "none.json", setting_of(subject), lora)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(RecordError, match="is not a record"):
        load_calibration(tmp_path / "x.json", setting_of(subject), lora)
    path.write_text(path.read_text().replace('"seconds_asked": 60', '"seconds_asked": 61'))
    with pytest.raises(RecordError, match="cannot be trusted: it was changed"):
        load_calibration(path, setting_of(subject), lora)
    with pytest.raises(RecordError, match=r"changed after it was written.*move it away"):
        find_calibrations(tmp_path, setting_of(subject), made.environment.device)


DAMAGE = {
    "calibration threads": lambda made: made.model_copy(
        update={"environment": made.environment.model_copy(update={"threads": 7})}
    ),
    "calibration reference": lambda made: made.model_copy(update={"rounds": made.rounds + 1}),
    "calibration batches": lambda made: _sliced(made, 1, tokens=7),
    "calibration rounds": lambda made: made.model_copy(update={"rounds_counted": made.rounds_counted - 1}),
    "calibration ratios": lambda made: _method(made, 1, ratio=made.methods[1].ratio * 1.001),
    "calibration speed": lambda made: made.model_copy(update={"tokens_per_second": made.tokens_per_second * 1.001}),
    "calibration clock": lambda made: made.model_copy(update={"seconds": made.seconds / 2}),
    "run id": lambda made: made.model_copy(update={"finished": "2026-01-01T00:00:00+00:00"}),
}


def _method(made: Calibration, at: int, **fields: object) -> Calibration:
    methods = list(made.methods)
    methods[at] = methods[at].model_copy(update=fields)
    return made.model_copy(update={"methods": methods})


def _sliced(made: Calibration, at: int, **fields: object) -> Calibration:
    first, *rest = made.methods[at].slices
    return _method(made, at, slices=[first.model_copy(update=fields), *rest])


@pytest.mark.parametrize("check", DAMAGE)
def test_the_audit_finds_what_was_edited(check: str, subject: Job, tmp_path: Path) -> None:
    made = simulated(subject, tmp_path / "whole", Machine())
    assert audit([tmp_path / "whole"])[0].failed is None
    (outcome,) = audit([save(tmp_path, DAMAGE[check](made))])
    assert outcome.failed[0] == check


def test_a_calibration_is_no_run_to_what_reads_records(subject: Job, tmp_path: Path) -> None:
    from bench.runs.monitor import records_of

    simulated(subject, tmp_path, Machine())
    assert [type(one) for one in load(tmp_path)] == [Calibration]
    assert records_of(tmp_path) == ([], 0)
    with pytest.raises(RecordError, match="holds no records of runs"):
        read_report([tmp_path], "houlsby")
