"""Costs of each method in training and in use, and its out-of-domain accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from bench.analysis.comparison import Group, Row
from bench.analysis.costs import Call, Costs, costs
from bench.report.tables.footnotes import title
from bench.report.tables.formatting import number, plus_minus
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
    all_costs = [costs(row) for row in rows]
    notes = [Note("peak", f"Medians over seeds. Activations are the rest of the {peak(group)}, kernels' work space included.")]
    sources = sorted({record.energy.source for row in rows for record in row.measured if record.energy})
    if group.shared:
        words = "By their clocks runs shared their device: their seconds and joules are not shown, nor milliseconds of a call."
        notes.append(Note("clock", words))
    elif sources:
        notes.append(Note("energy", f"Energy while the clock charged, by {', '.join(sources)}."))
    training = [(f"{part}\nMiB", _memory(part)) for part in ("weights", "gradients", "optimizer", "activations")]
    if not group.shared:
        training.append(("energy\nJ", lambda c: number(c.energy_joules, ",.0f")))
        training.append(("device\nseconds", lambda c: number(c.device_seconds, ",.1f")))
    use = _used(all_costs, shared=group.shared)
    parts = (
        _section("Costs of training", group, rows, all_costs, training, notes),
        _section("Costs in use, and other reviews", group, rows, all_costs, use, _notes(all_costs)),
    )
    return [part for part in parts if len(part.headers) > 1]


def peak(group: Group) -> str:
    """Name the total of which a group's memory parts are the sum."""
    on_cuda = any(record.memory and record.memory.cuda_allocated is not None for record in group.runs)
    return "peak of torch's allocations on the GPU" if on_cuda else "peak above the baseline"


def _memory(part: str) -> Callable[[Costs], str]:
    """Write MiB, with a decimal where small: a low-rank method's gradients are a fraction of a MiB."""

    def cell(of: Costs) -> str:
        size = of.memory_bytes[part] / 2**20 if of.memory_bytes else None
        return number(size, ".1f" if size is not None and size < 10 else ",.0f")

    return cell


def _used(all_costs: list[Costs], *, shared: bool) -> list[_Column]:
    batches = sorted({call.batch for c in all_costs for call in c.latency}) or [1, 32]
    columns: list[_Column] = [("to ship", lambda c: _DASH if c.bytes_to_ship is None else _bytes(c.bytes_to_ship))]
    for batch in batches:
        columns.append((f"latency{'' if shared else ' ms'}\nbatch {batch}", _of(batch, _overhead if shared else _latency)))
    for batch in batches if not shared else ():
        columns.append((f"merged ms\nbatch {batch}", _of(batch, lambda call: number(call.merged_milliseconds, ".1f"))))
    columns.append(("out-of-domain\naccuracy %", lambda c: plus_minus(c.out_of_domain_accuracy, c.out_of_domain_half_width)))
    if any(c.accuracy_without_leaked is not None for c in all_costs):
        columns.append(("accuracy %\nwithout leaked", lambda c: percent(c.accuracy_without_leaked)))
    return columns


def _of(batch: int, say: Callable[[Call], str]) -> Callable[[Costs], str]:
    return lambda c: next((say(call) for call in c.latency if call.batch == batch), _DASH)


def _latency(call: Call) -> str:
    return f"{call.milliseconds:.1f}" + ("" if call.overhead is None else f"\n({_overhead(call)})")


def _overhead(call: Call) -> str:
    return _DASH if call.overhead is None else f"{100 * call.overhead:+.0f} %"


def _bytes(size: float) -> str:
    return f"{size / 2**10:,.1f} KiB" if size < 2**20 else f"{size / 2**20:,.1f} MiB"


def _notes(all_costs: list[Costs]) -> list[Note]:
    notes = [Note("bytes", "To ship: what a user of the model needs beside the plain encoder, head included.")]
    if any(c.latency for c in all_costs):
        merged = any(call.merged_milliseconds is not None for c in all_costs for call in c.latency)
        and_merged = "; merged: with updates added into the encoder's weights" if merged else ""
        notes.append(Note("latency", f"Latency: one call at full length, and against the encoder alone{and_merged}."))
    if any(c.out_of_domain_accuracy is not None for c in all_costs):
        notes.append(Note("out-of-domain", "Out-of-domain: sentences of Rotten Tomatoes reviews, never trained on."))
    if any(c.accuracy_without_leaked is not None for c in all_costs):
        notes.append(Note("leak", "Without leaked: on the test reviews whose text is not also in train."))
    return notes


def _section(
    name: str, group: Group, rows: list[Row], all_costs: list[Costs], columns: list[_Column], notes: list[Note]
) -> Section:
    cells = {header: [say(c) for c in all_costs] for header, say in columns}
    shown = {header: column for header, column in cells.items() if set(column) != {_DASH}}
    left_out = {header.replace("\n", " "): "" for header in cells if header not in shown and not header.startswith("merged")}
    return Section(
        title=f"{name} · {title(group)}",
        headers=["method", *shown],
        rows=[[row.label, *own] for row, *own in zip(rows, *shown.values(), strict=True)],
        notes=[*notes, *naming("not measured", "Not measured: {}.", left_out)],
    )


def as_json(group: Group) -> list[dict[str, object]]:
    """Return the same as plain values: bytes, joules, milliseconds, shares of 1; null or empty where nothing was measured."""
    return [{"label": row.label, **asdict(costs(row))} for row in group.rows]
