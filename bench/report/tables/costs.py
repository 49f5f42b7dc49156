"""Costs of each method in training and in use, and its out-of-domain accuracy."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

from bench.analysis.comparison import Group, Row
from bench.analysis.costs import Call, Costs, costs
from bench.analysis.intervals import half_width
from bench.report.tables.footnotes import title
from bench.report.tables.formatting import plus_minus
from bench.report.tables.table import Note, Section, naming
from bench.system.text import percent

__all__ = ["as_json", "peak", "sections"]

_Column = tuple[str, Callable[[Costs], str]]
_DASH = "–"


def sections(group: Group) -> list[Section]:
    """Return two tables, what training costs and what the model costs in use. A column that no run measured is left out and
    named below. None without complete runs.
    """
    rows = [row for row in group.rows if row.runs]
    if not rows:
        return []
    all_costs = [costs(row.runs, row.measured) for row in rows]
    notes = [Note("peak", f"Medians over seeds. Activations are the rest of the {peak(group)}, kernels' work space included.")]
    sources = sorted({record.energy.source for row in rows for record in row.measured if record.energy})
    if sources and not group.shared:
        notes.append(Note("energy", f"Energy while the clock charged, by {', '.join(sources)}."))
    if group.shared:
        notes.append(
            Note("clock", "Runs shared their device: their seconds and joules are not shown, nor milliseconds of a call.")
        )
    training = _section("Costs of training", group, rows, all_costs, _TRAINING[:4] if group.shared else _TRAINING, notes)
    use = _section(
        "Costs in use, and other reviews", group, rows, all_costs, _used(all_costs, shared=group.shared), _notes(all_costs)
    )
    return [part for part in (training, use) if len(part.headers) > 1]


def peak(group: Group) -> str:
    """Name the total of which a group's memory parts are the sum."""
    on_cuda = any(record.memory and record.memory.cuda_allocated is not None for record in group.runs)
    return "peak of torch's allocations on the GPU" if on_cuda else "peak above the baseline"


_TRAINING: list[_Column] = [
    ("weights\nMiB", lambda c: _mebibytes(c.split.weights if c.split else None)),
    ("gradients\nMiB", lambda c: _mebibytes(c.split.gradients if c.split else None)),
    ("optimizer\nMiB", lambda c: _mebibytes(c.split.optimizer if c.split else None)),
    ("activations\nMiB", lambda c: _mebibytes(c.split.activations if c.split else None)),
    ("energy\nJ", lambda c: _DASH if c.energy is None else f"{c.energy:,.0f}"),
    ("device\nseconds", lambda c: _DASH if c.device_seconds is None else f"{c.device_seconds:,.1f}"),
]


def _used(all_costs: list[Costs], *, shared: bool) -> list[_Column]:
    batches = sorted({call.batch for c in all_costs for call in c.calls}) or [1, 32]
    columns: list[_Column] = [("to ship", lambda c: _DASH if c.bytes_to_ship is None else _bytes(c.bytes_to_ship))]
    for batch in batches:
        columns.append((f"latency{'' if shared else ' ms'}\nbatch {batch}", _of(batch, _overhead if shared else _latency)))
    for batch in batches if not shared else ():
        columns.append((f"merged ms\nbatch {batch}", _of(batch, _merged)))
    columns.append(("out-of-domain\naccuracy %", lambda c: plus_minus(_mean(c.out_of_domain), half_width(c.out_of_domain))))
    if any(c.without_leaked is not None for c in all_costs):
        columns.append(("accuracy %\nwithout leaked", lambda c: percent(c.without_leaked)))
    return columns


def _of(batch: int, say: Callable[[Call], str]) -> Callable[[Costs], str]:
    return lambda c: next((say(call) for call in c.calls if call.batch == batch), _DASH)


def _latency(call: Call) -> str:
    return f"{call.milliseconds:.1f}" + ("" if call.overhead is None else f"\n({_overhead(call)})")


def _overhead(call: Call) -> str:
    return _DASH if call.overhead is None else f"{100 * call.overhead:+.0f} %"


def _merged(call: Call) -> str:
    return _DASH if call.merged_milliseconds is None else f"{call.merged_milliseconds:.1f}"


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None


def _mebibytes(size: int | None) -> str:
    """With a decimal where small: a low-rank method's gradients are a fraction of a MiB."""
    if size is None:
        return _DASH
    return f"{size / 2**20:,.0f}" if size >= 10 * 2**20 else f"{size / 2**20:.1f}"


def _bytes(size: float) -> str:
    return f"{size / 2**10:,.1f} KiB" if size < 2**20 else f"{size / 2**20:,.1f} MiB"


def _notes(all_costs: list[Costs]) -> list[Note]:
    notes = [Note("bytes", "To ship: what a user of the model needs beside the plain encoder, head included.")]
    if any(c.calls for c in all_costs):
        merged = any(call.merged_milliseconds is not None for c in all_costs for call in c.calls)
        and_merged = "; merged: with updates added into the encoder's weights" if merged else ""
        notes.append(Note("latency", f"Latency: one call at full length, and against the encoder alone{and_merged}."))
    if any(c.out_of_domain for c in all_costs):
        notes.append(Note("out-of-domain", "Out-of-domain: sentences of Rotten Tomatoes reviews, never trained on."))
    if any(c.without_leaked is not None for c in all_costs):
        notes.append(Note("leak", "Without leaked: on the test reviews whose text is not also in train."))
    return notes


def _section(
    name: str, group: Group, rows: list[Row], all_costs: list[Costs], columns: list[_Column], notes: list[Note]
) -> Section:
    cells = [[say(c) for c in all_costs] for _, say in columns]
    shown = [i for i, column in enumerate(cells) if any(cell != _DASH for cell in column)]
    headers = [header.replace("\n", " ") for header, _ in columns]
    left_out = {headers[i]: "" for i in range(len(columns)) if i not in shown and not headers[i].startswith("merged")}
    return Section(
        title=f"{name} · {title(group)}",
        headers=["method", *(columns[i][0] for i in shown)],
        rows=[[row.label, *(cells[i][j] for i in shown)] for j, row in enumerate(rows)],
        notes=[*notes, *naming("not measured", "Not measured: {}.", left_out)],
    )


def as_json(group: Group) -> list[dict[str, object]]:
    """Return the same as plain values: bytes, joules, milliseconds, shares of 1; null or empty where nothing was measured."""
    return [_plain(row.label, costs(row.runs, row.measured)) for row in group.rows]


def _plain(label: str, method_costs: Costs) -> dict[str, object]:
    return {
        "label": label,
        "memory_bytes": method_costs.split.model_dump() if method_costs.split else None,
        "energy_joules": method_costs.energy,
        "device_seconds": method_costs.device_seconds,
        "bytes_to_ship": method_costs.bytes_to_ship,
        "latency": [vars(call) for call in method_costs.calls],
        "out_of_domain_accuracy": _mean(method_costs.out_of_domain),
        "out_of_domain_half_width": half_width(method_costs.out_of_domain),
        "accuracy_without_leaked": method_costs.without_leaked,
    }
