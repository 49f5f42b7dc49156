"""Draws the committed figures from the committed records: `python -m bench.report.figures`."""

from __future__ import annotations

from pathlib import Path

from bench.report.figures import drawings
from bench.report.figures.export import picture
from bench.report.figures.figure import Drawing
from bench.report.load import read
from bench.system.files import atomic_write, present

__all__ = ["FOLDER", "committed"]

RESULTS = Path(__file__).resolve().parents[3] / "results"
FOLDER = RESULTS / "figures"


def committed() -> dict[str, Drawing]:
    """Draw the committed records; return the figures by file name."""
    compared, _ = read([RESULTS / "study-main"], "houlsby")
    return {f"{key}.svg": drawing for key, drawing in drawings(compared).items()}


def main() -> None:
    """Redraw them, and remove those of deleted records."""
    drawn = committed()
    for name, drawing in drawn.items():
        with atomic_write(FOLDER / name) as file:
            file.write(picture(drawing, "svg"))
    for path in present(FOLDER, "*.svg"):
        if path.name not in drawn:
            path.unlink()


if __name__ == "__main__":
    main()
