"""The schedule, the ledger and its promise: a budget is overrun by at most one step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.records.spec import Budget
from bench.rules import MARKS, WARM_UP
from bench.system.meters import DeviceClock
from bench.training.budget import Ledger, schedule


def test_the_schedule_rises_and_falls_linearly() -> None:
    assert schedule(0.0) == schedule(1.0) == 0.0
    assert schedule(WARM_UP / 2) == pytest.approx(0.5)
    assert schedule(WARM_UP) == pytest.approx(1.0)
    assert schedule((1 + WARM_UP) / 2) == pytest.approx(0.5)


@given(st.floats(0, 1))
def test_the_schedule_is_a_share(fraction: float) -> None:
    assert 0 <= schedule(fraction) <= 1


@given(
    st.sampled_from(["steps", "epochs", "tokens"]),
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(1, 8), st.integers(1, 100)), min_size=1, max_size=400),
)
def test_overshoot_is_at_most_one_step(unit: str, amount: int, steps: list[tuple[int, int]]) -> None:
    clock = DeviceClock("cpu")
    ledger = Ledger(Budget(amount=amount, unit=unit), clock, train_reviews=20)
    clock.start()
    largest = 0.0
    for reviews, tokens in steps:
        before = ledger.spent
        ledger.charge(reviews, tokens)
        ledger.count_step(reviews, loss=1.0)
        largest = max(largest, ledger.spent - before)
        while ledger.mark_reached:
            ledger.add_point(0.5)
        if ledger.done:
            break
    summary = ledger.summary("a", "a")
    assert summary.spent == ledger.spent
    assert summary.overshoot <= largest + 1e-9
    assert not ledger.done or len(summary.curve) == len(MARKS)
    assert ledger.fraction <= 1
    if unit == "steps" and ledger.done:
        assert summary.overshoot == 0


def test_the_clock_charges_only_what_is_not_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0
    monkeypatch.setattr(DeviceClock, "_now", lambda clock: now)
    clock = DeviceClock("cpu")
    clock.start()
    now += 1
    with clock.paused():
        now += 100
    now += 2
    clock.stop()
    now += 1000
    assert (clock.seconds, clock.paused_seconds) == (3, 100)
