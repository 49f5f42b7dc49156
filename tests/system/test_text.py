"""CSV that every reader reads back cell for cell."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.csv import ParseOptions, ReadOptions, read_csv

from bench.system.text import csv_text

AWKWARD = [
    "\r", "\n", "\r\n", '"', '""', ",", "", " ", "'", "\t", "\x0b", "\x0c", "\x1b[31m", "\x85", "\u2028",
    "=1+1", "+1", "-1", "@x",
]  # fmt: skip
cells = st.lists(st.sampled_from([*AWKWARD, "film", "é", "😀"]), max_size=4).map("".join)


@given(st.integers(1, 3).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), max_size=5)))
def test_readers_of_csv_read_back_every_cell(rows: list[list[str]]) -> None:
    header = [f"column {i}" for i in range(len(rows[0]) if rows else 1)]
    written = csv_text([header, *rows]) + "\n"
    assert list(csv.reader(io.StringIO(written, newline=""), strict=True)) == [header, *rows]
    frame = pd.read_csv(io.StringIO(written, newline=""), dtype=str, keep_default_na=False, skip_blank_lines=False)
    assert frame.to_numpy().tolist() == rows
    if rows:  # a reader in C++ that, as polars, breaks rows at line breaks outside quotes alone
        table = read_csv(
            pa.py_buffer(written.encode()),
            ReadOptions(column_names=header, skip_rows=1),
            ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        ).cast(pa.schema([(name, pa.string()) for name in header]))
        assert table.num_rows == len(rows)
