"""Text and numbers for output: safe for a terminal, without paths, rounded, and as CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from types import SimpleNamespace

__all__ = ["csv_text", "harmless", "mebibytes", "no_formula", "percent", "points", "without_paths"]


def harmless(text: str) -> str:
    """Replace characters that could control a terminal or reorder a line."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def percent(share: float | None, none: str = "–") -> str:
    """0.94156 → 94.16; `none` where there is no number."""
    return none if share is None else f"{100 * share:.2f}"


def points(share: float | None, none: str = "–") -> str:
    """Format a difference of shares in percentage points, with its sign."""
    return none if share is None else f"{100 * share:+.2f}"


def mebibytes(size: float | None) -> str:
    """Bytes as MiB."""
    return "–" if size is None else f"{size / 2**20:,.0f}"


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Format rows as CSV (RFC 4180 with line feeds), the last without its line feed; every cell can be read back unchanged."""
    lines: list[str] = []
    # A writer quotes what its own line terminator holds: with a line feed alone, a carriage return would stand bare, and most
    # readers end a row there.
    csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n").writerows(rows)
    return "\n".join(line.removesuffix("\r\n") for line in lines)


def no_formula(text: str) -> str:
    """Escape a cell of CSV that a spreadsheet would take for a formula."""
    safe = harmless(text)
    return f"'{safe}" if safe.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")) else safe


def without_paths(text: str) -> str:
    """Take the first line of a message, with every absolute path cut down to its last part."""
    line = (text.strip().splitlines() or [""])[0]
    return re.sub(r"(?:/[^\s/'\":]+)+/([^\s/'\":]*)", r"\1", line)[:300]
