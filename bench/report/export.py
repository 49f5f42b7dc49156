"""All runs as one flat table, a row a run, for a tracker or a notebook."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.records.schema import Baseline, Record
from bench.system.text import csv_text, no_formula

__all__ = ["as_csv", "as_parquet", "table"]

_FIRST = ("run_id", "kind", "state", "spec.purpose", "spec.method", "spec.seed", "test.accuracy", "test.f1")
"""Columns that a person looks for."""
_LEFT_OUT = {"predictions", "correct", "leaked"}
"""Fields with an entry a review."""


def table(records: Iterable[Record | Baseline]) -> dict[str, list[Any]]:
    """Return the columns, [records] each, by the path of their field: "spec.hyperparameters.learning_rate".

    Lists that are no numbers of their own, such as learning curves, are left out; None is not measured. A field that is a
    number in one record and a word in another is a word in all.
    """
    rows = [dict(_flat(record.model_dump(mode="json"))) for record in records]
    names = list(dict.fromkeys((*_FIRST, *(name for row in rows for name in row))))
    return {name: _alike([row.get(name) for row in rows]) for name in names}


def _flat(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if path and path[-1] in _LEFT_OUT:
        return
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _flat(part, (*path, name))
    elif path[-1] == "latency":
        for call in value or ():
            yield from _flat({name: part for name, part in call.items() if name != "batch"}, (*path, f"batch {call['batch']}"))
    elif not isinstance(value, list):
        yield ".".join(path), value


def _alike(values: list[Any]) -> list[Any]:
    kinds = {float if isinstance(value, int) and not isinstance(value, bool) else type(value) for value in values}
    return values if len(kinds - {type(None)}) <= 1 else [None if value is None else str(value) for value in values]


def as_csv(columns: Mapping[str, list[Any]]) -> str:
    """Write the table as CSV; an empty cell was not measured."""
    cells = zip(*columns.values(), strict=True)
    return csv_text([[no_formula(cell) if isinstance(cell, str) else cell for cell in row] for row in (columns, *cells)])


def as_parquet(columns: Mapping[str, list[Any]]) -> bytes:
    """Write the table as a Parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pa.table(dict(columns)), file)
    return file.getvalue()
