"""The command `card`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import RUNS

__all__ = ["card"]


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
    from bench.system.errors import RecordError
    from bench.system.files import write_out

    saved = find(run, results)
    beside = saved.folder.resolve().parent.parent
    record = next((read(path) for folder in (beside, results) if (path := folder / saved.card.record).is_file()), None)
    if not isinstance(record, Record) or record.test is None:
        raise RecordError(f"{saved.name}: its record {saved.card.record} is not there; name its folder with --results")
    interval = clopper_pearson(round(record.test.accuracy * record.test.reviews), record.test.reviews)
    write_out(saved.folder / README, model_card(saved, record, interval).encode(), "the card")
    print(f"{saved.folder / README}\nto upload: hf upload USER/NAME {saved.folder}")
