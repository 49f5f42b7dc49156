"""One matrix over every registered method: whatever is registered must pass all of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import AutoModel, RobertaConfig

import methods
from bench.data.batches import epoch_batches
from bench.data.task import Task
from bench.models.classifier import Classifier
from bench.models.pretrained import PretrainedModel
from methods import EncoderShape
from tests.classifiers import CORE, EVERY, IDS, MASK, attached, body, loop_for, trained

ALL = methods.names()
# Trainable parameters of the body: (MiniLM-L6, RoBERTa-base with 50,265 tokens), as in the papers' formulae.
COUNTS = {
    "houlsby": (226_080, 1_789_056),
    "pfeiffer": (113_040, 894_528),
    "lora": (73_728, 294_912),
    "full": (22_565_376, 124_055_040),
    "head-only": (0, 0),
    "bitfit": (25_728, 102_144),
    "pfeiffer-matched": (223_776, 1_779_840),
    "lora-matched": (221_184, 1_769_472),
    "lora-all-linear": (207_360, 1_824_768),
    "parallel": (113_040, 894_528),
    "compacter": (14_320, 57_088),
    "loreft": (4_614, 18_444),
    "prefix": (138_240, 552_960),
    "mam": (251_280, 1_447_488),
    "adapterdrop": (75_360, 521_808),
    "houlsby-ln": (235_296, 1_825_920),
    "top-layers": (3_548_928, 21_263_616),
}
ROBERTA_BASE = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1)


def trained_names(classifier: Classifier) -> set[str]:
    return {name for name, p in classifier.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(minilm: PretrainedModel, name: str) -> None:
    method, classifier = methods.get(name), attached(minilm, name)
    assert body(classifier.encoder) == COUNTS[name][0] == method.trainable_parameters(minilm.shape)
    assert sum(p.numel() for p in classifier.head.parameters()) == 770
    with torch.device("meta"):
        encoder = method.attach(AutoModel.from_config(ROBERTA_BASE, add_pooling_layer=False))
    assert body(encoder) == COUNTS[name][1] == method.trainable_parameters(EncoderShape.from_config(ROBERTA_BASE.to_dict()))


@pytest.mark.parametrize("name", ["pfeiffer-matched", "lora-matched", "lora-all-linear"])
def test_variants_are_as_large_as_houlsby_within_a_tenth(name: str) -> None:
    for own, houlsby in zip(COUNTS[name], COUNTS["houlsby"], strict=True):
        assert abs(own / houlsby - 1) < 0.1


@pytest.mark.parametrize("name", EVERY)
def test_a_step_changes_what_trains_and_nothing_else(tiny: PretrainedModel, small_task: Task, name: str) -> None:
    trainer = loop_for(tiny, small_task, name)
    trainer.warm_up()
    before = copy.deepcopy(dict(trainer.classifier.named_parameters()))
    trainer.run()
    after = dict(trainer.classifier.named_parameters())
    changed = {key for key, old in before.items() if not torch.equal(old, after[key])}
    # Rows of word tables that no review held stay as they are, but each trained tensor has some change.
    assert changed == trained_names(trainer.classifier)
    summary = trainer.summary()
    assert summary.frozen_sha256_before == summary.frozen_sha256_after


@pytest.mark.parametrize("name", EVERY)
def test_the_rehearsal_leaves_no_trace(tiny: PretrainedModel, small_task: Task, name: str) -> None:
    trainer = loop_for(tiny, small_task, name)
    before = copy.deepcopy(dict(trainer.classifier.named_parameters()))
    state = torch.get_rng_state()
    trainer.warm_up()
    assert all(torch.equal(old, dict(trainer.classifier.named_parameters())[key]) for key, old in before.items())
    assert torch.equal(state, torch.get_rng_state())
    assert not trainer.optimizer.state
    assert trainer.ledger.steps == trainer.ledger.reviews_seen == 0


@pytest.mark.parametrize("name", EVERY)
def test_same_seed_same_losses(tiny: PretrainedModel, small_task: Task, name: str) -> None:
    one, two, other = (trained(tiny, small_task, name, seed=seed).ledger.losses for seed in (3, 3, 4))
    assert one == two
    assert one != other


def test_head_and_order_are_equal_across_methods(tiny: PretrainedModel, small_task: Task) -> None:
    heads, orders = [], []
    for name in ALL:
        trainer = loop_for(tiny, small_task, name, seed=5)
        heads.append(torch.cat([p.detach().flatten() for p in trainer.classifier.head.parameters()]))
        # What a head on cached features encodes is the first epoch; its passes come after.
        first = epoch_batches(trainer.lengths, trainer.spec.batch_size, trainer.spec.seed, 0)
        rows = iter(first) if trainer.encodes_once else trainer._rows()
        orders.append([next(rows).tolist() for _ in range(6)])
    assert all(torch.equal(heads[0], head) for head in heads)
    assert all(orders[0] == order for order in orders)


def test_every_method_says_where_it_comes_from() -> None:
    for name in ALL:
        method = methods.get(name)
        assert "arXiv" in method.citation
        assert len(method.deviation) > 20
        assert method.learning_rate in method.learning_rates
        assert method.rates_tuned == (name in CORE), "those of the five were chosen on data"


@pytest.mark.parametrize("name", EVERY)
def test_no_gradient_flows_below_the_lowest_trained_module(tiny: PretrainedModel, name: str) -> None:
    """What comes before the first trained weight is run as if nothing trained: autograd keeps nothing of it.

    A layer of peft uses some weights without calling their module, so it is looked at as one.
    """
    if name in {"prefix", "mam"}:
        pytest.skip("prefixes are made before the encoder runs")
    classifier = attached(tiny, name)
    asks: list[tuple[bool, bool]] = []

    def look(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            asks.append((any(p.requires_grad for p in module.parameters()), output.requires_grad))

    layers = [module for module in classifier.modules() if hasattr(module, "base_layer")]
    within = {id(part) for layer in layers for part in layer.modules()}
    leaves = [module for module in classifier.modules() if not list(module.children()) and id(module) not in within]
    for module in (*layers, *leaves):
        module.register_forward_hook(look)
    classifier(IDS, MASK)
    first = next(i for i, (trains, _) in enumerate(asks) if trains)
    assert all(not flows for _, flows in asks[:first])
    assert asks[first][1]
    if name not in {"full", "bitfit", "layer-norm"}:  # whose first trained weights are in the embeddings
        assert first >= 5  # the embeddings call five modules


def test_groups_stand_for_their_methods() -> None:
    assert methods.expand("all") == CORE == ["houlsby", "pfeiffer", "lora", "full", "head-only"]
    assert methods.expand("every") == ALL
    assert methods.expand("houlsby") == ["houlsby"]
    assert {"lora", "rslora", "dora", "vera"} <= set(methods.expand("lora-family")) < set(methods.expand("peft"))
    assert methods.expand("orthogonal") == ["boft", "hra", "oft"]
    assert set(methods.expand("adapters")).isdisjoint(methods.expand("peft"))
    assert not set(methods.groups()) & set(ALL), "a name would mean two things"
    with pytest.raises(methods.MethodError, match=r"unknown method 'lora-famly'; did you mean 'lora-family'\?"):
        methods.expand("lora-famly")
    with pytest.raises(methods.MethodError, match=r"unknown method 'xyz'\. Known: houlsby, .*vera, all, every"):
        methods.expand("xyz")


def test_build_takes_what_a_record_has() -> None:
    for name in ALL:
        method = methods.get(name)
        assert methods.build(name, method.hyperparameters()) == method
    with pytest.raises(TypeError):
        methods.build("lora", {"learning_rate": 1e-3, "depth": 2})
