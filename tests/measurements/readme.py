"""Puts tables of the committed results into the documents that show them: `python -m tests.measurements.readme`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from bench.report.render import render
from bench.system.files import atomic_write

__all__ = ["DOCUMENTS", "ROOT", "between_marks", "rewrite", "updated"]

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "results/README.md")


def between_marks(text: str, name: str, replacement: Callable[[re.Match[str]], str]) -> str:
    """Replace the text between a mark, a pattern with groups, and its end."""
    marks = re.compile(rf"(?P<begin><!-- {name}: begin, written by make readme -->\n).*?(?P<end><!-- end -->)", re.DOTALL)
    return marks.sub(lambda mark: f"{mark['begin']}{replacement(mark)}\n{mark['end']}", text)


def rewrite(path: Path, update: Callable[[str], str]) -> None:
    """Put the updated text of a document in its place."""
    text = update(path.read_text(encoding="utf-8"))
    with atomic_write(path) as file:
        file.write(text.encode())


def updated(text: str, results: Path) -> str:
    """Fill in views of records in folders of `results` between the marks that name both."""

    def table(mark: re.Match[str]) -> str:
        return render(results / mark["folder"], reference="houlsby", style="markdown", view=mark["view"])

    return between_marks(text, r"(?P<view>\w+) of (?P<folder>[\w-]+)", table)


def main() -> None:
    """Rewrite the documents in place."""
    for name in DOCUMENTS:
        rewrite(ROOT / name, lambda text: updated(text, ROOT / "results"))


if __name__ == "__main__":
    main()
