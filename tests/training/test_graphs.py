"""What a training step that is recorded needs beside a GPU: a graph for every batch that can come, and nothing left of warm-up.

`test_cuda.py` holds recorded steps against plain ones on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.data.device_texts import DeviceTexts
from bench.data.task import Ints, Task
from bench.models.pretrained import PretrainedModel
from bench.models.residual_stream import _copies, in_precision
from bench.records.spec import Budget
from bench.rules import Precision
from bench.training.graphs import Work
from bench.training.trainer import Trainer
from bench.training.warm_up import shapes
from tests.classifiers import loop_for, trained

METHODS = ["houlsby", "full", "head-only"]
Recorded = Callable[..., Trainer]
"""Makes a loop for a method and so many steps."""


class _Repeated:
    """Graphs of a device without graphs: the work itself is done again."""

    def __init__(self) -> None:
        self.works: Mapping[Hashable, Work] = {}

    def record(self, works: Mapping[Hashable, Work]) -> None:
        for work in works.values():
            work.do(torch.zeros(work.texts, dtype=torch.int64))
        self.works = works

    def run(self, key: Hashable, rows: Ints) -> Tensor:
        return self.works[key].do(torch.from_numpy(rows))


@pytest.fixture
def recorded(tiny: PretrainedModel, small_task: Task, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """A loop on a CPU whose steps are repeated as graphs are on CUDA."""
    monkeypatch.setattr("bench.training.trainer.shapes", lambda device, *rest: shapes("cuda", *rest))

    def make(name: str, steps: int, precision: Precision = "fp32") -> Trainer:
        trainer = loop_for(tiny, small_task, name, budget=Budget(amount=steps, unit="steps"), precision=precision)
        spec = trainer.spec
        trainer.texts = DeviceTexts(small_task, small_task.train, spec.max_length, spec.truncation, "cpu")
        trainer.graphs = _Repeated()  # type: ignore[assignment]
        return trainer

    return make


@pytest.mark.parametrize("name", METHODS)
def test_every_batch_of_two_epochs_has_its_graph(
    tiny: PretrainedModel, small_task: Task, recorded: Recorded, name: str
) -> None:
    trainer = recorded(name, 2 * -(-len(small_task.train) // 8))
    before = torch.random.get_rng_state()
    trainer.warm_up()
    assert torch.equal(torch.random.get_rng_state(), before)
    trainer.run()
    plain = trained(tiny, small_task, name, budget=trainer.spec.budget)
    assert trainer.ledger.losses == plain.ledger.losses
    assert trainer.ledger.tokens_padded == plain.ledger.tokens_padded
    assert all(torch.equal(*pair) for pair in zip(trainer.trained, plain.trained, strict=True))


@pytest.mark.parametrize(("name", "precision"), [*((name, "fp32") for name in METHODS), ("houlsby", "bf16"), ("vera", "bf16")])
def test_a_recorded_step_reads_the_tensors_that_a_checkpoint_fills(recorded: Recorded, name: str, precision: Precision) -> None:
    """A graph knows them by their addresses. Of frozen weights it reads bf16 copies, and VeRA's are buffers, in checkpoints."""
    done = recorded(name, 5, precision)
    done.warm_up()
    done.run()
    state = done.state_dict()
    kept = {**state, "tensors": {key: tensor.clone() for key, tensor in state["tensors"].items()}}
    for key, tensor in kept["tensors"].items():
        if key.startswith("buffers/") and tensor.is_floating_point():  # as if they were not those of the seed
            tensor += 1
    trainer = recorded(name, 5, precision)
    trainer.warm_up()
    encoder = trainer.classifier.encoder

    def addresses() -> list[int]:
        moments = [value for state in trainer.optimizer.state.values() for value in state.values()]
        features = [] if trainer.features is None else [trainer.features]
        with in_precision(trainer.classifier, precision):
            frozen = [tensor for tensor in (*encoder.parameters(), *encoder.buffers()) if not tensor.requires_grad]
        return [tensor.data_ptr() for tensor in (*trainer.trained, *moments, *features, *frozen)]

    before = addresses()
    trainer.load_state_dict(kept)
    buffers = [(buffer, _copies.get(buffer)) for buffer in encoder.buffers()]  # type: ignore[no-untyped-call]
    assert all(torch.equal(copy[1], buffer.to(torch.bfloat16)) for buffer, copy in buffers if copy is not None)
    assert (name == "vera") == any(copy is not None for _, copy in buffers)
    assert addresses() == before
    moments = [value.abs().max() for state in trainer.optimizer.state.values() for value in state.values()]
    assert np.max(moments) > 0
