"""Puts tables of the committed results into README.md: `python -m bench.report.readme`."""

from __future__ import annotations

from pathlib import Path

from bench.files import atomic_write
from bench.report import render

__all__ = ["updated"]

VIEWS = ("comparison", "tuning")
"""The views of the report that the README shows, each between two marks of its own."""
ROOT = Path(__file__).resolve().parents[2]


def marks(view: str) -> tuple[str, str]:
    """What stands in the README before and after a view."""
    return f"<!-- {view}: begin, written by make readme -->", f"<!-- {view}: end -->"


def updated(readme: str, results: Path) -> str:
    """The README with views of the records in `results` between their marks."""
    for view in VIEWS:
        begin, end = marks(view)
        before, rest = readme.split(begin)
        _, after = rest.split(end)
        readme = f"{before}{begin}\n{render(results, reference='houlsby', style='markdown', view=view)}\n{end}{after}"
    return readme


def main() -> None:
    """Rewrite README.md in place."""
    path = ROOT / "README.md"
    text = updated(path.read_text(encoding="utf-8"), ROOT / "results" / "reference")
    with atomic_write(path) as file:
        file.write(text.encode())


if __name__ == "__main__":
    main()
