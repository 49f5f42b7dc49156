"""Every group in one CSV: plain numbers under full names, for a spreadsheet or a script."""

from __future__ import annotations

from collections.abc import Iterable

from bench.analysis.comparison import Group
from bench.analysis.verdicts import Paired, worded
from bench.records.schema import Conversion
from bench.report.tables.comparison_rows import Line, lines
from bench.report.tables.footnotes import title
from bench.system.text import csv_text, harmless

__all__ = ["COLUMNS", "spreadsheet"]

COLUMNS = (
    "group", "role", "method", "accuracy (%)", "accuracy minus reference (points)", "precision (%)", "recall (%)", "F1 (%)",
    "F1 minus reference (points)", "trainable parameters in the encoder", "trainable parameters in the head",
    "peak memory (MiB)", "reviews seen", "reviews per second", "time a token over the reference's",
    "time a token: 95 % interval from", "time a token: 95 % interval to", "complete runs", "runs in other states",
    "accuracy: standard deviation over seeds (points)", "accuracy: half width of the 95 % interval over seeds (points)",
    "collapsed runs", "verdict", "seeds compared", "seeds collapsed", "seeds not compared",
    "difference on the seeds compared (points)", "difference: 95 % interval from (points)",
    "difference: 95 % interval to (points)", "difference: standard error (points)", "degrees of freedom", "p", "p (Holm)",
    "p of equivalence (Holm)", "minimum detectable difference of the table (points)", "unconditional verdict",
    "unconditional p (Holm)",
)  # fmt: skip
_COMMANDS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def spreadsheet(groups: Iterable[Group]) -> str:
    """One row a line of the comparison, the group that it belongs to first. An empty cell was not measured."""
    return csv_text([COLUMNS, *(_row(title(group), line, group.detectable) for group in groups for line in lines(group))])


def _row(group: str, line: Line, detectable: float | None) -> list[str]:
    return [
        _text(group),
        line.role,
        _text(line.label),
        _number(line.accuracy, 100),
        _number(line.accuracy_difference, 100),
        _number(line.precision, 100),
        _number(line.recall, 100),
        _number(line.f1, 100),
        _number(line.f1_difference, 100),
        _number(line.body),
        _number(line.head),
        _number(line.memory, 1 / 2**20),
        _number(line.reviews_seen),
        _number(line.reviews_per_second),
        *(_number(value) for value in _time(line.conversion)),
        _number(line.complete),
        _text(line.others),
        _number(line.accuracy_deviation, 100),
        _number(line.accuracy_half_width, 100),
        _number(line.collapsed),
        *_beside(line.paired, detectable),
    ]


def _time(found: Conversion | None) -> tuple[float | None, ...]:
    return (found.ratio, found.low, found.high) if found else (None, None, None)


def _beside(paired: Paired | None, detectable: float | None) -> list[str]:
    """The cells of a comparison with the reference, from the verdict on."""
    if paired is None:
        return [""] * 15
    left_out, free = sorted([*paired.lacking, *paired.extra, *paired.unusable]), paired.unconditional
    return [
        worded(paired.verdict, paired.margin),
        " ".join(str(seed) for seed in paired.seeds),
        " ".join(str(seed) for seed in paired.collapsed),
        " ".join(str(seed) for seed in left_out),
        _number(paired.difference, 100),
        _number(paired.low, 100),
        _number(paired.high, 100),
        _number(paired.standard_error, 100),
        _number(paired.freedom),
        _exact(paired.p),
        _exact(paired.p_holm),
        _exact(paired.p_equivalence),
        _number(detectable, 100),
        free.verdict if free else "",
        _exact(free.p_holm) if free else "",
    ]


def _exact(p: float | None) -> str:
    """A probability to four digits, however small."""
    return "" if p is None else f"{p:.4g}"


def _number(value: float | None, factor: float = 1) -> str:
    if value is None or isinstance(value, int):
        return "" if value is None else str(round(value * factor))
    return f"{value * factor:.4f}".rstrip("0").rstrip(".")


def _text(text: str) -> str:
    """The text, which no spreadsheet takes for a formula."""
    safe = harmless(text)
    return f"'{safe}" if safe.lstrip().startswith(_COMMANDS) else safe
