"""The report as one HTML file with every table and interactive figures. It needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import vl_convert
from markupsafe import Markup

from bench import __version__
from bench.analysis.budget_sweep import sweeps
from bench.analysis.comparison import Group, Row
from bench.analysis.confidence import confidences
from bench.analysis.tuning import Sensitivity
from bench.records.schema import Baseline, Record
from bench.report.figures import of_group, of_sweep, reliability
from bench.report.figures.figure import NARROW, WIDE, Drawing, theme, vl_version
from bench.report.figures.marks import Look, looks
from bench.report.tables import budgets, comparison, confidence, confusion, costs, curves, pairs, tuning
from bench.report.tables.columns import Column, columns, rows
from bench.report.tables.table import MOST_NOTES, Section, footnotes
from bench.system.text import harmless

__all__ = ["page", "sort_key"]

_HERE = Path(__file__).parent
_CANVASES = {"wide": WIDE, "narrow": NARROW}
"""Canvases by their name in the page's script."""


class Chapter(NamedTuple):
    """A part of the page: one group of comparable runs, or a view of several groups. Groups never share a chapter's figures."""

    anchor: str
    title: str
    sections: Sequence[Section]
    figures: Sequence[Drawing] = ()
    group: Group | None = None
    comparison: Section | None = None
    """Of the group."""


def page(groups: Sequence[Group], trials: Sequence[Sensitivity], folders: Sequence[Path] = ()) -> str:
    """Write the whole report: a chapter for each group, each sweep of budgets, and each set of tuning trials. `folders` hold
    the logits of the runs; without them there is no calibration of probabilities.
    """
    look = looks(row.method for group in groups for row in group.rows)
    chapters = list(_chapters(groups, trials, look, folders))
    scripts = [_script(_vega()), _script((_HERE / "page.js").read_text(encoding="utf-8"))]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Names from records may hold characters that turn a line around.
        finalize=lambda value: harmless(value) if type(value) is str else value,
    )
    environment.filters["notes"] = footnotes
    return environment.get_template("page.html").render(
        version=__version__,
        chapters=chapters,
        looks=look,
        sentences=comparison.sentences,
        columns=columns,
        rows=rows,
        runs=_runs,
        sort_key=sort_key,
        most_notes=MOST_NOTES,
        policy=_policy(scripts),
        data=Markup(_inert(_data(chapters, groups))),  # noqa: S704 - no character of it can end a script
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - the suite's own
    )


def _chapters(
    groups: Sequence[Group], trials: Sequence[Sensitivity], looks: Mapping[str, Look], folders: Sequence[Path]
) -> Iterator[Chapter]:
    """Yield the first group, the budgets side by side, the other groups, the tuning trials."""
    chapters = [_group(f"group-{i}", group, looks, folders) for i, group in enumerate(groups, 1)]
    yield from chapters[:1]
    for i, sweep in enumerate(sweeps(groups), 1):
        sections = budgets.sections(sweep)
        yield Chapter(f"budgets-{i}", sections[0].title, sections, of_sweep(sweep, looks))
    yield from chapters[1:]
    for i, sensitivity in enumerate(trials, 1):
        section = tuning.section(sensitivity)
        yield Chapter(f"tuning-{i}", section.title, [section])


def _group(anchor: str, group: Group, looks: Mapping[str, Look], folders: Sequence[Path]) -> Chapter:
    believed, section = confidences(group, folders), comparison.section(group)
    drawn = reliability.drawing(group, looks, believed)
    sections = [
        *pairs.sections(group), *confidence.sections(group, believed), *budgets.equal_reviews(group),
        *confusion.sections(group), *curves.sections(group), *costs.sections(group),
    ]  # fmt: skip
    figures = [*of_group(group, looks), *([drawn] if drawn else [])]
    return Chapter(anchor, section.title, sections, figures, group, section)


def sort_key(column: Column, row: Any) -> float | str:
    """Sort by the column's value; the reference differs from itself by nothing, and what was not measured is empty."""
    if column.key == "Δ points" and row.role == "reference":
        return 0.0
    value = column.value(row)
    return "" if value is None else value


class _Run(NamedTuple):
    method: str
    label: str
    record: Record
    why: str
    known: dict[str, str]


def _why(record: Record, row: Row) -> str:
    if record.state != "complete":
        return record.reason or "no reason was recorded"
    seed = record.spec.seed
    return "answers one class" if seed in row.one_class else "collapsed" if seed in row.collapsed else ""


def _known(name: str) -> Column:
    return Column("", lambda run: run.known[name], "", name, words=True)


_RUNS = (
    _known("run"), Column("", "label", "", "method", words=True), Column("", "record.spec.seed", "", "seed"), _known("state"),
    Column("", "why", "", "why", words=True), Column("", "record.test.accuracy", "%", "accuracy\n%"),
    Column("", "record.parameters.body", "", "trainable"), Column("", "record.memory.training_bytes", "MiB", "memory\nMiB"),
    Column("", "record.training.reviews_seen", "", "reviews\nseen"), Column("", "record.seconds.charged", "", "device\ns"),
    *map(_known, ("settings", "machine", "versions", "commit", "finished")),
)  # fmt: skip


def _runs(group: Group) -> tuple[list[Column], list[_Run]]:
    """Return every run of a group, in any state, by method and seed, and the columns of their table."""
    clock = "s, device\nshared" if group.shared else "device\ns"
    runs = [
        _Run(row.method, row.label, record, _why(record, row), _about(record))
        for row in group.rows
        for record in sorted(row.records, key=lambda record: record.spec.seed)
    ]
    return [replace(column, header=clock) if column.header == "device\ns" else column for column in _RUNS], runs


def _about(record: Record | Baseline) -> dict[str, str]:
    """Describe a run, in the order of a tooltip."""
    machine = record.environment
    versions = ", ".join(f"{name} {version}" for name, version in sorted(machine.versions.items()))
    known = {"run": record.run_id}
    if isinstance(record, Record):
        spec = record.spec
        known |= {
            "method": spec.method,
            "settings": ", ".join(f"{name} {value}" for name, value in sorted(spec.hyperparameters.items())),
            "seed": str(spec.seed),
            "state": record.state,
        }
    known |= {
        "machine": f"{machine.device}, {machine.threads} threads, {machine.platform}",
        "versions": f"Python {machine.python}, {versions}",
        "commit": (machine.commit or "unknown")[:12] + (", with uncommitted changes" if machine.dirty else ""),
        "finished": record.finished,
    }
    return {name: harmless(text) for name, text in known.items()}


def _data(chapters: Sequence[Chapter], groups: Sequence[Group]) -> dict[str, Any]:
    """Return the data of the page's script: figures, and descriptions of the runs that their points are of, by id."""
    runs: list[Record | Baseline] = [record for group in groups for record in group.records]
    runs += [baseline for group in groups for baseline in group.baselines]
    drawings = {f"{chapter.anchor}-{drawing.figure}": drawing for chapter in chapters for drawing in chapter.figures}
    return {
        "figures": {name: {size: of.spec(canvas) for size, canvas in _CANVASES.items()} for name, of in drawings.items()},
        "themes": {size: theme(canvas.text) for size, canvas in _CANVASES.items()},
        "runs": {run.run_id: _about(run) for run in runs},
    }


def _inert(data: dict[str, Any]) -> str:
    """Escape JSON for use in a script: no character can end it or begin another."""
    return json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which vl-convert brings along."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vl_version())


def _script(code: str) -> str:
    """Normalise a script to the text that a browser hashes: line feeds alone, and no string that ends the element."""
    return code.replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _policy(scripts: Iterable[str]) -> str:
    """Return the content security policy: these scripts alone, the page's own styles, and nothing from anywhere else."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
