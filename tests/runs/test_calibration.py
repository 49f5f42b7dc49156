"""Calibration: ratios hold while the machine moves, under a simulated clock and simulated workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import methods as registry
from bench.data.task import Ints
from bench.models.pretrained import PretrainedModel
from bench.records.audit import audit
from bench.records.migrate import migrate
from bench.records.ratios import FEWEST, interval_of_median, qualifying_rounds, ratio, speed
from bench.records.schema import Calibration, Slice
from bench.records.spec import Budget
from bench.records.store import load, path_of, save
from bench.report.load import read as read_report
from bench.runs import budgets as module
from bench.runs.budgets import calibrated, convert, find_calibrations, load_calibration, reference_tokens, speed_of
from bench.runs.calibration import RESIDENT, calibrate, setting_of, warnings
from bench.runs.rounds import WorkerLost, slices_of, steps_of
from bench.system.errors import MethodError, RecordError, SpecError
from bench.training.job import Job
from tests.conftest import call, make_job, make_spec
from tests.measurements.calibration_load import measure

TRUE = {"houlsby": 1.0, "pfeiffer": 0.8, "lora": 0.9, "full": 1.6, "head-only": 0.4, "bitfit": 0.7, "dora": 1.3}
"""Time of a token of each simulated method, in those of the reference."""
Slowness = Callable[[float, np.random.Generator], float]


def steady(now: float, generator: np.random.Generator) -> float:
    return 1.0


LOADS: dict[str, Slowness] = {
    "steady": steady,
    "drift": lambda now, generator: 1.0 + now / 120,
    "step": lambda now, generator: 2.5 if 20 < now < 35 else 1.0,
    "spikes": lambda now, generator: 6.0 if generator.random() < 0.08 else 1.0,
    # A neighbour that burns a core for two of every five seconds.
    "contention": lambda now, generator: 1.9 if now % 5 < 2 else 1.0,
}


@dataclass
class Machine:
    """A simulated machine: a clock that workers move, and how slow it is at which time."""

    slowness: Slowness = steady
    now: float = 0.0
    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    resident: list[str] = field(default_factory=list)
    most: int = 0
    lose: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Methods whose worker is lost: in which state, and when more than so many are resident."""
    asked: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def start(self, job: Job) -> SimulatedWorker:
        self.resident.append(job.spec.method)
        self.most = max(self.most, len(self.resident))
        return SimulatedWorker(self, job.spec.method)


@dataclass
class SimulatedWorker:
    machine: Machine
    method: str

    def ready(self) -> None:
        state, most = self.machine.lose.get(self.method, ("", 99))
        if state and len(self.machine.resident) > most:
            raise WorkerLost(state, "no room")  # type: ignore[arg-type]

    def time(self, batches: list[Ints]) -> tuple[float, int]:
        machine, tokens = self.machine, 128 * sum(len(rows) for rows in batches)
        machine.asked.append((self.method, tuple(int(row) for rows in batches for row in rows)))
        slow = machine.slowness(machine.now, machine.generator)
        if slow > 1.5 and self.method == "full":
            slow **= 1.3  # what is bound by memory suffers more
        noise = np.exp(machine.generator.normal(0, 0.015))
        seconds = tokens / 10_000 * TRUE[self.method] * slow * noise
        machine.now += seconds
        return float(seconds), tokens

    def stop(self) -> None:
        self.machine.resident.remove(self.method)


def declared(*names: str) -> list[tuple[str, dict[str, object]]]:
    own = {name: registry.get(name).hyperparameters() for name in names}
    return [(name, {field: value for field, value in own[name].items() if field != "learning_rate"}) for name in names]


def named_methods(made: Calibration) -> list[tuple[str, dict[str, object]]]:
    return [(one.method, one.hyperparameters) for one in made.methods]


@pytest.fixture
def subject(tiny: PretrainedModel, small_folder: Path) -> Job:
    return make_job(make_spec(), tiny, small_folder)


def simulated(
    subject: Job, out: Path, machine: Machine, methods: list[str] | None = None, seconds: float | None = None
) -> Calibration:
    asked = declared(*(methods or ["houlsby", "pfeiffer", "lora", "full", "head-only"]))
    return calibrate(subject, asked, out, seconds=seconds, worker=machine.start, clock=machine.clock)


@pytest.mark.parametrize("load", LOADS)
def test_ratios_hold_while_the_speed_of_the_machine_moves(load: str, subject: Job, tmp_path: Path) -> None:
    machine = Machine(LOADS[load])
    made = simulated(subject, tmp_path, machine, seconds=120)
    for one in made.methods:
        assert one.ratio == pytest.approx(TRUE[one.method], rel=0.03), one.method
        assert one.low <= one.ratio <= one.high
    slices = [one.tokens / one.seconds for one in made.methods[0].slices]
    assert (max(slices) / min(slices) > 1.2) == (load != "steady")
    assert not warnings(made, named_methods(made))
    assert all(outcome.failed is None for outcome in audit([tmp_path]))


def test_a_round_is_the_same_batches_in_a_random_order(subject: Job, tmp_path: Path) -> None:
    machine = Machine()
    made = simulated(subject, tmp_path, machine)
    rounds = machine.asked[-5 * made.rounds :]
    orders = set()
    for i in range(0, len(rounds), 5):
        methods, batches = zip(*rounds[i : i + 5], strict=True)
        assert len(set(batches)) == 1
        assert set(methods) == {one.method for one in made.methods}
        orders.add(methods)
    assert len(orders) > 2
    repeated = Machine()
    simulated(subject, tmp_path / "again", repeated)
    assert repeated.asked == machine.asked


def test_rounds_end_when_every_interval_is_narrow_or_the_time_is_spent(subject: Job, tmp_path: Path) -> None:
    made = simulated(subject, tmp_path, Machine(), seconds=600)
    assert FEWEST <= made.rounds < 60
    assert all(max(one.high - one.ratio, one.ratio - one.low) <= 0.03 * one.ratio for one in made.methods)  # type: ignore[operator]
    noisy = Machine(lambda now, generator: float(np.exp(generator.normal(0, 0.3))))
    wide = simulated(subject, tmp_path / "wide", noisy, seconds=30)
    assert wide.seconds <= 30
    assert any("wider than ±10%" in line for line in warnings(wide, named_methods(wide)))
    alone = simulated(subject, tmp_path / "alone", Machine(noisy.slowness), ["lora"])
    assert 10 < alone.seconds <= 15
    assert alone.seconds_asked == 15


def test_a_busy_machine_is_said(subject: Job, tmp_path: Path) -> None:
    busy = Machine(lambda now, generator: 1.0 if generator.random() < 0.1 else 1.5 + 2.5 * float(generator.random()))
    made = simulated(subject, tmp_path, busy, seconds=60)
    assert made.rounds_counted < made.rounds / 2
    assert any("the machine was busy" in line for line in warnings(made, named_methods(made)))
    assert all(one.low is not None for one in made.methods)


@pytest.mark.parametrize("slice_seconds", [0.5, 1.4])
def test_bursts_as_long_as_a_slice_bias_no_ratio(slice_seconds: float) -> None:
    """A neighbour burns a core for 2 s and rests for 2 s, on average; few rounds are free of it when slices are long."""
    generator, inside, errors = np.random.default_rng(7), 0, []
    for _ in range(60):
        edges = np.cumsum(generator.exponential(2.0, 400))
        now, found = 0.0, {name: [] for name in ("houlsby", "lora")}
        while now < 200:
            for name in generator.permutation(["houlsby", "lora", "full", "pfeiffer"]).tolist():
                left, end = slice_seconds * TRUE[name] * np.exp(generator.normal(0, 0.04)), now
                while left > 0:
                    k = int(np.searchsorted(edges, end, side="right"))
                    slowness = 1.9 if k % 2 else 1.0
                    done = min(left, (edges[k] - end) / slowness)
                    left, end = left - done, end + max(done * slowness, 1e-9)
                if name in found:
                    found[name].append(Slice(round=len(found[name]), seconds=end - now, tokens=1000))
                now = end
        got = ratio(found["lora"], found["houlsby"])
        inside += got.low <= TRUE["lora"] <= got.high
        errors.append(got.value / TRUE["lora"] - 1)
    assert inside >= 54
    assert abs(np.mean(errors)) < 0.015


def test_at_most_five_are_resident_and_the_reference_is_in_every_group(subject: Job, tmp_path: Path) -> None:
    machine = Machine()
    made = simulated(subject, tmp_path, machine, ["houlsby", "pfeiffer", "lora", "full", "head-only", "bitfit"])
    assert machine.most == RESIDENT
    assert machine.resident == []
    assert len(made.methods[0].slices) == made.rounds
    beside = {one.round for one in made.methods[0].slices}
    assert all({s.round for s in one.slices} <= beside and one.ratio is not None for one in made.methods)
    assert not {s.round for s in made.methods[-1].slices} & {s.round for s in made.methods[1].slices}


def test_a_method_that_does_not_fit_is_tried_alone_and_recorded(subject: Job, tmp_path: Path) -> None:
    machine = Machine(lose={"full": ("out-of-memory", 2), "lora": ("failed", 0), "head-only": ("out-of-memory", 0)})
    made = simulated(subject, tmp_path, machine)
    states = {one.method: one.state for one in made.methods}
    assert states == {
        "houlsby": "complete", "pfeiffer": "complete", "lora": "failed", "full": "complete", "head-only": "out-of-memory",
    }  # fmt: skip
    assert machine.resident == []
    assert speed_of([made], ("head-only", {})) is not None
    assert speed_of([made], ("lora", {})) is None  # the next command tries again
    assert "head-only: out-of-memory: no room" in warnings(made, named_methods(made))
    assert audit([tmp_path])[0].failed is None
    with pytest.raises(MethodError, match="houlsby cannot be calibrated: no room"):
        simulated(subject, tmp_path / "x", Machine(lose={"houlsby": ("failed", 0)}))


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


def test_intervals_of_a_median_hold_it_as_often_as_they_say() -> None:
    assert interval_of_median([1, 2, 3, 4, 5]) is None
    assert interval_of_median([6, 5, 4, 3, 2, 1]) == (1, 6)
    assert interval_of_median(range(1, 21)) == (6, 15)  # Conover 1999: ranks 6 and 15 of 20, 95.9 %
    generator, held = np.random.default_rng(0), 0
    for _ in range(2000):
        low, high = interval_of_median(generator.exponential(size=15).tolist()) or (0, 0)
        held += low <= np.log(2) <= high
    assert held / 2000 > 0.94


def test_ratios_are_of_rounds_with_a_quiet_reference() -> None:
    reference = [Slice(round=i, seconds=1.0 if i % 2 else 1.5, tokens=100) for i in range(20)]
    own = [Slice(round=i, seconds=2.0 if i % 2 else 6.0, tokens=100) for i in range(20)]
    assert qualifying_rounds(reference) == set(range(1, 20, 2))
    found = ratio(own, reference)
    assert (found.value, found.low, found.high, found.rounds) == (2.0, 2.0, 2.0, 10)
    busy = [Slice(round=i, seconds=1.0 + i, tokens=100) for i in range(8)]
    few = ratio([one.model_copy(update={"seconds": 2 * one.seconds}) for one in busy], busy)
    assert (few.value, few.rounds) == (2.0, 8)
    assert ratio([], busy) is None
    assert speed(reference) == pytest.approx(100)


def test_slices_hold_like_amounts_of_text() -> None:
    lengths = np.random.default_rng(0).integers(20, 257, 4000)
    for steps in (2, 4, 20, 200):
        amounts = [sum(int(lengths[rows].sum()) for rows in one) for one in islice(slices_of(lengths, 16, 1, steps), 10)]
        assert max(amounts) / min(amounts) < 1.2
    assert steps_of("cpu", 0.36) == 2
    assert steps_of("cpu", 0.05) == 10
    assert steps_of("cpu", 1e-9) == 200
    assert steps_of("cuda", 0.5) == 20


def test_a_real_calibration_in_which_one_method_is_beyond_its_memory(
    tiny: PretrainedModel, small_folder: Path, tmp_path: Path
) -> None:
    job = make_job(make_spec(threads=1, memory_cap=24 * 2**20), tiny, small_folder)
    made = calibrate(job, declared("houlsby", "full"), tmp_path, seconds=2)
    (outcome,) = audit([tmp_path])
    assert outcome.failed is None
    assert made.setting == setting_of(job)
    assert [(one.method, one.state) for one in made.methods] == [("houlsby", "complete"), ("full", "out-of-memory")]
    assert len(made.methods[0].slices) == made.rounds >= 1
    assert "the cap is 24 MiB" in (made.methods[1].reason or "")
    assert find_calibrations(tmp_path, setting_of(job), made.environment.device) == [made]


LOADED = Path(__file__).parents[2] / "results" / "calibration-load.json"


@pytest.mark.skipif(not LOADED.exists(), reason="make calibration-load was not run")
def test_measured_ratios_agree_while_raw_speeds_do_not() -> None:
    made = {name: Calibration(**migrate(one)) for name, one in json.loads(LOADED.read_text())["calibrations"].items()}
    quiet, loaded = made["quiet"], made["loaded"]
    for one, other in zip(quiet.methods, loaded.methods, strict=True):
        assert one.method == other.method
        assert one.low is not None and one.high is not None and other.low is not None and other.high is not None  # noqa: PT018
        assert max(one.low, other.low) <= min(one.high, other.high), one.method
    raw = [[found.tokens / found.seconds for found in one.methods[0].slices] for one in (quiet, loaded)]
    assert np.mean(raw[0]) / np.mean(raw[1]) > 1.2


@pytest.mark.slow
def test_the_load_program_burns_and_measures(tiny: PretrainedModel, small_folder: Path) -> None:
    subject = make_job(make_spec(threads=1), tiny, small_folder)
    found = measure(subject, declared("houlsby"), seconds=1)
    assert list(found) == ["quiet", "loaded", "quiet again"]
    assert all(Calibration(**one).rounds >= 1 for one in found.values())


def test_the_command_prints_a_table_and_saves_the_record(
    tiny_folder: Path, small_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--encoder", str(tiny_folder), "--data", str(small_folder), "--max-length", "32", "--batch-size", "8")
    two = ["--method", "houlsby", "--method", "lora"]
    assert call(["calibrate", *two, *asked, "--seconds", "1", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    (path,) = tmp_path.glob("calibration-tiny-cpu-*.json")
    assert "95 % interval" in out
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  ")][:3] == ["method", "houlsby", "lora"]
    assert f"record: {path}" in out
