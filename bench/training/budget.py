"""The ledger of a run, its budget spent and its counts, and the learning rate schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.records.schema import CurvePoint, Training
from bench.records.spec import Budget
from bench.rules import MARKS, WARM_UP
from bench.system.meters import DeviceClock
from bench.training.checkpoint import Counts

__all__ = ["Ledger", "schedule"]


def schedule(fraction: float) -> float:
    """Return the share of the peak learning rate after `fraction` of training: linear up over `WARM_UP`, then linear to 0."""
    if fraction < WARM_UP:
        return fraction / WARM_UP
    return max(0.0, (1.0 - fraction) / (1.0 - WARM_UP))


@dataclass
class Ledger:
    """Counts one run's training. The clock is read and recorded; it decides nothing."""

    budget: Budget
    """In steps, epochs or tokens: a budget in seconds is converted before a run starts."""
    clock: DeviceClock
    train_reviews: int
    """Texts in an epoch."""
    encodes_once: bool = False
    """Whether the budget limits encoding only, and training is passes over the cached features (rules, section 4)."""
    batches: int = 0
    """Batches encoded whole; with `reviews_spent` and `tokens_spent` what the budget counts."""
    reviews_spent: int = 0
    tokens_spent: int = 0
    pass_steps: int = 0
    """Optimizer steps of all passes, known when encoding ends; 0 before, and for a method that trains the encoder."""
    steps: int = 0
    reviews_seen: int = 0
    reviews_trained: int = 0
    tokens_seen: int = 0
    tokens_padded: int = 0
    losses: list[float] = field(default_factory=list)
    curve: list[CurvePoint] = field(default_factory=list)
    distinct: set[int] = field(default_factory=set)
    longest_step: float = 0.0
    seconds: float = 0.0
    """Device seconds charged at the end of the last step, or of the last encoded batch."""
    curve_from: int = 0
    """The first loss that the next point of the curve counts."""

    @property
    def spent(self) -> float:
        """Return the budget spent at the end of the last batch, in its unit.

        Raises:
            ValueError: for a budget that a calibration should have converted.
        """
        if self.budget.unit == "steps":
            return float(self.batches)
        if self.budget.unit == "epochs":
            return self.reviews_spent / self.train_reviews
        if self.budget.unit == "tokens":
            return float(self.tokens_spent)
        raise ValueError(f"a run counts tokens, steps or epochs, not {self.budget.unit}")

    @property
    def encoding(self) -> bool:
        """Whether a method that encodes once still encodes."""
        return self.encodes_once and not self.pass_steps

    @property
    def fraction(self) -> float:
        """Share of training done, in [0, 1], which the learning rate follows; 0 while encoding."""
        if self.encodes_once:
            return self.steps / self.pass_steps if self.pass_steps else 0.0
        return min(1.0, self.spent / self.budget.amount)

    @property
    def progress(self) -> float:
        """Share of the run done, in [0, 1], to show: encoding and passes count half each."""
        if not self.encodes_once:
            return self.fraction
        return (min(1.0, self.spent / self.budget.amount) if self.encoding else 1.0) / 2 + self.fraction / 2

    @property
    def done(self) -> bool:
        return self.fraction >= 1.0

    @property
    def units(self) -> int:
        """Batches processed, those of passes over cached features included: the position of a checkpoint."""
        return self.batches + (self.steps if self.encodes_once else 0)

    @property
    def marks(self) -> tuple[float, ...]:
        """Shares of training at which validation is read; for a head over cached features its end alone."""
        return MARKS[-1:] if self.encodes_once else MARKS

    @property
    def mark_reached(self) -> bool:
        """Whether the next point of the curve is due."""
        return len(self.curve) < len(self.marks) and self.fraction >= self.marks[len(self.curve)]

    def count_encoded(self, rows: list[int], tokens: int, padded: int) -> None:
        """Count texts that passed through the encoder, with their tokens, padding excluded and included."""
        self.reviews_seen += len(rows)
        self.distinct.update(rows)
        self.tokens_seen += tokens
        self.tokens_padded += padded

    def charge(self, reviews: int, tokens: int) -> None:
        """Charge a batch that passed through the encoder to the budget. While encoding, this reads the clock."""
        self.batches += 1
        self.reviews_spent += reviews
        self.tokens_spent += tokens
        if self.encoding:
            self._read_clock()

    def count_step(self, reviews: int, loss: float) -> None:
        """Count an optimizer step that ended, and read the clock."""
        self.steps += 1
        self.reviews_trained += reviews
        self.losses.append(loss)
        self._read_clock()

    def _read_clock(self) -> None:
        before, self.seconds = self.seconds, self.clock.seconds
        self.longest_step = max(self.longest_step, self.seconds - before)

    def add_point(self, accuracy: float) -> None:
        """Add a point to the curve for each mark passed since the last one."""
        since = self.losses[self.curve_from :] or self.losses[-1:]
        point = CurvePoint(
            fraction=self.fraction, seconds=self.seconds, step=self.steps, reviews=self.reviews_seen,
            tokens=self.tokens_seen, loss=sum(since) / len(since), accuracy=accuracy,
        )  # fmt: skip
        self.curve_from = len(self.losses)
        while self.mark_reached:
            self.curve.append(point)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters and the curve, by name; losses and rows are kept as tensors."""
        return {name: getattr(self, name) for name in Counts.model_fields}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, and "losses" and "distinct"."""
        for name, value in state.items():
            setattr(self, name, value)

    def summary(self, frozen_before: str, frozen_after: str) -> Training:
        """Return the ledger as a record keeps it."""
        return Training(
            steps=self.steps, reviews_seen=self.reviews_seen, reviews_distinct=len(self.distinct),
            reviews_trained=self.reviews_trained, tokens_seen=self.tokens_seen, tokens_padded=self.tokens_padded,
            spent=self.spent, overshoot=max(0.0, self.spent - self.budget.amount),
            longest_step_seconds=self.longest_step,
            loss_first=self.losses[0] if self.losses else 0.0, loss_last=self.losses[-1] if self.losses else 0.0,
            curve=self.curve, frozen_sha256_before=frozen_before, frozen_sha256_after=frozen_after,
        )  # fmt: skip
