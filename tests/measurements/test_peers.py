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
from tests.measurements.peers.products import COLD, Product, Recorder, operands, operations, peak_of, seconds_of
from tests.measurements.peers.recipes import (
    ABLATIONS,
    GRAPHS,
    GROUPED,
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


def test_like_lengths_stand_before_the_suite_and_graphs_need_a_gpu() -> None:
    """Which is what `--grouped` takes."""
    on_gpu = recipes(ablations=False, device="cuda")
    assert on_gpu[-3:] == (GROUPED, OURS, GRAPHS)
    assert GRAPHS not in recipes(ablations=False, device="cpu")


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
    """Head only: per layer four products with [d, d] and two with the feed-forward, all with biases, forward alone."""
    peer = suite_peer("head-only", Recipe("", "suite"), folder, task)
    ids, mask, _ = collate(task, task.train, np.arange(BATCH), LENGTH, "head")
    with torch.no_grad(), Recorder() as recorder:
        peer.classifier.features(ids, mask)
    length, width, wide, layers, heads = ids.shape[1], 32, 64, 2, 2
    tokens = BATCH * length
    assert recorder.products == {
        Product(1, tokens, width, width, bias=True): 4 * layers,
        Product(1, tokens, width, wide, bias=True): layers,
        Product(1, tokens, wide, width, bias=True): layers,
        Product(heads * BATCH, length, width // heads, length): layers,
        Product(heads * BATCH, length, length, width // heads): layers,
    }
    linear, attention = 4 * width**2 + 2 * width * wide, 2 * length * width
    assert operations(recorder.products) == 2 * tokens * layers * (linear + attention)
    assert seconds_of(recorder.products) > 0


@pytest.mark.parametrize("name", ["full", "head-only"])
def test_the_products_of_a_turn_are_those_of_its_timed_steps(name: str, folder: Path, task: Task) -> None:
    """The first step or, where the encoder is read once, the first batch that it reads, is left out."""
    peer = suite_peer(name, Recipe("", "suite"), folder, task)
    batch = np.argsort(-peer.task.lengths(task.train, LENGTH), kind="stable")[:BATCH]  # all of one width
    once, twice = (peer.products([batch] * (timed + 1), 1) for timed in (1, 2))
    layer = [product for product in once if product.batch == 1 and product.m == BATCH * LENGTH]
    assert layer
    assert [twice[product] for product in layer] == [2 * once[product] for product in layer]


def test_cold_operands_are_more_than_caches_hold() -> None:
    product = Product(1, 1024, 512, 2048, bias=True)
    hot = operands(product, 100, "cpu", torch.float32, cold=False)
    cold = operands(product, 100, "cpu", torch.float32, cold=True)
    assert [len(one) for one in hot] == [3], "one set, without the bias"
    assert {len(one) for one in cold} == {4}
    assert len({tensor.data_ptr() for one in cold for tensor in one}) == 4 * len(cold)
    size = sum(tensor.nbytes for tensor in cold[0])
    assert size * (len(cold) - 1) <= COLD < size * len(cold)
    assert len(operands(product, 2, "cpu", torch.float32, cold=True)) == 2, "no more than are multiplied"
    few = Counter({Product(1, 4, 3, 2, bias=True): 3})
    assert seconds_of(few, cold=True) > 0


def test_training_takes_about_three_times_the_products_of_a_pass_forward(folder: Path, task: Task) -> None:
    """Full fine-tuning: for each product forward one for the input's gradient and one for the weight's."""
    peer = suite_peer("full", Recipe("", "suite"), folder, task)
    trainer = peer.trainer([np.arange(BATCH)])
    ids, mask, _ = collate(task, task.train, np.arange(BATCH), LENGTH, "head")

    with torch.no_grad(), Recorder() as forward:
        trainer.classifier(ids, mask)
    with Recorder() as whole:
        trainer._step(np.arange(BATCH))
    assert 2.9 < operations(whole.products) / operations(forward.products) < 3.4


def test_operations_and_peak_of_a_device() -> None:
    assert operations(Counter({Product(2, 3, 4, 5): 7})) == 2 * 2 * 3 * 4 * 5 * 7
    assert peak_of("NVIDIA H100 80GB HBM3", "bf16") == 989e12
    assert peak_of("NVIDIA H100 80GB HBM3", "fp32") is None
    assert peak_of("a processor", "bf16") is None
