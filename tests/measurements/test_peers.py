"""The peers of the speed comparison train what the suite trains: on a fixed batch without dropout gradients agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bench.models.attention
import bench.system.device
from bench.data.batches import collate
from bench.data.sources import Source
from bench.data.task import Task, prepare, split
from bench.models.attention import attend
from bench.models.pretrained import find
from bench.system.meters import MemoryMeter
from tests.conftest import write_encoder
from tests.measurements.peers.products import operations, peak_of, products_of, seconds_of
from tests.measurements.peers.recipes import (
    ABLATIONS,
    GROUPED_BF16,
    IN_BF16,
    IN_FP32,
    METHODS,
    OURS,
    PEERS,
    Recipe,
    recipes,
)
from tests.measurements.peers.suite import SuitePeer
from tests.measurements.peers.trainers import LibraryPeer, plain

LENGTH, BATCH = 48, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with its own head, as the libraries take it."""
    return write_encoder(tmp_path_factory.mktemp("encoders") / "plain")


@pytest.fixture(scope="module")
def task(folder: Path, small_source: Source) -> Task:
    return prepare(find(str(folder)), small_source.sha256, lambda: split(small_source))


def suite_peer(name: str, recipe: Recipe, folder: Path, task: Task) -> SuitePeer:
    return SuitePeer(name, recipe, find(str(folder)), task, LENGTH, BATCH, MemoryMeter("cpu"))


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {plain(name): p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", METHODS)
def test_gradients_agree_with_the_library(name: str, folder: Path, task: Task, tmp_path: Path) -> None:
    suite = suite_peer(name, Recipe("", "suite"), folder, task)
    library = LibraryPeer(name, Recipe("", "library"), folder, task, LENGTH, BATCH)
    ours: Any = suite.classifier
    library.start_from(ours)
    rows = np.arange(BATCH)
    ids, mask, labels = collate(task, task.train, rows, LENGTH, "head")
    torch.nn.functional.cross_entropy(ours(ids, mask), labels).backward()
    trainer: Any = library.trainer(rows.tolist(), 1, [], str(tmp_path))
    library.model.train()
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    trainer.compute_loss(library.model, batch).backward()
    own, its = gradients(ours), gradients(library.model)
    assert own.keys() == its.keys()
    assert len(own) == sum(p.requires_grad for p in ours.parameters())
    assert max(float((own[key] - its[key]).abs().max()) for key in own) < 1e-5
    assert max(float(gradient.abs().max()) for gradient in own.values()) > 1e-3


@pytest.mark.parametrize("recipe", [*PEERS, GROUPED_BF16, *ABLATIONS[1:], IN_FP32, IN_BF16], ids=lambda recipe: recipe.name)
def test_every_recipe_takes_its_turn(recipe: Recipe, folder: Path, task: Task) -> None:
    batches = [np.arange(start, start + BATCH) for start in range(20, 52, BATCH)]
    peer: Any
    if recipe.by == "library":
        peer = LibraryPeer("lora", recipe, folder, task, LENGTH, BATCH)
        before = peer.model.classifier.modules_to_save["default"].weight.clone()
    else:
        peer = suite_peer("lora", recipe, folder, task)
        before = peer.classifier.head.classifier.weight.clone()
    assert peer.turn(batches, 1) > 0
    after = peer.model.classifier.modules_to_save["default"].weight if recipe.by == "library" else None
    after = peer.classifier.head.classifier.weight if after is None else after
    assert not torch.equal(before, after)


@pytest.mark.parametrize("has_bf16", [False, True])
def test_nobody_is_slow_for_want_of_an_arithmetic(has_bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the suite takes bf16 by itself, it is also held against a library that is given it, and measured without it."""
    monkeypatch.setattr(bench.system.device, "multiplies_bf16", lambda: has_bf16)
    among_peers, ablations = ([r.arithmetic("cpu") for r in recipes(moved, "cpu")] for moved in (False, True))
    assert among_peers == ["fp32"] * 5 + (["bf16", "bf16", "fp32"] if has_bf16 else ["fp32"])
    assert ablations == [OURS.arithmetic("cpu")] * len(ABLATIONS) + ["fp32" if has_bf16 else "bf16"]
    assert {r.arithmetic("cuda") for moved in (False, True) for r in recipes(moved, "cuda")[:6]} == {"bf16"}


def test_pieces_of_like_length_have_the_gradient_of_the_whole_batch(folder: Path, task: Task) -> None:
    weights = []
    whole = Recipe("", "suite", batches="random", whole=True, precision="fp32")
    for recipe in (whole, replace(whole, whole=False, like_lengths=4)):
        torch.manual_seed(0)
        peer = suite_peer("full", recipe, folder, task)
        trainer = peer.trainer([np.arange(BATCH)])
        assert len(trainer._micro_batches(BATCH, LENGTH)) == max(1, recipe.like_lengths)
        trainer.run()
        weights.append(torch.cat([p.detach().flatten() for p in peer.classifier.parameters()]))
    assert torch.allclose(*weights, atol=1e-5)


def test_the_ablation_of_attention_changes_it(folder: Path, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for recipe in (OURS, replace(OURS, torch_attention=True)):
        peer = suite_peer("full", recipe, folder, task)
        monkeypatch.setattr(bench.models.attention, "attend", lambda *given, name=recipe: calls.append(name) or attend(*given))  # type: ignore[func-returns-value, misc]
        peer.turn([np.arange(BATCH)], 1)
    assert calls == [OURS] * 2  # layers


def test_the_products_of_a_step_are_those_of_the_formulas(folder: Path, task: Task) -> None:
    """Head only: per layer four products with [d, d] and two with the feed-forward, forward alone, and no more."""
    peer = suite_peer("head-only", Recipe("", "suite"), folder, task)
    trainer = peer.trainer([np.arange(BATCH)])
    ids, mask, _ = collate(task, task.train, np.arange(BATCH), LENGTH, "head")
    with torch.no_grad():
        found = products_of(lambda: trainer.classifier.features(ids, mask))
    tokens, width, wide, layers = ids.numel(), 32, 64, 2
    assert found[(1, tokens, width, width)] == 4 * layers
    assert found[(1, tokens, width, wide)] == found[(1, tokens, wide, width)] == layers
    heads = 2 * BATCH
    assert found[(heads, ids.shape[1], 16, ids.shape[1])] == layers
    assert found[(heads, ids.shape[1], ids.shape[1], 16)] == layers
    assert sum(found.values()) == 8 * layers
    assert seconds_of(Counter(found)) > 0


def test_training_takes_about_three_times_the_products_of_a_pass_forward(folder: Path, task: Task) -> None:
    """Full fine-tuning: for each product forward one for the input's gradient and one for the weight's."""
    peer = suite_peer("full", Recipe("", "suite"), folder, task)
    trainer = peer.trainer([np.arange(BATCH)])
    ids, mask, labels = collate(task, task.train, np.arange(BATCH), LENGTH, "head")

    def work(shapes: Counter[Any]) -> int:
        return sum(batch * m * k * n * count for (batch, m, k, n), count in shapes.items())

    with torch.no_grad():
        forward = work(products_of(lambda: trainer.classifier(ids, mask)))
    whole = work(products_of(lambda: trainer._step(np.arange(BATCH), ids, mask, labels)))
    assert 2.9 < whole / forward < 3.4


def test_operations_and_peak_of_a_device() -> None:
    assert operations(Counter({(2, 3, 4, 5): 7})) == 2 * 2 * 3 * 4 * 5 * 7
    assert peak_of("NVIDIA H100 80GB HBM3", "bf16") == 989e12
    assert peak_of("NVIDIA H100 80GB HBM3", "fp32") is None
    assert peak_of("a processor", "bf16") is None
