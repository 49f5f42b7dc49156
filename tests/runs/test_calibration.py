"""Calibration: ratios hold while the machine moves, under a simulated clock and simulated workers."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from bench.models.pretrained import PretrainedModel
from bench.records.audit import audit
from bench.records.migrate import migrate
from bench.records.ratios import FEWEST, interval_of_median, qualifying_rounds, ratio, speed
from bench.records.schema import Calibration, Slice
from bench.runs.budgets import find_calibrations, speed_of
from bench.runs.calibration import RESIDENT, calibrate, setting_of, warnings
from bench.runs.rounds import slices_of, steps_of
from bench.system.errors import MethodError
from bench.training.job import Job
from tests.conftest import call, make_job, make_spec
from tests.measurements.calibration_load import measure
from tests.runs.simulation import LOADS, TRUE, Machine, declared, named_methods, simulated


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


def test_measured_quiet_ratios_lie_in_the_loaded_intervals() -> None:
    """Of the measurement beside which nothing else ran."""
    whole = json.loads(LOADED.with_stem("calibration-load-quiet").read_text())
    quiet, loaded, again = (Calibration(**migrate(one)) for one in whole["calibrations"].values())
    for one, other, more in zip(quiet.methods, loaded.methods, again.methods, strict=True):
        assert None not in (one.ratio, more.ratio, other.low, other.high)
        assert other.low <= min(one.ratio, more.ratio)  # type: ignore[operator, type-var]
        assert max(one.ratio, more.ratio) <= other.high  # type: ignore[operator, type-var]
    assert quiet.rounds_counted > quiet.rounds / 2


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
