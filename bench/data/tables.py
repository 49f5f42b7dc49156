"""Tables of texts and labels from files: CSV, TSV, JSON lines and parquet, each also gzipped."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shlex
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.system.errors import DataError, brief

__all__ = ["FORMATS", "Table", "decode", "parse_csv", "read_table", "table_suffix"]

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
_LARGEST = 2**30
"""Characters of a field of CSV."""
_UTF_16 = {b"\xff\xfe": "UTF-16LE", b"\xfe\xff": "UTF-16BE"}


@dataclass(frozen=True)
class Table:
    """The columns of a file, or of the shards of one split."""

    name: str
    """File name, for messages."""
    header: list[str]
    column: Callable[[int], list[Any]]
    """Values [rows] of the column at a position."""
    class_names: dict[str, list[str]] = field(default_factory=dict)
    """Column of class numbers → names of the classes, where the file holds them."""


def table_suffix(path: Path) -> str | None:
    """Return the ending by which a file is known as a table, such as `.csv.gz`; None for any other file."""
    name = path.name.casefold()
    return next((path.name[-len(end) :] for f in FORMATS for end in (f"{f}.gz", f) if name.endswith(end)), None)


def read_table(path: Path) -> Table:
    """Read a file by its ending, or as CSV if it has another.

    Raises:
        DataError: naming the row, line or byte that is wrong, and what to do.
    """
    suffix = (table_suffix(path) or ".csv").casefold()
    try:
        content = path.read_bytes()
        if suffix.endswith(".gz"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path.name} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not content.strip():
        raise DataError(f"{path.name} is empty")
    return _READERS[suffix.removesuffix(".gz")](content, path.name)


def decode(content: bytes, name: str) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises:
        DataError: naming the line and the byte that is not, and the command that converts the file.
    """
    if content.startswith(b"\x1f\x8b"):
        target = shlex.quote(f"unpacked-{name}")
        raise DataError(f"{name} is compressed with gzip; unpack it: gunzip -c < {shlex.quote(name)} > {target}")
    encoding = _UTF_16.get(content[:2])
    if encoding is None and content[:200].count(0) > len(content[:200]) // 4:  # every other byte of ASCII
        encoding = "UTF-16BE" if content[0] == 0 else "UTF-16LE"
    if encoding is not None:
        raise DataError(f"{name} is {encoding}, not UTF-8; convert it: {_iconv(encoding, name)}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        raise DataError(
            f"{name}, line {line:,}: byte 0x{byte:02X} is not UTF-8; if it is Windows-1252, as Excel writes it, convert it: "
            f"{_iconv('WINDOWS-1252', name)}"
        ) from None


def _iconv(encoding: str, name: str) -> str:
    plain = re.sub(r"\.gz$", "", name, flags=re.I)
    target = shlex.quote(f"{Path(plain).stem}-utf8{Path(plain).suffix}")
    if plain != name:
        return f"gunzip -c {shlex.quote(name)} | iconv -f {encoding} -t UTF-8 > {target}"
    return f"iconv -f {encoding} -t UTF-8 {shlex.quote(name)} > {target}"


def parse_csv(
    text: str, name: str, delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL
) -> tuple[list[str], list[list[str]]]:
    """Parse CSV into its header and rows of as many fields; blank lines are left out.

    Raises:
        DataError: naming the first row that is malformed, and what to do.
    """
    csv.field_size_limit(_LARGEST)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
    rows: list[list[str]] = []
    try:
        for row in reader:
            if row and rows and len(row) != len(rows[0]):
                raise DataError(f"{name}, row {len(rows):,} {_uneven(len(row), len(rows[0]), text, delimiter)}")
            if row:
                rows.append(row)
    except csv.Error as error:
        where = f"{name}, row {len(rows):,}" if rows else f"{name}, its header"
        if "end of data" in str(error):
            raise DataError(f"{where}: a double quote opens a text and none closes it; close it, or double it") from None
        raise DataError(f"{where}: it is not CSV ({error}); write a double quote within a text twice") from None
    return (rows[0], rows[1:]) if rows else ([], [])


def _uneven(fields: int, expected: int, text: str, delimiter: str) -> str:
    mismatch = f"has {fields} field{'s' * (fields != 1)}, its header {expected}"
    if fields > expected:
        what = {"\t": "a tab", ",": "a comma"}.get(delimiter, f"a {delimiter!r}")
        return f"{mismatch}; put texts that hold {what} in double quotes"
    if re.search(r"\r(?!\n)", text) and "\n" in text:
        return f"{mismatch}; a text breaks off at a carriage return (\\r): put texts with line breaks in double quotes"
    return f"{mismatch}; is its label missing? Texts with line breaks need double quotes"


def _in_rows(name: str, header: Sequence[str], rows: list[list[str]]) -> Table:
    return Table(name, [column.strip() for column in header], lambda place: [row[place] for row in rows])


def _csv(content: bytes, name: str) -> Table:
    text = decode(content, name)
    first = text.partition("\n")[0]
    delimiter = next((mark for mark in ("\t", ";") if mark in first and "," not in first), ",")
    return _in_rows(name, *parse_csv(text, name, delimiter))


def _tsv(content: bytes, name: str) -> Table:
    text = decode(content, name)
    try:
        return _in_rows(name, *parse_csv(text, name, "\t"))
    except DataError as error:
        # Many TSV files quote nothing, so that a quote is a character like any other.
        try:
            return _in_rows(name, *parse_csv(text, name, "\t", csv.QUOTE_NONE))
        except DataError:
            raise error from None


def _json(content: bytes, name: str) -> Table:
    text = decode(content, name)
    whole = text.lstrip().startswith("[")
    rows: list[dict[str, Any]] = []
    try:
        for line in [text] if whole else text.split("\n"):
            if line.strip():
                value = json.loads(line)
                rows += value if whole else [value]
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}, row {len(rows) + 1:,}: it is not JSON ({error}); write one object a line") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f'{name}, row {number:,}: {brief(row)} is not an object; write {{"text": …, "label": …}}')
    header = list(dict.fromkeys(key for row in rows for key in row))
    return Table(name, header, lambda place: [row.get(header[place]) for row in rows])


def _parquet(content: bytes, name: str) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{name} cannot be read: {reason[:200]}") from None
    return Table(name, table.column_names, lambda place: table.column(place).to_pylist(), _class_names(table.schema.metadata))


def _class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the names of classes that the library `datasets` keeps in the metadata of a schema."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {name: kind["names"] for name, kind in features.items() if kind.get("_type") == "ClassLabel"}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


_READERS: dict[str, Callable[[bytes, str], Table]] = {
    ".csv": _csv, ".tsv": _tsv, ".jsonl": _json, ".json": _json, ".parquet": _parquet,
}  # fmt: skip
