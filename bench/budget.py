"""The ledger of a run: what has been spent, what was bought with it, and the learning rate that follows."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.meters import DeviceClock
from bench.record import MARKS, CurvePoint, Training
from bench.spec import Budget

__all__ = ["MARKS", "WARM_UP", "Ledger", "schedule"]

WARM_UP = 0.06
"""Share of the budget over which the learning rate rises (Liu et al. 2019, table 10: RoBERTa's 6 % of steps)."""


def schedule(fraction: float) -> float:
    """Share of the peak learning rate when `fraction` of the budget is spent: linear up over `WARM_UP`, then linear to 0.

    A function of the budget and not of steps, so that a time budget has the same schedule at every speed.
    """
    if fraction < WARM_UP:
        return fraction / WARM_UP
    return max(0.0, (1.0 - fraction) / (1.0 - WARM_UP))


@dataclass
class Ledger:
    """Counts one run's training. The clock charges device seconds, `step_taken` everything else."""

    budget: Budget
    clock: DeviceClock
    train_reviews: int
    """Reviews in an epoch."""
    steps: int = 0
    reviews_seen: int = 0
    reviews_trained: int = 0
    tokens_seen: int = 0
    tokens_padded: int = 0
    tokens_trained: int = 0
    losses: list[float] = field(default_factory=list)
    curve: list[CurvePoint] = field(default_factory=list)
    distinct: set[int] = field(default_factory=set)
    longest_step: float = 0.0
    seconds: float = 0.0
    """Device seconds charged at the end of the last step."""
    curve_from: int = 0
    """The first loss that the next point of the curve counts."""

    @property
    def spent(self) -> float:
        """Budget spent at the end of the last step, in the budget's unit."""
        return {
            "seconds": self.seconds,
            "steps": float(self.steps),
            "epochs": self.reviews_trained / self.train_reviews,
            "tokens": float(self.tokens_trained),
        }[self.budget.unit]

    @property
    def fraction(self) -> float:
        """Share of the budget spent, at most 1."""
        return min(1.0, self.spent / self.budget.amount)

    @property
    def done(self) -> bool:
        return self.spent >= self.budget.amount

    @property
    def mark_reached(self) -> bool:
        """Whether the next point of the curve is due."""
        return len(self.curve) < len(MARKS) and self.fraction >= MARKS[len(self.curve)]

    def encoded(self, rows: list[int], tokens: int, padded: int) -> None:
        """Reviews passed through the encoder."""
        self.reviews_seen += len(rows)
        self.distinct.update(rows)
        self.tokens_seen += tokens
        self.tokens_padded += padded

    def step_taken(self, reviews: int, tokens: int, loss: float) -> None:
        """An optimizer step ended; the clock is read here."""
        self.steps += 1
        self.reviews_trained += reviews
        self.tokens_trained += tokens
        self.losses.append(loss)
        before, self.seconds = self.seconds, self.clock.seconds
        self.longest_step = max(self.longest_step, self.seconds - before)

    def validated(self, accuracy: float) -> None:
        """Add a point to the curve, as often as marks were passed since the last one."""
        since = self.losses[self.curve_from :] or self.losses[-1:]
        point = CurvePoint(
            fraction=self.fraction, seconds=self.seconds, step=self.steps, reviews=self.reviews_seen,
            tokens=self.tokens_seen, loss=sum(since) / len(since), accuracy=accuracy,
        )  # fmt: skip
        self.curve_from = len(self.losses)
        while self.mark_reached:
            self.curve.append(point)

    def summary(self, frozen_before: str, frozen_after: str) -> Training:
        """The ledger as a record keeps it."""
        return Training(
            steps=self.steps, reviews_seen=self.reviews_seen, reviews_distinct=len(self.distinct),
            reviews_trained=self.reviews_trained, tokens_seen=self.tokens_seen, tokens_padded=self.tokens_padded,
            spent=self.spent, overshoot=max(0.0, self.spent - self.budget.amount),
            longest_step_seconds=self.longest_step,
            loss_first=self.losses[0] if self.losses else 0.0, loss_last=self.losses[-1] if self.losses else 0.0,
            curve=self.curve, frozen_sha256_before=frozen_before, frozen_sha256_after=frozen_after,
        )  # fmt: skip
