"""Texts to classify: from the command line, a pipe or a column of a table, each checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from bench.data.sources import plain
from bench.data.tables import read_table
from bench.system.errors import DataError

__all__ = ["LONGEST", "Texts", "from_arguments", "from_lines", "from_table"]

LONGEST = 1_000_000
"""Characters of a text; the longest IMDB review has 13,704. A model truncates it as in its run."""
MOST_BYTES = 2**30
"""Of a pipe, which is read whole."""


@dataclass(frozen=True)
class Texts:
    """Texts in their order, and the table that they came from, if any."""

    texts: list[str]
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    """The rows of the table [texts][columns]; empty where there was none."""


def from_arguments(texts: Sequence[str]) -> Texts:
    """Read texts from the command line.

    Raises:
        DataError: if one is empty, too long, or not text.
    """
    return Texts([_checked(text, "the text" if len(texts) == 1 else f"text {i}") for i, text in enumerate(texts, 1)])


def from_lines(stream: BinaryIO) -> Texts:
    """Read a text from each line of the standard input.

    Raises:
        DataError: if there is none, or one is empty, too long, or not UTF-8.
    """
    content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise DataError(f"standard input holds more than {MOST_BYTES // 2**20:,} MiB; give it in parts")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"standard input, line {line:,} is not UTF-8; convert it first, with iconv for example") from None
    # Only line feeds end a line here: a review may hold the other characters that str.splitlines breaks at.
    lines = text.removesuffix("\n").split("\n")
    if lines == [""]:
        raise DataError("standard input holds no text; give a text a line")
    return Texts([_checked(line.removesuffix("\r"), f"standard input, line {i}") for i, line in enumerate(lines, 1)])


def from_table(path: Path, column: str) -> Texts:
    """Read a text from each row, in the named column of a CSV, TSV, JSON lines or parquet file; other columns are kept.

    Raises:
        DataError: if there is no such file; naming the row and what is wrong with it.
    """
    if not path.is_file():  # reading a pipe or a device might never end
        raise DataError(f"--csv {str(path)!r} is no file; name a table, or give texts by a pipe without --csv")
    table = read_table(path)
    names = table.header
    if names.count(column) != 1:
        which = "has no column" if column not in names else "has more than one column"
        raise DataError(f"{path.name} {which} {column!r} (it has {', '.join(names[:6])}); name one with --column")
    for row, value in enumerate(table.column(names.index(column)), 1):
        if value is not None and not isinstance(value, str):
            raise DataError(f"{path.name}, row {row:,}: {column!r} has a value of type {type(value).__name__}, not a text")
    columns = [["" if value is None else str(value) for value in table.column(place)] for place in range(len(names))]
    texts = columns[names.index(column)]
    if not texts:
        raise DataError(f"{path.name} holds no rows under a header")
    checked = [_checked(text, f"{path.name}, row {i:,}") for i, text in enumerate(texts, 1)]
    return Texts(checked, names, [list(row) for row in zip(*columns, strict=True)])


def _checked(text: str, where: str) -> str:
    # What is read of a text must be more than nothing: a line break of HTML alone is nothing.
    if not plain(text).strip():
        raise DataError(f"{where} is empty")
    if "\0" in text:
        raise DataError(f"{where} holds a NUL byte; is it damaged, or not UTF-8?")
    if len(text) > LONGEST:
        raise DataError(f"{where} has {len(text):,} characters; at most {LONGEST:,} are read")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # how Python passes on bytes of the command line that are no UTF-8
        raise DataError(f"{where} is not UTF-8") from None
    return text
