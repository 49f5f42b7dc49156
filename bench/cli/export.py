"""The commands that write files for other tools: `export`, `convert` and `card`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli.options import RUNS, Out
from bench.system.errors import RecordError, SpecError
from bench.system.files import write_out

__all__ = ["card", "convert", "export"]


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


def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A folder or a hub id.", show_default=False)],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to make.", show_default=False)],
) -> None:
    """Convert an encoder that has only pytorch_model.bin, vocab.txt or a sentencepiece model.

    This is the only command that opens a pickle, of which it reads tensors alone: convert only encoders that you trust.
    """
    from bench.models.convert import convert as converted

    pretrained, lines = converted(source, folder)
    print("\n".join(lines))
    for note in pretrained.notes:
        print(note)
    print(f"{pretrained.shape.parameters:,} parameters, {pretrained.pooling}; use it with --encoder {shlex.quote(str(folder))}")


def card(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A saved run: id, record or folder.", show_default=False)],
    results: Annotated[Path, typer.Option(help="Folder of records beside which runs were saved.")] = RUNS,
) -> None:
    """Write a model card, README.md in the hub's format, into the folder of a saved run: numbers, and how to load it."""
    from bench.analysis.statistics import clopper_pearson
    from bench.records.artifacts import find
    from bench.records.card import README, model_card
    from bench.records.schema import Record
    from bench.records.store import read

    saved = find(run, results)
    beside = saved.folder.resolve().parent.parent
    record = next((read(path) for folder in (beside, results) if (path := folder / saved.card.record).is_file()), None)
    if not isinstance(record, Record) or record.test is None:
        raise RecordError(f"{saved.name}: its record {saved.card.record} is not there; name its folder with --results")
    interval = clopper_pearson(round(record.test.accuracy * record.test.reviews), record.test.reviews)
    write_out(saved.folder / README, model_card(saved, record, interval).encode(), "the card")
    print(f"{saved.folder / README}\nto upload: hf upload USER/NAME {saved.folder}")
