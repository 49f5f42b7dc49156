"""The rows of a comparison, baselines and the published result among them, and its columns, once for every format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

from bench.analysis.comparison import Group, Row
from bench.analysis.verdicts import Paired, worded
from bench.records.schema import SENTIMENT, Baseline
from bench.report.tables.formatting import interval, probability, seed_list
from bench.system.text import harmless, percent, points

__all__ = ["COLUMNS", "PUBLISHED", "Column", "baselines", "columns", "differs", "ended", "on_reviews", "rows"]

PUBLISHED = Row(
    "published: RoBERTa-base + adapters", role="published", accuracy=0.94156, precision=0.93823, recall=0.94536, f1=0.94178,
    body=2_379_264, head=592_130,
)  # fmt: skip
"""The result that this comparison is centred on: 25,000 official test reviews, one run, bottleneck 64, length 256;
TP 11,817, FP 778, FN 683, TN 11,722 (deepmancer/roberta-adapter-fine-tuning)."""
_OFFICIAL = (25_000, 123)
"""Test reviews of the official split, and those of them that are in its train split too."""


def rows(group: Group) -> list[Row]:
    """Return the methods, the reference first, then the baselines, then, beside reviews, the published result."""
    fitted = [_baseline(fits, group) for fits in baselines(group)]
    published = [replace(PUBLISHED, label=f"{PUBLISHED.label} ({differs(group)})")] if on_reviews(group) else []
    return [*group.rows, *fitted, *published]


def on_reviews(group: Group) -> bool:
    """Whether the classes are negative and positive, as those of the published result."""
    return all(run.data.labels == list(SENTIMENT) for run in group.records)


def differs(group: Group) -> str:
    """Name the differences of the published result: "other encoder and test"."""
    data = {(run.data.test, run.data.leaked) for run in group.records}
    same_test = data == {_OFFICIAL} and group.key.test_limit is None
    same_encoder = "roberta-base" in {name.rsplit("/", 1)[-1] for name in group.encoders}
    other = [what for what, same in (("encoder", same_encoder), ("test", same_test)) if not same]
    return f"other {' and '.join(other)}" if other else "one run elsewhere"


def baselines(group: Group) -> list[list[Baseline]]:
    """Group the baselines into rows: the one on all reviews, then those on as many as each seed of the reference saw."""
    whole = [baseline for baseline in group.baselines if _is_whole(baseline, group)]
    alike = [baseline for baseline in group.baselines if not _is_whole(baseline, group)]
    return [fits for fits in (whole, alike) if fits]


def _is_whole(baseline: Baseline, group: Group) -> bool:
    return baseline.spec.train_reviews == (group.key.train_limit or baseline.data.train)


def ended(row: Row) -> str:
    """Count the runs of a row that did not complete, by their state: "1 failed, 2 cancelled"."""
    states = [record.state for record in row.other_runs]
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))


def _baseline(fits: Sequence[Baseline], group: Group) -> Row:
    tests, reference = [baseline.test for baseline in fits], group.reference
    which = "all reviews" if _is_whole(fits[0], group) else "as many reviews as the reference"
    each = f", mean of {len(fits)}" if len(fits) > 1 else ""
    accuracy, f1 = fmean(test.accuracy for test in tests), fmean(test.f1 for test in tests)
    return Row(
        label=f"baseline: {fits[0].spec.model}, {which}{each}",
        role="baseline",
        accuracy=accuracy,
        accuracy_difference=None if reference is None or reference.accuracy is None else accuracy - reference.accuracy,
        precision=fmean(test.precision for test in tests),
        recall=fmean(test.recall for test in tests),
        f1=f1,
        f1_difference=None if reference is None or reference.f1 is None else f1 - reference.f1,
        reviews_seen=fmean(baseline.spec.train_reviews for baseline in fits),
    )


Value = float | str | None
_UNITS = {"%": (100.0, ".2f"), "points": (100.0, "+.2f"), "MiB": (2.0**-20, ",.0f")}
"""What a plain value is multiplied by, and how many digits a table shows."""


@dataclass(frozen=True)
class Column:
    """One number or word of a row, and how each format shows it."""

    name: str
    """Name in CSV, without its unit; empty: not there."""
    sort: str | Callable[[Any], Value]
    """Path or function of the plain value, such as "paired.low": shares of 1, bytes. None is not measured."""
    unit: Literal["", "%", "points", "MiB", "p"] = ""
    header: str = ""
    """Header in tables, on two lines where width is short; empty: not there."""
    format: Callable[[Any], str] | str = ""
    """Formats the cell, whose lines may be joined, or of its value; by default with the digits of its unit."""
    key: str = ""
    """Name in the `table` of JSON; empty: not there."""
    shown: Literal["always", "narrow", "wide", "csv"] = "csv"
    words: bool = False
    """Whether cells are words, which wrap and align left."""

    @property
    def full_name(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit in _UNITS else self.name

    def value(self, row: Any) -> Value:
        """Return the plain value."""
        if callable(self.sort):
            return self.sort(row)
        for part in self.sort.split("."):
            row = None if row is None else getattr(row, part)
        result: Value = row
        return result

    def scaled(self, row: Any) -> Value:
        """Return the value in its unit."""
        value = self.value(row)
        return value * _UNITS[self.unit][0] if isinstance(value, (int, float)) and self.unit in _UNITS else value

    def cell(self, row: Any) -> str:
        """Return the text of a table."""
        if callable(self.format):
            return self.format(row)
        value = self.scaled(row)
        if value is None or isinstance(value, str):
            return _none(row) if value is None else harmless(value)
        return format(value, self.format or (_UNITS[self.unit][1] if self.unit in _UNITS else ",.0f"))


def columns(group: Group, *, wide: bool) -> list[Column]:
    """Return the main columns, or all with `wide`. A calibrated group has no speed by its runs' clocks."""
    excluded = "reviews per s" if group.calibrated else "time a token"
    return [column for column in COLUMNS if column.shown in ("always", "wide" if wide else "narrow") and column.key != excluded]


def _none(row: Any) -> str:
    # A dash is a number that was not measured; an empty cell is one that cannot be.
    return "" if getattr(row, "role", "method") in {"baseline", "published"} else "–"


def _beside(row: Row) -> str:
    return "–" if row.role == "method" else ""


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _accuracy(row: Row) -> str:
    half = row.accuracy_half_width
    return _lines(percent(row.accuracy, _none(row)), "" if half is None else f"±{percent(half)}")


def _difference(row: Row) -> str:
    if row.role == "reference":
        return "ref."
    # Where a seed collapsed, the difference is over all seeds and the interval over the others: a note has both.
    paired = row.paired
    bounds = interval(paired) if paired and not paired.collapsed else ""
    return _lines(points(row.accuracy_difference, _none(row)), bounds)


def _verdict(row: Row) -> str:
    return _lines(worded(row.paired), _seeds_of_verdict(row.paired)) if row.paired else _beside(row)


def _seeds_of_verdict(paired: Paired) -> str:
    """Name the seeds of a verdict or difference, where they are not all."""
    affected = [*paired.collapsed, *paired.lacking, *paired.extra, *paired.unusable]
    if not affected and paired.verdict != "incomplete":
        return ""
    every = seed_list([*paired.seeds, *affected])
    return f"on seeds {seed_list(paired.seeds)} of {every}" if paired.seeds else f"on none of seeds {every}"


def _p(row: Row) -> str:
    return _beside(row) if row.paired is None or row.paired.p_holm is None else probability(row.paired.p_holm)


def _trainable(row: Row) -> str:
    return _none(row) if row.body is None or row.head is None else f"{row.body:,}\n+ {row.head:,}"


def _time(row: Row) -> str:
    """Write the time per token over the reference's, with its 95 % interval; the reference has none."""
    conversion = row.conversion
    if conversion is None:
        return _none(row)
    return _lines(
        f"{conversion.ratio:.2f}", "" if conversion.low == conversion.high else f"[{conversion.low:.2f}, {conversion.high:.2f}]"
    )


def _complete(row: Row) -> int | None:
    return {"baseline": None, "published": 1}.get(row.role, len(row.runs))


def _seeds(row: Row) -> str:
    return ", ".join(part for part in (str(_complete(row) or ""), ended(row)) if part)


def _of_paired(getter: Callable[[Paired], Value]) -> Callable[[Row], Value]:
    return lambda row: None if row.paired is None else getter(row.paired)


def _numbers(*seeds: list[int]) -> str:
    return " ".join(str(seed) for seed in sorted(seed for part in seeds for seed in part))


COLUMNS = (
    Column("role", "role"),
    Column("method", "label", "", "method", "", "method", "always", words=True),
    Column("accuracy", "accuracy", "%", "accuracy\n%", _accuracy, "accuracy %", "always"),
    Column(
        "accuracy minus reference", lambda r: None if r.role == "reference" else r.accuracy_difference, "points",
        "Δ\npoints", _difference, "Δ points", "always",
    ),
    Column("verdict", _of_paired(worded), "", "verdict", _verdict, "verdict", "always", words=True),
    Column("p (Holm)", "paired.p_holm", "p", "p\n(Holm)", _p, "p (Holm)", "wide"),
    Column("precision", "precision", "%", "precision\n%", "", "precision %", "wide"),
    Column("recall", "recall", "%", "recall\n%", "", "recall %", "wide"),
    Column("F1", "f1", "%", "F1\n%", "", "F1 %", "always"),
    Column("F1 minus reference", lambda r: None if r.role == "reference" else r.f1_difference, "points"),
    Column("", "body", "", "trainable\n+ head", _trainable, "", "narrow"),
    Column("trainable parameters in the encoder", "body", "", "trainable:\nencoder", "", "trains: body", "wide"),
    Column("trainable parameters in the head", "head", "", "head", "", "+ head", "wide"),
    Column("peak memory", "memory", "MiB", "memory\nMiB", "", "memory MiB", "always"),
    Column("reviews seen", "reviews_seen", "", "reviews\nseen", "", "reviews seen", "wide"),
    Column("reviews per second", "reviews_per_second", "", "reviews\nper s", ".1f", "reviews per s", "always"),
    Column("time a token over the reference's", "conversion.ratio", "", "time\nper token", _time, "time a token", "always"),
    Column("time a token: 95 % interval from", "conversion.low"),
    Column("time a token: 95 % interval to", "conversion.high"),
    Column("complete runs", _complete, "", "seeds", _seeds, "seeds", "wide", words=True),
    Column("runs in other states", ended),
    Column("accuracy: standard deviation over seeds", "accuracy_deviation", "points"),
    Column("accuracy: half width of the 95 % interval over seeds", "accuracy_half_width", "points"),
    Column("collapsed runs", lambda r: len(r.collapsed) if r.runs or r.other_runs else None),
    Column("runs that answer one class", lambda r: len(r.one_class) if r.runs or r.other_runs else None),
    Column("seeds compared", _of_paired(lambda p: _numbers(p.seeds))),
    Column("seeds collapsed", _of_paired(lambda p: _numbers(p.collapsed))),
    Column("seeds not compared", _of_paired(lambda p: _numbers(p.lacking, p.extra, p.unusable))),
    Column("difference on the seeds compared", "paired.difference", "points"),
    Column("difference: 95 % interval from", "paired.low", "points"),
    Column("difference: 95 % interval to", "paired.high", "points"),
    Column("difference: standard error", "paired.standard_error", "points"),
    Column("degrees of freedom", "paired.freedom"),
    Column("p", "paired.p", "p"),
    Column("p of equivalence (Holm)", "paired.p_equivalence", "p"),
    Column("unconditional verdict", "paired.unconditional.verdict"),
    Column("unconditional p (Holm)", "paired.unconditional.p_holm", "p"),
)  # fmt: skip
"""In the order of every format."""
