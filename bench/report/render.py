"""The report as text or figures: read records, group them, write the requested views."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from bench.analysis.budget_sweep import sweeps
from bench.analysis.comparison import Group
from bench.analysis.confidence import available, confidences
from bench.analysis.statistics import clopper_pearson
from bench.analysis.tuning import Sensitivity
from bench.records.store import Damaged
from bench.report.load import folders, quoted, read
from bench.report.options import Figure
from bench.report.tables import budgets, comparison, confidence, confusion, costs, curves, pairs, tuning
from bench.report.tables.footnotes import notes, title
from bench.report.tables.markup import latex, markdown
from bench.report.tables.table import Section, terminal
from bench.rules import MARGIN
from bench.system.errors import RecordError, SpecError

__all__ = ["FILE_WIDTH", "VIEWS", "render"]

FILE_WIDTH = 100
"""Columns of a table in a file."""

VIEWS = {
    "comparison": "no runs, only tuning trials",
    "pairs": "no three methods with complete runs in one table",
    "confidence": "no complete run with its logits beside it",
    "curves": "no run with a learning curve",
    "budgets": "no runs that differ in the amount of their budget alone, and none under a budget of reviews",
    "costs": "no complete run",
    "tuning": "no tuning trials",
}
"""Views of a report in order, and what is lacking where one is empty."""


def render(
    folder: Path | Sequence[Path],
    *,
    reference: str,
    style: str,
    view: str | Sequence[str] | None = None,
    left_out: list[Damaged] | None = None,
    margin: float = MARGIN,
    wide: bool = False,
    width: int | None = None,
    figure: Figure | None = None,
    out: Path | None = None,
) -> str:
    """Return the report as text: `table` for a terminal, `markdown`, `latex`, `csv`, `json`, or `html` with its figures. Of
    `svg` and `png`, whose `figure` is drawn in a file or folder `out`, return the names, or without `out` the SVG itself.

    `view` is one of `VIEWS`, several, or "all" for all that are not empty; by default the comparison or, without runs, the
    tuning trials. JSON and HTML hold every view, CSV the comparison alone. Damaged files are named on the error stream and
    added to `left_out`. Differences within `margin`, a share of 1, are equivalent. `wide` shows every column of the
    comparison, `width` is that of the terminal, by default its own.

    Raises:
        BenchError: if there is no record of a run or none of the reference, for a view that has nothing to show, for another
            than the comparison as CSV, and as `bench.report.figures.export.write_figures`.
    """
    sources = [folder] if isinstance(folder, Path) else list(folder)
    compared, trials = read(sources, reference, left_out, margin)
    places = folders(sources)
    if style in ("svg", "png"):
        # The libraries that draw take longer to import than a table takes to write.
        from bench.report.figures import drawings
        from bench.report.figures.export import write_figures

        return write_figures(drawings(compared), figure=figure, kind="png" if style == "png" else "svg", out=out)
    requested = [view] if isinstance(view, str) else list(view or ())
    if style == "html":
        from bench.report.page import page

        return page(compared, trials, places)
    if style == "json":
        # Escaped beyond ASCII: names from records may hold characters that command a terminal.
        return json.dumps(_report_json(compared, trials, places), indent=1).replace("\x7f", "\\u007f")
    views = requested or (["comparison"] if compared else ["tuning"])
    if style == "csv":
        if set(views) - {"comparison"} or not compared:
            raise SpecError("csv holds the comparison alone; take --format json for the other views")
        return comparison.spreadsheet(compared)
    # A pipe gets the columns of a file.
    width = width or (max(40, shutil.get_terminal_size().columns) if sys.stdout.isatty() else FILE_WIDTH)
    write = {"markdown": markdown, "latex": latex}.get(style, partial(terminal, width=width))
    sections, tables = _sections(compared, trials, places, wide), []
    for name in VIEWS:
        parts = [write(part) for part in sections[name]] if {name, "all"} & set(views) else []
        if name in views and not parts:
            raise RecordError(f"{quoted(sources)} has nothing to show as --view {name}: {VIEWS[name]}")
        tables += parts
    if not requested and style == "table":
        # Whether there are logits is known without their scores, which take long.
        found = {name: any(True for _ in parts) for name, parts in sections.items() if name not in (*views, "confidence")}
        found["confidence"] = any(available(group, places) for group in compared)
        more = [name for name in VIEWS if name not in views and found[name]]
        hint = f"Further views of these records, with --view: {', '.join(more)}, all"
        tables += [textwrap.fill(hint, width)] if more else []
    return "\n\n\n".join(tables)


def _sections(compared: list[Group], trials: list[Sensitivity], places: list[Path], wide: bool) -> dict[str, Iterator[Section]]:
    """Return the tables of each view, made as they are read; none where a view is empty."""

    def of_groups(tables: Callable[[Group], list[Section]]) -> Iterator[Section]:
        return chain.from_iterable(map(tables, compared))

    return {
        "comparison": (comparison.section(group, wide=wide) for group in compared),
        "pairs": of_groups(pairs.sections),
        "confidence": of_groups(lambda group: confidence.sections(group, confidences(group, places))),
        "curves": of_groups(curves.sections),
        "budgets": chain(chain.from_iterable(map(budgets.sections, sweeps(compared))), of_groups(budgets.equal_reviews)),
        "costs": of_groups(costs.sections),
        "tuning": map(tuning.section, trials),
    }


def _report_json(compared: list[Group], trials: list[Sensitivity], places: list[Path]) -> dict[str, object]:
    return {
        "groups": [
            _as_json(group)
            | {"pairs": pairs.as_json(group), "confidence": confidence.as_json(confidences(group, places))}
            | {"confusion": confusion.as_json(group), "curves": curves.as_json(group), "costs": costs.as_json(group)}
            for group in compared
        ],
        "sweeps": [budgets.as_json(sweep) for sweep in sweeps(compared)],
        "tuning": [tuning.as_json(sensitivity) for sensitivity in trials],
    }


_PLAIN = (
    "label", "method", "seeds", "accuracy", "accuracy_deviation", "accuracy_half_width", "precision", "recall", "f1",
    "accuracy_difference", "f1_difference", "reviews_seen", "reviews_per_second",
)  # fmt: skip
"""Fields of a row that JSON has under the same name."""


def _as_json(group: Group) -> dict[str, object]:
    return {
        "title": title(group),
        "key": group.key._asdict(),
        "reference": group.reference.label if group.reference else None,
        "equivalence_margin": group.margin,
        "minimum_detectable_difference": group.detectable,
        "seed_variance_pooled": group.pools,
        "seed_variance_p": group.variance_p,
        "device_shared": group.shared,
        "table": comparison.as_json(group),
        "methods": [
            {
                **{name: getattr(row, name) for name in _PLAIN},
                "run_ids": [record.run_id for record in row.runs],
                "collapsed_seeds": row.collapsed,
                "one_class_seeds": row.one_class,
                "collapse_rate_interval": clopper_pearson(len(row.collapsed), len(row.runs)) if row.runs else None,
                "states": {record.run_id: record.state for record in row.other_runs},
                "paired": row.paired.model_dump() if row.paired else None,
                "trainable_body": row.body,
                "trainable_head": row.head,
                "memory_bytes": row.memory,
                "time_a_token": row.conversion.model_dump(include={"ratio", "low", "high"}) if row.conversion else None,
            }
            for row in group.rows
        ],
        "notes": [note.text for note in notes(group)],
    }
