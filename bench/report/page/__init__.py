"""The report as one HTML file with every table and interactive figures. It needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bench import __version__
from bench.analysis.budget_sweep import sweeps
from bench.analysis.comparison import Group
from bench.analysis.confidence import Folders, confidences
from bench.analysis.sensitivity import Sensitivity
from bench.report.figures import (
    INKS,
    NARROW,
    WIDE,
    Canvas,
    Drawing,
    Look,
    looks_of,
    of_group,
    of_sweep,
    reliability,
    theme,
    vl_version,
)
from bench.report.page.content import Chapter, known_runs, runs_table
from bench.report.page.content import comparison as comparison_table
from bench.report.tables import budgets, comparison, confidence, costs, curves, pairs, tuning
from bench.report.tables.answer import sentences
from bench.report.tables.table import MOST_NOTES, footnotes
from bench.system.text import harmless

__all__ = ["page"]

_HERE = Path(__file__).parent
_CANVASES = {"wide": WIDE, "narrow": NARROW}
"""Canvases by their name in the page's script."""


def page(groups: Sequence[Group], trials: Sequence[Sensitivity], folder: Folders | None = None) -> str:
    """Write the whole report: a chapter for each group, each sweep of budgets, and each set of tuning trials. `folder` holds
    the logits of the runs; without it there is no calibration of probabilities.
    """
    import jinja2
    from markupsafe import Markup

    chapters = list(_chapters(groups, trials, folder))
    drawings = {name: drawing for chapter in chapters for name, drawing in chapter.figures.items()}
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
        policy=_policy(scripts),
        inks=list(zip(INKS["dark"], INKS["light"], strict=True)),
        data=Markup(_inert(_data(drawings, groups))),  # noqa: S704 - no character of it can end a script
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - the suite's own
    )


def _chapters(groups: Sequence[Group], trials: Sequence[Sensitivity], folder: Folders | None) -> Iterator[Chapter]:
    """Yield the first group, the budgets side by side, the other groups, the tuning trials."""
    looks = looks_of(groups)
    chapters = [_group(f"group-{i}", group, looks, folder) for i, group in enumerate(groups, 1)]
    yield from chapters[:1]
    for i, sweep in enumerate(sweeps(groups), 1):
        sections = budgets.sections(sweep)
        figures = _with_anchor(f"budgets-{i}", of_sweep(sweep, looks))
        yield Chapter(f"budgets-{i}", sections[0].title, figures=figures, sections=sections)
    yield from chapters[1:]
    for i, sensitivity in enumerate(trials, 1):
        section = tuning.section(sensitivity)
        yield Chapter(f"tuning-{i}", section.title, sections=[section])


def _group(anchor: str, group: Group, looks: Mapping[str, Look], folder: Folders | None) -> Chapter:
    believed = confidences(group, folder) if folder else []
    drawn = reliability.drawing(group, looks, believed)
    more = [*pairs.sections(group), *confidence.sections(group, believed), *budgets.equal_reviews(group)]
    table = comparison.section(group)
    return Chapter(
        anchor=anchor,
        title=table.title,
        answer=sentences(group),
        comparison=comparison_table(group, looks, wide=False),
        every_column=comparison_table(group, looks, wide=True),
        notes=footnotes(table),
        more_notes=[note.text for note in table.notes[MOST_NOTES:]],
        figures=_with_anchor(anchor, [*of_group(group, looks), *([drawn] if drawn else [])]),
        runs=runs_table(group, looks),
        sections=[*more, *curves.sections(group), *costs.sections(group)],
    )


def _with_anchor(anchor: str, drawings: Iterable[Drawing]) -> dict[str, Drawing]:
    return {f"{anchor}-{drawing.figure}": drawing for drawing in drawings}


def _data(drawings: Mapping[str, Drawing], groups: Sequence[Group]) -> dict[str, Any]:
    """Return the data of the page's script: figures and descriptions of runs."""
    return {
        "figures": {
            name: {size: _fluid(drawing, canvas) for size, canvas in _CANVASES.items()} for name, drawing in drawings.items()
        },
        "themes": {
            name: {size: theme(dark=name == "dark", text=canvas.text) for size, canvas in _CANVASES.items()}
            for name in ("light", "dark")
        },
        "runs": known_runs(groups),
    }


def _fluid(drawing: Drawing, canvas: Canvas) -> dict[str, Any]:
    """Drop the address of the schema: the page names no network location."""
    return {key: value for key, value in drawing.spec(canvas).items() if key != "$schema"}


def _inert(data: dict[str, Any]) -> str:
    """Escape JSON for use in a script: no character can end it or begin another."""
    return json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which vl-convert brings along."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vl_version())


def _script(code: str) -> str:
    """Normalise a script to the text that a browser hashes: line feeds alone, and no string that ends the element."""
    return code.replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _policy(scripts: Iterable[str]) -> str:
    """Return the content security policy: these scripts alone, the page's own styles, and nothing from anywhere else."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
