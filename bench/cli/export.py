"""The command that writes records as one flat table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli.options import Out
from bench.system.errors import SpecError
from bench.system.files import write_out

__all__ = ["export"]


def export(
    records: Annotated[list[Path], typer.Argument(help="Folders and records, joined.")],
    to: Annotated[Literal["csv", "parquet"], typer.Option("--to", help="csv, or parquet, which needs --out.")] = "csv",
    out: Out = None,
) -> None:
    """Write all runs, trials and baselines as one flat table, a row each, for a tracker or a notebook."""
    from bench.report.export import as_csv, as_parquet, table
    from bench.report.load import records as read

    if to == "parquet" and out is None:
        raise SpecError("a Parquet file is not text: name one with --out")
    rows = table(read(records))
    if out is None:
        print(as_csv(rows))
    else:
        write_out(out, as_parquet(rows) if to == "parquet" else as_csv(rows).encode() + b"\n", "the table")
