"""Puts the table of the committed results into README.md: `python -m bench.report.readme`."""

from __future__ import annotations

from pathlib import Path

from bench.files import atomic_write
from bench.report import render

__all__ = ["updated"]

BEGIN, END = "<!-- results: begin, written by make readme -->", "<!-- results: end -->"
ROOT = Path(__file__).resolve().parents[2]


def updated(readme: str, results: Path) -> str:
    """The README with the table of the records in `results` between its two marks."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{render(results, reference='houlsby', style='markdown')}\n{END}{after}"


def main() -> None:
    """Rewrite README.md in place."""
    path = ROOT / "README.md"
    text = updated(path.read_text(encoding="utf-8"), ROOT / "results" / "reference")
    with atomic_write(path) as file:
        file.write(text.encode())


if __name__ == "__main__":
    main()
