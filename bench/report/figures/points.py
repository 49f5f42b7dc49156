"""Data of figures: points, with the tooltip and the runs of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from bench.analysis.comparison import Row
from bench.records.schema import Record
from bench.system.text import harmless

__all__ = ["CUT", "DECIMALS", "Point", "data", "interval", "is_cut", "labels", "named", "names", "of_row", "of_run"]

Point = dict[str, Any]
"""A row of a figure's data: `label` and `method`, `says`, the ids of its `runs`, and its numbers."""
_LONGEST = 40
"""Letters of a name; the tables have all of it."""
DECIMALS = 9
"""Of numbers in a figure: what lies beyond them may differ between processors, and a figure is not to."""


def named(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Return each row with its name."""
    return list(zip(rows, names([row.label for row in rows]), strict=True))


def names(labels: Sequence[str]) -> list[str]:
    """Make labels harmless, short enough for a figure, and no two the same."""
    unique: list[str] = []
    for name in map(harmless, labels):
        short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        same = sum(other == short or other.startswith(f"{short} #") for other in unique)
        unique.append(f"{short} #{same + 1}" if same else short)
    return unique


def of_row(row: Row, name: str, says: str) -> Point:
    """Describe a method in the data of a figure, over its complete runs."""
    several = f", over {len(row.runs)} runs" if len(row.runs) > 1 else ", one run"
    return {
        "method": harmless(row.method), "label": name, "says": f"{name}: {says}{several}",
        "runs": [record.run_id for record in row.runs],
    }  # fmt: skip


def of_run(record: Record, name: str, says: str) -> Point:
    """Describe one run in the same way."""
    return {
        "method": harmless(record.spec.method), "label": name, "says": f"{name}, seed {record.spec.seed}: {says}",
        "runs": [record.run_id],
    }  # fmt: skip


CUT = "Intervals end at 0 and 100 %, where accuracies do."


def interval(row: Row) -> Point:
    """Return the ends of the 95 % interval of a row's accuracy over seeds, in %; both are the accuracy where there is none. An
    interval from a few seeds that are far apart would reach where no accuracy can be, and an axis with it.
    """
    middle, half = row.accuracy or 0.0, row.accuracy_half_width or 0.0
    return {"low": 100 * max(0.0, middle - half), "high": 100 * min(1.0, middle + half)}


def is_cut(row: Row) -> bool:
    """Whether that interval reaches beyond 0 or 100 %."""
    middle, half = row.accuracy, row.accuracy_half_width
    return middle is not None and half is not None and not half <= middle <= 1 - half


def labels(points: Sequence[Point]) -> frozenset[str]:
    """Return the labels of these points."""
    return frozenset(point["label"] for point in points)


def data(points: Sequence[Point]) -> Any:
    """Chart these points, without a mark yet."""
    values = [{name: round(v, DECIMALS) if isinstance(v, float) else v for name, v in point.items()} for point in points]
    return alt.Chart(alt.Data(values=values))
