"""Memory and disk of one encoder with k adapters against k full copies: `make sharing`.

Sizes do not depend on how well anything is trained, so each adapter is attached with a seed of its own, saved as `run
--save` does, and not trained at all. Every row is a fresh process that loads, answers one text for each of its k tasks
and is then weighed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from bench.models.pretrained import PretrainedModel, find
from bench.records.artifacts import Saved
from bench.runs.launchers.process import LocalEngine
from bench.system.device import usable_cores
from bench.system.meters import MemoryMeter
from tests.measurements.keeping import about, in_one_line, keep_rows

if TYPE_CHECKING:
    from torch import Tensor

    from bench.inference.serving import Server

__all__ = ["Row", "measure", "tensors"]

METHODS, COUNTS = ("houlsby", "pfeiffer", "lora"), (1, 2)
OUT = Path("results/sharing.json")
LENGTH = 128
NOTES = [
    "tensors: bytes of all weights in memory. resident: resident memory of the process above what it had before the first "
    "encoder was loaded, after one text for each task and with every weight read once, tokenizer and work space included, "
    "without what the allocator keeps of freed memory. peak: the most it had, loading included.",
    "disk: weights and the small files beside them; tokenizer and configuration, which every way needs once, are left out. "
    "A full copy needs no encoder beside it.",
    "Nothing is trained: sizes do not depend on it.",
]


@dataclass(frozen=True)
class Row:
    """What k tasks take, in bytes."""

    method: str
    tasks: int
    tensors: int
    resident: int
    peak: int
    disk: int


def tensors(server: Server) -> Iterator[Tensor]:
    """Yield all weights, each once: of the encoder, what is attached to it, and the heads."""
    for module in (server._classifier.encoder, *server._heads.values()):
        yield from module.parameters()
        yield from module.buffers()


def held(pretrained: PretrainedModel, saved: Sequence[Saved], together: bool, notify: Callable[[str, float], None]) -> Row:
    """Load the saved runs, on one encoder or each on its own, let each answer a text, and weigh this process."""
    from bench.inference.serving import Server

    before, after = MemoryMeter("cpu"), MemoryMeter("cpu")
    before.start()
    named = {f"task{i}": one for i, one in enumerate(saved)}
    groups = [named] if together else [{name: one} for name, one in named.items()]
    servers = [Server(group, pretrained, "cpu") for group in groups]
    text = "a film that goes on and on " * LENGTH
    for server, group in zip(servers, groups, strict=True):
        for name in group:
            server.logits(name, [text])
        # A mapped file is resident where it was read: a text reads few rows of the word table, a service in time all.
        for tensor in tensors(server):
            tensor.sum()
    nbytes = sum(tensor.nbytes for server in servers for tensor in tensors(server))
    peak = before.peak().peak
    after.start()  # which collects garbage, gives freed memory back and reads what is resident
    return Row(
        method=saved[0].card.spec.method, tasks=len(saved), tensors=nbytes,
        resident=after.baseline - before.baseline, peak=peak - before.baseline, disk=_disk(pretrained, saved, together),
    )  # fmt: skip


def _disk(pretrained: PretrainedModel, saved: Sequence[Saved], together: bool) -> int:
    encoder = (pretrained.folder / "model.safetensors").stat().st_size if together else 0
    return encoder + sum(path.stat().st_size for one in saved for path in one.folder.iterdir())


def prepare(
    pretrained: PretrainedModel, method: str, seeds: int, folder: str, notify: Callable[[str, float], None]
) -> list[Saved]:
    """Saved folders of a method, one a seed, attached and not trained."""
    from tests.classifiers import attached, keep
    from tests.conftest import make_spec

    specs = [make_spec(method, encoder=pretrained.name, seed=seed, max_length=LENGTH) for seed in range(seeds)]
    return [keep(Path(folder), pretrained, attached(pretrained, method, spec.seed), spec) for spec in specs]


def measure(
    pretrained: PretrainedModel, names: Sequence[str] = METHODS, counts: Sequence[int] = COUNTS, *, full: str = "full"
) -> list[Row]:
    """A row for each method and number of tasks on one encoder, and for as many full copies; each in a fresh process."""
    engine, rows = LocalEngine("cpu"), []
    with tempfile.TemporaryDirectory() as folder:
        for name in (*names, full):
            saved = engine.run(f"{__spec__.name}:prepare", pretrained, name, max(counts), f"{folder}/{name}").outcome
            for k in counts:
                rows.append(engine.run(f"{__spec__.name}:held", pretrained, saved[:k], name != full).outcome)
    return rows


def table(rows: Sequence[Row], style: str = "simple") -> str:
    """The rows in MiB, in a style of tabulate."""
    names = ("tensors", "resident", "peak", "disk")
    cells = [
        [row.method if row.method == "full" else f"one encoder + {row.method}", row.tasks]
        + [f"{getattr(row, name) / 2**20:,.1f}" for name in names]
        for row in rows
    ]
    heads = ["way", "tasks", *(f"{name} MiB" for name in names)]
    return tabulate(cells, heads, style, disable_numparse=True, colalign=("left", *["right"] * 5))


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    with in_one_line():
        pretrained = find(given.encoder)
    environment, rows = about(usable_cores()), measure(pretrained)
    encoder = {"name": pretrained.name, "sha256": pretrained.sha256, "parameters": pretrained.shape.parameters}
    keep_rows(given.out, table(rows), NOTES, environment, rows, encoder=encoder, max_length=LENGTH)


if __name__ == "__main__":
    main()
