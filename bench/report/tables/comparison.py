"""A group of comparable runs as a table of cells, and that table as text for a terminal or a README."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from bench.analysis.comparison import Group
from bench.analysis.verdicts import Paired, worded
from bench.records.schema import Conversion
from bench.report.tables.comparison_rows import Line, lines, listed
from bench.report.tables.footnotes import notes, title
from bench.report.tables.verdict_notes import interval
from bench.system.text import harmless, mebibytes, percent, points

__all__ = [
    "HEADERS", "NOTE_WIDTH", "STACKED_ALIGN", "STACKED_HEADERS", "bulleted", "cells", "headers", "inert", "inert_line",
    "markdown", "ruled", "stacked", "stacked_headers", "terminal",
]  # fmt: skip

HEADERS = (
    "method", "accuracy %", "Δ points", "verdict", "p (Holm)", "precision %", "recall %", "F1 %", "trains: body",
    "+ head", "memory MiB", "reviews seen", "reviews per s", "seeds",
)  # fmt: skip
_RATE, _TIME = "reviews per s", "time a token"
STACKED_HEADERS = (
    ("method", ""), ("accuracy %", "± 95 %"), ("Δ points", "[95 %]"), ("verdict", "p (Holm)"),
    ("precision", "recall %"), ("F1", "%"), ("trains:", "body + head"), ("memory", "MiB"), ("reviews", "per s"),
    ("seeds", ""),
)  # fmt: skip
"""Where width is short, a line of the comparison takes two lines of text, as its headers do."""
_ALIGN = ["left" if header in {"method", "verdict", "seeds"} else "right" for header in HEADERS]
STACKED_ALIGN = ["left" if header[0] in {"method", "verdict", "seeds"} else "right" for header in STACKED_HEADERS]
NOTE_WIDTH = 110
_WIDEST = {0: 20, 3: 14, 9: 10}
"""Where a longer cell is wrapped in a terminal, by column."""


def headers(group: Group) -> tuple[str, ...]:
    """`HEADERS`, in a calibrated group with the calibrated speed in place of the runs' own."""
    return tuple(_TIME if group.calibrated and header == _RATE else header for header in HEADERS)


def stacked_headers(group: Group) -> tuple[tuple[str, str], ...]:
    """`STACKED_HEADERS` in the same way."""
    return tuple(("reviews", _TIME) if group.calibrated and header[0] == "reviews" else header for header in STACKED_HEADERS)


def cells(group: Group) -> list[list[str]]:
    """One list a line, in the order of `headers`: the methods, then the baselines, then the published result."""
    return [_flat(_texts(line, group.calibrated)) for line in lines(group)]


def stacked(group: Group) -> list[list[tuple[str, str]]]:
    """The same in the order of `stacked_headers`, two texts a cell, one below the other."""
    return [_stacked(_texts(line, group.calibrated)) for line in lines(group)]


def _texts(line: Line, calibrated: bool) -> dict[str, str]:
    """Every text that a table may show of a line."""
    # A dash is a number that a method has but that was not measured; elsewhere there is none to measure.
    none = "–" if line.role in {"reference", "method"} else ""
    beside = none if line.role == "method" else ""
    paired, states = line.paired, [str(line.complete)] if line.complete else []
    texts = {
        "label": line.label,
        "accuracy": percent(line.accuracy, none),
        "half": "" if line.accuracy_half_width is None else f"±{percent(line.accuracy_half_width)}",
        "difference": "ref." if line.role == "reference" else points(line.accuracy_difference, none),
        # Where a seed collapsed, the difference is over all seeds and the interval over the others: a note has both.
        "interval": interval(paired) if paired and not paired.collapsed else "",
        "verdict": worded(paired.verdict, paired.margin) if paired else beside,
        "p": beside if paired is None or paired.p_holm is None else _probability(paired.p_holm),
        "which": _which(paired),
        "precision": percent(line.precision, none),
        "recall": percent(line.recall, none),
        "f1": percent(line.f1, none),
        "body": none if line.body is None else f"{line.body:,}",
        "head": none if line.head is None else f"{line.head:,}",
        "memory": mebibytes(line.memory, none),
        "seen": none if line.reviews_seen is None else f"{line.reviews_seen:,.0f}",
        "speed": _time(line.conversion, none) if calibrated else _rate(line.reviews_per_second, none),
        "seeds": ", ".join([*states, *([line.others] if line.others else [])]),
    }
    return {name: harmless(text) for name, text in texts.items()}


def _flat(texts: dict[str, str]) -> list[str]:
    together = {"accuracy": ("accuracy", "half"), "difference": ("difference", "interval"), "verdict": ("verdict", "which")}
    names = (
        "label", "accuracy", "difference", "verdict", "p", "precision", "recall", "f1", "body", "head", "memory",
        "seen", "speed", "seeds",
    )  # fmt: skip
    return [" ".join(text for part in together.get(name, (name,)) if (text := texts[part])) for name in names]


def _stacked(texts: dict[str, str]) -> list[tuple[str, str]]:
    below = texts["which"] or (texts["p"] if texts["p"] != texts["verdict"] else "")
    return [
        (texts["label"], ""),
        (texts["accuracy"], texts["half"]),
        (texts["difference"], texts["interval"]),
        (texts["verdict"], below),
        (texts["precision"], texts["recall"]),
        (texts["f1"], ""),
        (texts["body"], f"+ {texts['head']}" if texts["head"] else ""),
        (texts["memory"], ""),
        (texts["seen"], texts["speed"]),
        (texts["seeds"], ""),
    ]


def _which(paired: Paired | None) -> str:
    """On which seeds a verdict, or a difference without one, stands where it is not all."""
    if paired is not None and paired.collapsed and paired.verdict != "incomplete":
        return f"on seeds {listed(paired.seeds)} of {listed([*paired.seeds, *paired.collapsed])}"
    if paired is None or paired.verdict != "incomplete":
        return ""
    every = listed([*paired.seeds, *paired.collapsed, *paired.lacking, *paired.extra, *paired.unusable])
    return f"on seeds {listed(paired.seeds)} of {every}" if paired.seeds else f"on none of seeds {every}"


def _rate(reviews_per_second: float | None, none: str) -> str:
    return none if reviews_per_second is None else f"{reviews_per_second:.1f}"


def _time(found: Conversion | None, none: str) -> str:
    """Time a token over the reference's, with its 95 % interval: "1.02 [0.83, 1.17]"; the reference has none."""
    if found is None:
        return none
    return f"{found.ratio:.2f}" + ("" if found.low == found.high else f" [{found.low:.2f}, {found.high:.2f}]")


def _probability(p: float) -> str:
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def terminal(group: Group) -> str:
    """The table for a terminal, about 130 columns wide, its title above and its notes below."""
    rows = [
        ["\n".join(part for text in cell for part in _wrapped(text, _WIDEST.get(i))) for i, cell in enumerate(row)]
        for row in stacked(group)
    ]
    text = ruled([*zip(*stacked_headers(group), strict=True), *rows], STACKED_ALIGN)
    return "\n".join([textwrap.fill(title(group), NOTE_WIDTH), "", text, "", *bulleted(notes(group))])


def ruled(lines: Sequence[Sequence[str]], align: list[str]) -> str:
    """Lines of cells as a table for a terminal, with a rule below the first two, which are the headers."""
    # The library widens columns beyond their headers; headers given as rows of the table stay as narrow as they are.
    text = tabulate(lines, tablefmt="plain", disable_numparse=True, colalign=align).splitlines()
    text = [line.rstrip() for line in text]
    return "\n".join([*text[:2], "─" * max(len(line) for line in text), *text[2:]])


def bulleted(said: Iterable[str]) -> list[str]:
    """Notes for a terminal, an entry each."""
    return [textwrap.fill(note, NOTE_WIDTH, initial_indent="- ", subsequent_indent="  ") for note in said]


def _wrapped(text: str, width: int | None) -> list[str]:
    return textwrap.wrap(text, width) if width else [text]


def markdown(group: Group) -> str:
    """The table for a README. Cells are escaped, so that no name can break a row or bring in HTML."""
    table = [[inert(cell) for cell in row] for row in cells(group)]
    if group.reference is not None:
        table[0][0] = f"**{table[0][0]}**"
    text = tabulate(table, headers=headers(group), tablefmt="pipe", disable_numparse=True, colalign=_ALIGN)
    return "\n".join([f"**{inert(title(group))}**", "", text, "", *(f"- {inert_line(note)}" for note in notes(group))])


# A backslash before a backslash or a pipe is read in more than one way inside tables; an entity is not.
_ESCAPED = str.maketrans(
    {c: f"&#{ord(c)};" for c in "|\\$@"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {c: f"\\{c}" for c in "`[]*_~#!"}
)


def inert(text: str) -> str:
    """The text without a meaning in Markdown or HTML; what looks like an address makes no link."""
    return text.strip().translate(_ESCAPED).replace("://", "&#58;//").replace("www.", "www&#46;")


def inert_line(text: str) -> str:
    """The same for the beginning of a line, where a sign or a number could begin a list or a heading."""
    return re.sub(r"^(\d*)([-+.)=])", r"\1\\\2", inert(text))
