"""Which columns of a table hold texts and labels, and which classes the labels are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.data.tables import Table
from bench.records.schema import SENTIMENT
from bench.system.errors import DataError

__all__ = ["MOST_CLASSES", "Labelled", "check_text", "classes_of", "indices", "labelled", "names_of"]

TEXT_COLUMNS = ("text", "review", "sentence", "content", "comment", "message", "tweet")
LABEL_COLUMNS = ("label", "sentiment", "target", "class", "category")
"""Usual names, looked for without regard to case; the first is taken before any other."""
PAIRS = (
    ("premise", "hypothesis"), ("question", "sentence"), ("question", "context"), ("query", "passage"),
    ("text", "text_pair"), ("text_a", "text_b"), ("sentence_a", "sentence_b"), ("context", "response"),
)  # fmt: skip
"""Columns of text pairs, as are text1 and text2."""
MOST_CLASSES = 1000
_LONGEST_LABEL = 100
"""Characters of a label."""
Class = int | str


@dataclass(frozen=True)
class Labelled:
    """The texts [n] of one split and the class of each, as a whole number or a word."""

    name: str
    """Of the file, for messages."""
    texts: list[str]
    classes: list[Class]
    columns: tuple[str, str]
    """Names of the columns of texts and labels."""
    class_names: list[str] | None
    """Names of class numbers, where the file holds them."""


def labelled(tables: Sequence[Table], text_column: str | None, label_column: str | None) -> Labelled:
    """Take texts and labels from the shards of one split.

    Raises:
        DataError: naming the column or the row that is wrong, and what to do.
    """
    first, texts, values = tables[0], list[Any](), list[Any]()
    text, label = _columns(first, text_column, label_column)
    for table in tables:
        if table.header != first.header:
            raise DataError(f"{table.name} has other columns than {first.name}; write all shards alike")
        texts += table.column(text)
        values += table.column(label)
    for row, value in enumerate(texts, 1):
        check_text(value, f"{first.name}, row {row:,}")
    names = first.header[text], first.header[label]
    return Labelled(first.name, texts, _classes(values, first.name), names, first.class_names.get(names[1]))


def _columns(table: Table, text_column: str | None, label_column: str | None) -> tuple[int, int]:
    if text_column is None:
        _refuse_pairs(table)
    return (
        _column(table, text_column, TEXT_COLUMNS, "--text-column"),
        _column(table, label_column, LABEL_COLUMNS, "--label-column"),
    )


def _column(table: Table, column: str | None, usual: Sequence[str], option: str) -> int:
    """Return the position of the requested column, or of one with a usual name."""
    names = table.header if column is not None else [name.casefold() for name in table.header]
    candidates = [column] if column is not None else [name for name in usual if name in names]
    has = ", ".join(name[:40] for name in table.header[:6]) or "none"
    if column is None and candidates[:1] != [usual[0]] and len(candidates) > 1:
        raise DataError(f"{table.name} has columns {' and '.join(map(repr, candidates))}; name one with {option}")
    if not candidates or candidates[0] not in names:
        label = repr(column) if column is not None else f"called {' or '.join(map(repr, usual[:4]))}"
        raise DataError(f"{table.name} has no column {label} (it has {has}); name one of its columns with {option}")
    if names.count(candidates[0]) > 1:
        raise DataError(f"{table.name} has two columns {candidates[0]!r}; rename one")
    return names.index(candidates[0])


def _refuse_pairs(table: Table) -> None:
    names = [name.casefold() for name in table.header]
    numbered = [(name, f"{name[:-1]}2") for name in names if re.fullmatch("(text|sentence|question|document|comment)_?1", name)]
    for pair in (*PAIRS, *numbered):
        if set(pair) <= set(names):
            raise DataError(
                f"{table.name} has two texts a row ({' and '.join(pair)}), and pairs of texts are not supported; to classify "
                "one of them alone, name it with --text-column"
            )


def check_text(text: object, where: str) -> None:
    """See that a value is a text that says something.

    Raises:
        DataError: if it is not.
    """
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where}: the text is empty or not text")
    if "\0" in text:
        raise DataError(f"{where}: the text holds a NUL byte; is the file damaged, or not UTF-8?")


def _classes(values: list[Any], name: str) -> list[Class]:
    """Return the class of each label: "1", "1.0" and 1 are one class, and so are words that differ in nothing."""
    classes: dict[Any, Class] = {}
    for row, value in enumerate(values, 1):
        if isinstance(value, (list, dict)):
            raise DataError(f"{name}, row {row:,}: its label is a {type(value).__name__}; each text needs one label")
        if value not in classes:
            classes[value] = _class(value, f"{name}, row {row:,}")
    alike: dict[str, Any] = {}
    for value, parsed in classes.items():
        key = "".join(str(value).split()).casefold()
        if isinstance(parsed, str) and str(alike.setdefault(key, value)) != str(value):
            raise DataError(
                f"{name}: labels {str(alike[key])!r} and {str(value)!r} differ in case or spaces only; write them alike"
            )
    return [classes[value] for value in values]


def _class(value: Any, where: str) -> Class:
    text = str(value).strip()
    empty = value is None or (isinstance(value, float) and math.isnan(value)) or text.casefold() in {"", "nan", "null"}
    if empty:
        raise DataError(f"{where}: the label is empty; give one, or leave the row out")
    if len(text) > _LONGEST_LABEL:
        raise DataError(
            f"{where}: label {text[:40]!r}… has {len(text):,} characters; is it the column of labels? --label-column"
        )
    number = re.fullmatch(r"([+-]?[0-9]{1,18})(\.0*)?", text)
    return int(number[1]) if number else text


def classes_of(train: Labelled) -> list[Class]:
    """Return the classes of train in their order: numbers by value, words by alphabet.

    Raises:
        DataError: if there are fewer than two, or more than 1,000.
    """
    present = set(train.classes)
    if not present:
        raise DataError(f"{train.name} holds no rows under a header")
    if len(present) < 2:
        only = f"its {len(train.classes):,} texts are all of one class, {present.pop()!r}"
        raise DataError(f"{train.name}: {only}; at least two classes are needed")
    if len(present) > MOST_CLASSES:
        raise DataError(
            f"{train.name}: column {train.columns[1]!r} has {len(present):,} different values, and at most {MOST_CLASSES:,} "
            "classes are supported; is it a score or a text? Name another with --label-column"
        )
    return sorted(present, key=lambda one: (isinstance(one, str), one if isinstance(one, int) else 0, str(one)))


def names_of(classes: Sequence[Class], class_names: Sequence[str] | None) -> list[str]:
    """Return the names of classes: those that the file gives to numbers, else the values themselves."""
    if class_names and all(isinstance(value, int) and 0 <= value < len(class_names) for value in classes):
        labels = [str(class_names[int(value)]) for value in classes]
        return list(SENTIMENT) if labels == ["neg", "pos"] else labels
    return [str(value) for value in classes]


def indices(part: Labelled, classes: Sequence[Class], *, every: bool = False) -> list[int]:
    """Return the labels [n] of a split as positions in `classes`; with `every`, each class must be there.

    Raises:
        DataError: for a class that train does not have, or that is missing.
    """
    place = {value: i for i, value in enumerate(classes)}
    for row, value in enumerate(part.classes, 1):
        if value not in place:
            raise DataError(
                f"{part.name}, row {row:,}: label {str(value)!r} is not among those of train ({_listed(classes)}); "
                "leave such rows out"
            )
    missing = sorted(set(classes) - set(part.classes), key=place.__getitem__) if every else []
    if missing:
        raise DataError(
            f"{part.name} holds no text of class {str(missing[0])!r}, which train has; add some, or leave it out of train"
        )
    return [place[value] for value in part.classes]


def _listed(classes: Iterable[Class]) -> str:
    values = [str(value) for value in classes]
    return ", ".join(values[:6]) + (", …" if len(values) > 6 else "")
