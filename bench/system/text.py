"""Words and numbers as they are shown: without what could command a terminal, a path, or a digit too many."""

from __future__ import annotations

import re

__all__ = ["harmless", "mebibytes", "percent", "points", "without_paths"]


def harmless(text: str) -> str:
    """Text from a record without what could command a terminal or reorder a line."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def percent(share: float | None, none: str = "–") -> str:
    """0.94156 → 94.16; `none` where there is no number."""
    return none if share is None else f"{100 * share:.2f}"


def points(share: float | None, none: str = "–") -> str:
    """A difference of shares in percentage points, with its sign."""
    return none if share is None else f"{100 * share:+.2f}"


def mebibytes(size: float | None, none: str = "–") -> str:
    """Bytes as MiB."""
    return none if size is None else f"{size / 2**20:,.0f}"


def without_paths(text: str) -> str:
    """The first line of a message with every absolute path cut down to its last part."""
    line = (text.strip().splitlines() or [""])[0]
    return re.sub(r"(?:/[^\s/'\":]+)+/([^\s/'\":]*)", r"\1", line)[:300]
