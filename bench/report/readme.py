"""Puts tables of the committed results into the documents that show them: `python -m bench.report.readme`."""

from __future__ import annotations

import re
from pathlib import Path

from bench.files import atomic_write
from bench.report import render

__all__ = ["DOCUMENTS", "ROOT", "updated"]

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "results/README.md")
_TABLE = re.compile(
    r"(?P<begin><!-- (?P<view>\w+) of (?P<folder>[\w-]+): begin, written by make readme -->\n).*?(?P<end><!-- end -->)",
    re.DOTALL,
)


def updated(text: str, results: Path) -> str:
    """The text with views of records in folders of `results` between the marks that name both."""

    def table(mark: re.Match[str]) -> str:
        made = render(results / mark["folder"], reference="houlsby", style="markdown", view=mark["view"])
        return f"{mark['begin']}{made}\n{mark['end']}"

    return _TABLE.sub(table, text)


def main() -> None:
    """Rewrite the documents in place."""
    for name in DOCUMENTS:
        path = ROOT / name
        text = updated(path.read_text(encoding="utf-8"), ROOT / "results")
        with atomic_write(path) as file:
            file.write(text.encode())


if __name__ == "__main__":
    main()
