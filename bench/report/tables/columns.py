"""The columns of a comparison: each is spelt here once, for terminal, Markdown, LaTeX, page, CSV and JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.analysis.comparison import Group, Row
from bench.analysis.verdicts import Paired, worded
from bench.report.tables.formatting import interval, probability, seed_list
from bench.report.tables.rows import ended
from bench.system.text import harmless, mebibytes, percent, points

__all__ = ["COLUMNS", "Column", "columns"]

_FACTORS = {"%": 100.0, "points": 100.0, "MiB": 2.0**-20}


@dataclass(frozen=True)
class Column:
    """One number or word of a row, and how each format shows it."""

    name: str
    """In CSV, without its unit; empty: not there."""
    sort: Callable[[Row], float | str | None]
    """The plain value: shares of 1, bytes. None is not measured."""
    unit: Literal["", "%", "points", "MiB", "p"] = ""
    header: str = ""
    """In tables, a second line where width is short; empty: not there."""
    format: Callable[[Row], str] = lambda row: ""
    """The cell of a table, in lines that may stand side by side."""
    key: str = ""
    """In the `table` of JSON, whose names are older than these headers."""
    shown: Literal["always", "narrow", "wide", "csv"] = "csv"
    words: bool = False
    """Whether cells are words, which wrap and stand to the left."""

    @property
    def full_name(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit in _FACTORS else self.name

    def plain(self, row: Row) -> float | str | None:
        """Return the value in its unit."""
        value = self.sort(row)
        return value * _FACTORS[self.unit] if isinstance(value, (int, float)) and self.unit in _FACTORS else value


def columns(group: Group, *, wide: bool) -> list[Column]:
    """Those that tables show: the ones that decide, or with `wide` all. A calibrated group has no speed by its runs' clocks."""
    other = "reviews per second" if group.calibrated else "time a token over the reference's"
    return [found for found in COLUMNS if found.shown in ("always", "wide" if wide else "narrow") and found.name != other]


def _none(row: Row) -> str:
    # A dash is a number that a method has but that was not measured; elsewhere there is none to measure.
    return "–" if row.role in {"reference", "method"} else ""


def _beside(row: Row) -> str:
    return "–" if row.role == "method" else ""


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _accuracy(row: Row) -> str:
    half = row.accuracy_half_width
    return _lines(percent(row.accuracy, _none(row)), "" if half is None else f"±{percent(half)}")


def _percent(metric: str) -> Callable[[Row], str]:
    return lambda row: percent(getattr(row, metric), _none(row))


def _difference(row: Row) -> str:
    if row.role == "reference":
        return "ref."
    # Where a seed collapsed, the difference is over all seeds and the interval over the others: a note has both.
    paired = row.paired
    bounds = interval(paired) if paired and not paired.collapsed else ""
    return _lines(points(row.accuracy_difference, _none(row)), bounds)


def _verdict(row: Row) -> str:
    return _lines(worded(row.paired), _which(row.paired)) if row.paired else _beside(row)


def _which(paired: Paired) -> str:
    """On which seeds a verdict, or a difference without one, stands where it is not all."""
    others = [*paired.collapsed, *paired.lacking, *paired.extra, *paired.unusable]
    if not others and paired.verdict != "incomplete":
        return ""
    every = seed_list([*paired.seeds, *others])
    return f"on seeds {seed_list(paired.seeds)} of {every}" if paired.seeds else f"on none of seeds {every}"


def _trainable(row: Row) -> str:
    return _none(row) if row.body is None or row.head is None else f"{row.body:,}\n+ {row.head:,}"


def _time(row: Row) -> str:
    """Time per token over the reference's, with its 95 % interval; the reference has none."""
    found = row.conversion
    if found is None:
        return _none(row)
    return _lines(f"{found.ratio:.2f}", "" if found.low == found.high else f"[{found.low:.2f}, {found.high:.2f}]")


def _count(value: float | None, none: str) -> str:
    return none if value is None else f"{value:,.0f}"


def _complete(row: Row) -> int | None:
    return {"baseline": None, "published": 1}.get(row.role, len(row.runs))


def _seeds(row: Row) -> str:
    complete = _complete(row)
    return ", ".join(part for part in (str(complete or ""), ended(row)) if part)


def _of(read: Callable[[Paired], float | str | None]) -> Callable[[Row], float | str | None]:
    """Read a value of the comparison with the reference, where there is one."""
    return lambda row: None if row.paired is None else read(row.paired)


def _numbers(seeds: list[int]) -> str:
    return " ".join(map(str, seeds))


COLUMNS = (
    Column("role", lambda r: r.role),
    Column("method", lambda r: r.label, "", "method", lambda r: harmless(r.label), "method", "always", words=True),
    Column("accuracy", lambda r: r.accuracy, "%", "accuracy\n%", _accuracy, "accuracy %", "always"),
    Column(
        "accuracy minus reference", lambda r: None if r.role == "reference" else r.accuracy_difference,
        "points", "Δ\npoints", _difference, "Δ points", "always",
    ),
    Column("verdict", _of(worded), "", "verdict", _verdict, "verdict", "always", words=True),
    Column(
        "p (Holm)", _of(lambda p: p.p_holm), "p", "p\n(Holm)",
        lambda r: _beside(r) if r.paired is None or r.paired.p_holm is None else probability(r.paired.p_holm),
        "p (Holm)", "wide",
    ),
    Column("precision", lambda r: r.precision, "%", "precision\n%", _percent("precision"), "precision %", "wide"),
    Column("recall", lambda r: r.recall, "%", "recall\n%", _percent("recall"), "recall %", "wide"),
    Column("F1", lambda r: r.f1, "%", "F1\n%", _percent("f1"), "F1 %", "always"),
    Column("F1 minus reference", lambda r: None if r.role == "reference" else r.f1_difference, "points"),
    Column("", lambda r: r.body, "", "trainable\n+ head", _trainable, "", "narrow"),
    Column(
        "trainable parameters in the encoder", lambda r: r.body, "", "trainable:\nencoder", lambda r: _count(r.body, _none(r)),
        "trains: body", "wide",
    ),
    Column(
        "trainable parameters in the head", lambda r: r.head, "", "head", lambda r: _count(r.head, _none(r)), "+ head", "wide"
    ),
    Column(
        "peak memory", lambda r: r.memory, "MiB", "memory\nMiB", lambda r: mebibytes(r.memory, _none(r)), "memory MiB", "always"
    ),
    Column(
        "reviews seen", lambda r: r.reviews_seen, "", "reviews\nseen", lambda r: _count(r.reviews_seen, _none(r)),
        "reviews seen", "wide",
    ),
    Column(
        "reviews per second", lambda r: r.reviews_per_second, "", "reviews\nper s",
        lambda r: _none(r) if r.reviews_per_second is None else f"{r.reviews_per_second:.1f}", "reviews per s", "always",
    ),
    Column(
        "time a token over the reference's", lambda r: r.conversion.ratio if r.conversion else None, "", "time\nper token",
        _time, "time a token", "always",
    ),
    Column("time a token: 95 % interval from", lambda r: r.conversion.low if r.conversion else None),
    Column("time a token: 95 % interval to", lambda r: r.conversion.high if r.conversion else None),
    Column("complete runs", _complete, "", "seeds", _seeds, "seeds", "wide", words=True),
    Column("runs in other states", lambda r: ended(r)),
    Column("accuracy: standard deviation over seeds", lambda r: r.accuracy_deviation, "points"),
    Column("accuracy: half width of the 95 % interval over seeds", lambda r: r.accuracy_half_width, "points"),
    Column("collapsed runs", lambda r: len(r.collapsed) if r.role in {"reference", "method"} else None),
    Column("runs that answer one class", lambda r: len(r.one_class) if r.role in {"reference", "method"} else None),
    Column("seeds compared", _of(lambda p: _numbers(p.seeds))),
    Column("seeds collapsed", _of(lambda p: _numbers(p.collapsed))),
    Column("seeds not compared", _of(lambda p: _numbers(sorted([*p.lacking, *p.extra, *p.unusable])))),
    Column("difference on the seeds compared", _of(lambda p: p.difference), "points"),
    Column("difference: 95 % interval from", _of(lambda p: p.low), "points"),
    Column("difference: 95 % interval to", _of(lambda p: p.high), "points"),
    Column("difference: standard error", _of(lambda p: p.standard_error), "points"),
    Column("degrees of freedom", _of(lambda p: p.freedom)),
    Column("p", _of(lambda p: p.p), "p"),
    Column("p of equivalence (Holm)", _of(lambda p: p.p_equivalence), "p"),
    Column("unconditional verdict", _of(lambda p: p.unconditional.verdict if p.unconditional else None)),
    Column("unconditional p (Holm)", _of(lambda p: p.unconditional.p_holm if p.unconditional else None), "p"),
)  # fmt: skip
"""In the order of every format."""
