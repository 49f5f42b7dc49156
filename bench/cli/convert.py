"""The command `convert`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["convert"]


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
