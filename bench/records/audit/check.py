"""Checks: named functions over one record that return the figure that holds, or raise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from bench.records.schema import AnyRecord, Baseline, Calibration, Evaluation, Record

__all__ = [
    "Case", "Check", "Checks", "Labels", "Mismatch", "NotApplicable", "NotOfThisKind", "PARTS", "require", "near", "same",
    "display", "within",
]  # fmt: skip

_T = TypeVar("_T")
_LONGEST = 200
"""Characters shown of a text: a record may hold any."""
Part = Literal["test", "out_of_domain"]
PARTS: tuple[Part, ...] = ("test", "out_of_domain")
"""Parts of a record that hold an evaluation."""
Labels = tuple[Part, str, str, int | None, int]
"""Which reviews a test was on: the part of the record, hash of the reviews, cut, test limit, number of reviews."""


@dataclass(frozen=True)
class Case:
    """A record under audit, and what is known beside it. A property raises NotOfThisKind for a record that has no such part."""

    path: Path
    record: AnyRecord
    labels: Mapping[Labels, Counter[bytes]]
    """For each test, how many of the records given imply which labels (two bytes a review)."""
    part: Part = "test"
    """The test that checks of a test are of."""

    @property
    def run(self) -> Record:
        if isinstance(self.record, Record):
            return self.record
        raise NotOfThisKind

    @property
    def tested(self) -> Record | Baseline:
        if isinstance(self.record, Calibration):
            raise NotOfThisKind
        return self.record

    @property
    def calibration(self) -> Calibration:
        if isinstance(self.record, Calibration):
            return self.record
        raise NotOfThisKind

    @property
    def test(self) -> Evaluation:
        if self.part == "out_of_domain":
            return require(self.run.out_of_domain, "an out-of-domain test")
        return require(self.tested.test, "a test")


class NotApplicable(Exception):
    """The record lacks a field of the check; the message names it."""


class NotOfThisKind(NotApplicable):
    """The check is of another kind of record, say of runs where this is a baseline."""


class Mismatch(Exception):
    """A field is not what the raw fields give."""

    def __init__(self, recorded: object, gives: object) -> None:
        super().__init__(f"says {display(recorded)}, raw fields give {display(gives)}")


@dataclass(frozen=True)
class Check:
    """A name, and a function that returns the figure that holds, or raises NotApplicable or Mismatch."""

    name: str
    function: Callable[[Case], str]

    @property
    def explanation(self) -> str:
        """The docstring of the function, on one line."""
        return " ".join((self.function.__doc__ or "").split())


class Checks(list[Check]):
    """The checks of one part of a record, in order. Calling it with a name gives a decorator that appends."""

    def __call__(self, name: str) -> Callable[[Callable[[Case], str]], Callable[[Case], str]]:
        def add(function: Callable[[Case], str]) -> Callable[[Case], str]:
            self.append(Check(name, function))
            return function

        return add


def display(value: object) -> str:
    """Format a value for a line: whole numbers with thousands, shares and seconds to nine digits, text short."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}" if value.bit_length() < 128 else "a number of more than 38 digits"
    text = f"{value:.9g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def require(value: _T | None, description: str) -> _T:
    """Return the value, where the record has it.

    Raises:
        NotApplicable: if it is None.
    """
    if value is None:
        raise NotApplicable(f"{description} is not recorded")
    return value


def same(recorded: object, gives: object) -> str:
    """Return the figure, where both are equal."""
    if recorded != gives:
        raise Mismatch(recorded, gives)
    return display(recorded)


def near(recorded: float | None, gives: float | None, *, share: float = 1e-9, slack: float = 1e-9) -> str:
    """Return the figure, where it is within `share` of what the raw fields give, or within `slack` in its own unit; where
    either is None, both must be.
    """
    if recorded is None or gives is None:
        return same(recorded, gives)
    if not abs(recorded - gives) <= max(share * abs(gives), slack):
        raise Mismatch(recorded, gives)
    return display(recorded)


def within(recorded: float, least: float, most: float, unit: str) -> str:
    """Return the figure, where it is from `least` to `most`, in `unit`."""
    if not least <= recorded <= most:
        bounds = [f"at least {display(least)}"] * (least > -float("inf")) + [f"at most {display(most)}"] * (most < float("inf"))
        raise Mismatch(f"{display(recorded)} {unit}", " and ".join(bounds))
    return f"{display(recorded)} {unit}"
