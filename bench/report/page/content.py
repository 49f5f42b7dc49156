"""Content of the page as plain values: sortable tables, descriptions of runs, figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bench.analysis.comparison import Group, Row
from bench.records.schema import Baseline, Record
from bench.report.figures import Drawing, Look
from bench.report.tables.columns import Column, columns
from bench.report.tables.rows import rows
from bench.report.tables.table import Section
from bench.system.text import harmless

__all__ = ["Cell", "Chapter", "Table", "about", "comparison", "known_runs", "runs_table"]


@dataclass(frozen=True)
class Cell:
    text: str
    value: float | str | None = None
    """Sort key; None comes last."""
    look: Look | None = None
    """Of the method that it names."""


@dataclass(frozen=True)
class Table:
    """A table that can be sorted, but for its last rows."""

    columns: Sequence[Column]
    rows: list[list[Cell]]
    below: list[list[Cell]] = field(default_factory=list)
    """Baselines and the published result."""


@dataclass(frozen=True)
class Chapter:
    """A part of the page: one group of comparable runs, or a view of several groups. Groups never share a chapter's figures."""

    anchor: str
    title: str
    answer: list[str] = field(default_factory=list)
    comparison: Table | None = None
    every_column: Table | None = None
    notes: list[str] = field(default_factory=list)
    """Below the comparison."""
    more_notes: list[str] = field(default_factory=list)
    figures: dict[str, Drawing] = field(default_factory=dict)
    """By the name under which the page's script finds them."""
    runs: Table | None = None
    sections: list[Section] = field(default_factory=list)


def comparison(group: Group, looks: Mapping[str, Look], *, wide: bool) -> Table:
    """Return the table of a group, with its texts as in every other format."""
    shown = columns(group, wide=wide)
    cells = [[Cell(column.cell(row), _sort(column, row)) for column in shown] for row in rows(group)]
    methods = len(group.rows)
    for named, row in zip(cells[:methods], group.rows, strict=True):
        named[0] = replace(named[0], look=looks.get(row.method))
    return Table(shown, cells[:methods], cells[methods:])


def _sort(column: Column, row: Row) -> float | str | None:
    """Sort by the column; the reference differs from itself by nothing."""
    return 0.0 if row.role == "reference" and column.key == "Δ points" else column.value(row)


class _Run(NamedTuple):
    record: Record
    row: Row
    known: dict[str, str]


def _why(run: _Run) -> str:
    if run.record.state != "complete":
        return run.record.reason or "no reason was recorded"
    seed = run.record.spec.seed
    return "answers one class" if seed in run.row.one_class else "collapsed" if seed in run.row.collapsed else ""


def _shared_column(name: str) -> Column:
    return Column("", lambda run: run.known[name], "", name, words=True)


_RUNS = (
    _shared_column("run"), Column("", "row.label", "", "method", words=True), Column("", "record.spec.seed", "", "seed"),
    _shared_column("state"), Column("", _why, "", "why", words=True), Column("", "record.test.accuracy", "%", "accuracy\n%"),
    Column("", "record.parameters.body", "", "trainable"), Column("", "record.memory.training_bytes", "MiB", "memory\nMiB"),
    Column("", "record.training.reviews_seen", "", "reviews\nseen"), Column("", "record.seconds.charged", "", "device\ns"),
    *map(_shared_column, ("settings", "machine", "versions", "commit", "finished")),
)  # fmt: skip


def runs_table(group: Group, looks: Mapping[str, Look]) -> Table:
    """Return every run of a group, in any state, by method and seed."""
    clock = "s, device\nshared" if group.shared else "device\ns"
    shown = [replace(column, header=clock) if column.header == "device\ns" else column for column in _RUNS]
    runs = [
        _Run(record, row, about(record))
        for row in group.rows
        for record in sorted((*row.runs, *row.other_runs), key=lambda r: r.spec.seed)
    ]
    cells = [[Cell(column.cell(run), column.value(run)) for column in shown] for run in runs]
    for named, run in zip(cells, runs, strict=True):
        named[1] = replace(named[1], look=looks.get(run.row.method))
    return Table(shown, cells)


def about(record: Record | Baseline) -> dict[str, str]:
    """Describe a run, in the order of a tooltip."""
    machine = record.environment
    versions = ", ".join(f"{name} {version}" for name, version in sorted(machine.versions.items()))
    commit = (machine.commit or "unknown")[:12] + (", with uncommitted changes" if machine.dirty else "")
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
        "commit": commit,
        "finished": record.finished,
    }
    return {name: harmless(text) for name, text in known.items()}


def known_runs(groups: Sequence[Group]) -> dict[str, dict[str, str]]:
    """Return all runs by id, for the points of figures."""
    records: list[Record | Baseline] = [
        record for group in groups for row in group.rows for record in (*row.runs, *row.other_runs)
    ]
    records += [baseline for group in groups for baseline in group.baselines]
    return {record.run_id: about(record) for record in records}
