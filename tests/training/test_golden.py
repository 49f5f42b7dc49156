"""Losses and gradients of every core method, against committed ones.

A change of arithmetic shows here. If it is meant, it changes results: raise the version of the rules (`RULES_VERSION`) with
it, and write the numbers anew with

    python -m tests.training.test_golden

on a processor with bf16 instructions where there is one; without them bf16 is computed too, only slowly. Gradients are of the
whole batch, its micro-batches added up, clipped, as AdamW is about to see them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import methods
from bench.data.task import Task
from bench.data.tokenization import Split
from bench.models.classifier import load_classifier
from bench.models.pretrained import PretrainedModel, find
from bench.records.spec import Budget
from bench.rules import RULES_VERSION, Precision
from bench.system.device import multiplies_bf16
from bench.system.meters import DeviceClock, MemoryMeter
from bench.training.trainer import Trainer
from tests.conftest import MEAN, make_spec, write_encoder

NUMBERS = Path(__file__).with_name("golden.json")
CORE = ("full", "houlsby", "pfeiffer", "lora", "head-only")
NEAR = {"fp32": 1e-4, "bf16": 5e-3}
"""Relative: a loss, and the norm of the difference of a gradient's projections."""
STEPS, TOKENS = 6, 1500
PROJECTIONS = 8


def task() -> Task:
    """64 reviews of 5 to 40 tokens, drawn."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(3, 39, 64)
    ids = generator.integers(1000, 20000, int(lengths.sum()))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    split = Split(ids.astype(np.int32), starts, (ids[starts[:-1]] % 2).astype(np.int64))
    return Task(split, split, split, np.array([], dtype=np.int64), np.array([101]), np.array([102]), 0)


def encoder(folder: Path) -> PretrainedModel:
    """A BERT of two layers and width 32 with mean pooling, drawn."""
    return find(str(write_encoder(folder, pooling=MEAN)))


def numbers(pretrained: PretrainedModel, name: str, precision: Precision) -> dict[str, Any]:
    """Losses of a few steps under a budget in tokens, and of each step's gradients the norm and projections on directions."""
    import bench.training.steps

    torch.set_num_threads(2)
    spec = make_spec(name, precision=precision, budget=Budget(amount=TOKENS, unit="tokens"), max_length=40, batch_size=8)
    classifier = load_classifier(pretrained, seed=0, dropout=0.0, attention_dropout=0.0)
    torch.manual_seed(0)
    method = methods.get(name)
    classifier.encoder = method.attach(classifier.encoder)
    with torch.no_grad():  # so that LoRA has a gradient in both of its factors from the start
        for key, parameter in classifier.encoder.named_parameters():
            if "lora_B" in key:
                parameter.normal_(0.0, 0.1)
    trainer = Trainer(classifier, task(), spec, method.encodes_once, DeviceClock("cpu"), MemoryMeter("cpu"))
    seen: list[list[float]] = []
    step = trainer.optimizer.step

    def look(*given: Any, **named: Any) -> Any:
        gradient = torch.cat([p.grad.flatten() for p in trainer.trained]).double()  # type: ignore[union-attr]
        directions = torch.arange(gradient.numel(), dtype=torch.float64)
        products = [float(gradient @ torch.sin(directions * (k + 1.5))) for k in range(PROJECTIONS)]
        seen.append([float(gradient.norm()), *products])
        return step(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.training.steps, "MICRO_BATCH", 128)  # two to four micro-batches a batch
        assert len(trainer._micro_batches(8, 40)) > 2
        trainer.warm_up()
        patch.setattr(trainer.optimizer, "step", look)
        trainer.run()
    summary = trainer.summary()
    assert summary.frozen_sha256_before == summary.frozen_sha256_after
    assert summary.steps >= STEPS
    return {
        "losses": trainer.ledger.losses[:STEPS], "gradients": seen[:STEPS], "steps": summary.steps,
        "rates": [group["lr"] for group in trainer.optimizer.param_groups],
    }  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> PretrainedModel:
    return encoder(tmp_path_factory.mktemp("golden") / "tiny")


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.skipif(
    not multiplies_bf16(), reason="the processor has no bf16 instructions"
))])  # fmt: skip
@pytest.mark.parametrize("name", CORE)
def test_losses_and_gradients_are_the_committed_ones(drawn: PretrainedModel, name: str, precision: Precision) -> None:
    committed, near = json.loads(NUMBERS.read_text()), NEAR[precision]
    assert committed["rules_version"] == RULES_VERSION
    expected = committed["methods"][name][precision]
    found = numbers(drawn, name, precision)
    assert found["steps"] == expected["steps"]
    assert found["rates"] == pytest.approx(expected["rates"], rel=1e-9)
    assert found["losses"] == pytest.approx(expected["losses"], rel=near)
    for mine, theirs in zip(found["gradients"], expected["gradients"], strict=True):
        # Directions are of length sqrt(n / 2): products are compared on the scale of the largest.
        scale = max(abs(number) for number in theirs)
        assert mine == pytest.approx(theirs, abs=near * scale)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pretrained = encoder(Path(folder) / "tiny")
        found = {name: {p: numbers(pretrained, name, p) for p in ("fp32", "bf16")} for name in CORE}  # type: ignore[arg-type]
    NUMBERS.write_text(json.dumps({"rules_version": RULES_VERSION, "methods": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
