"""BitFit and the parameter-matched variants: what they train, and how much of it there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModel, RobertaConfig

import methods
from bench.models.classifier import load_classifier
from bench.models.pretrained import PretrainedModel, find
from bench.runs.plan import Request, plan
from methods import EncoderShape
from tests.conftest import write_encoder

FAMILIES = ["Bert", "Roberta", "XLMRoberta", "DistilBert", "MPNet"]
VARIANTS = ["pfeiffer-matched", "lora-matched", "lora-all-linear"]

# Trainable parameters of the body: (MiniLM-L6, RoBERTa-base with 50,265 tokens).
COUNTS = {
    "bitfit": (25_728, 102_144),
    "pfeiffer-matched": (223_776, 1_779_840),
    "lora-matched": (221_184, 1_769_472),
    "lora-all-linear": (207_360, 1_824_768),
}
HOULSBY = (226_080, 1_789_056)


def encoder_of(pretrained: PretrainedModel) -> nn.Module:
    return load_classifier(pretrained, seed=0, dropout=0.0, attention_dropout=0.0).encoder


def trainable(encoder: nn.Module) -> dict[str, int]:
    return {name: p.numel() for name, p in encoder.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_on_minilm(minilm: PretrainedModel, name: str) -> None:
    method = methods.get(name)
    assert sum(trainable(method.attach(encoder_of(minilm))).values()) == COUNTS[name][0]
    assert method.trainable_parameters(minilm.shape) == COUNTS[name][0]


@pytest.mark.parametrize("name", COUNTS)
def test_counts_on_roberta_base(name: str) -> None:
    config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1)
    with torch.device("meta"):
        encoder = AutoModel.from_config(config, add_pooling_layer=False)
        attached = methods.get(name).attach(encoder)
    assert sum(trainable(attached).values()) == COUNTS[name][1]
    assert methods.get(name).trainable_parameters(EncoderShape.from_config(config.to_dict())) == COUNTS[name][1]


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_as_large_as_houlsby_within_a_tenth(name: str) -> None:
    for own, houlsby in zip(COUNTS[name], HOULSBY, strict=True):
        assert abs(own / houlsby - 1) < 0.1


@pytest.mark.parametrize("kind", FAMILIES)
def test_bitfit_trains_every_bias_and_nothing_else(family: Callable[[str], PretrainedModel], kind: str) -> None:
    pretrained = family(kind)
    bitfit = methods.get("bitfit")
    encoder = bitfit.attach(encoder_of(pretrained))
    # A bias is a vector that a linear map or a LayerNorm adds.
    biases = {
        f"{path}.bias": module.bias.numel()
        for path, module in encoder.named_modules()
        if isinstance(module, (nn.Linear, nn.LayerNorm))
    }
    assert trainable(encoder) == biases
    assert sum(biases.values()) == bitfit.trainable_parameters(pretrained.shape)


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize(("name", "maps"), [("lora", 2), ("lora-matched", 2), ("lora-all-linear", 6)])
def test_lora_updates_so_many_maps_a_layer(tmp_path: Path, kind: str, name: str, maps: int) -> None:
    # d 144: rank 9 for d / 16, and 2 for d / 72; two layers.
    sizes = {"hidden_size": 144, "intermediate_size": 288}
    pretrained = find(str(write_encoder(tmp_path / "encoder", kind, **sizes)))
    encoder = methods.get(name).attach(encoder_of(pretrained))
    updated = [path for path, module in encoder.named_modules() if hasattr(module, "lora_A") and len(module.lora_A)]
    assert len(updated) == len(set(updated)) == 2 * maps
    assert {encoder.get_submodule(path).r["default"] for path in updated} == {
        {"lora": 8, "lora-matched": 9, "lora-all-linear": 2}[name]
    }
    assert {encoder.get_submodule(path).scaling["default"] for path in updated} == {1}
    assert sum(trainable(encoder).values()) == methods.get(name).trainable_parameters(pretrained.shape)
    if maps == 6:
        linear = [path for path, module in encoder.named_modules() if isinstance(module, nn.Linear) and "lora" not in path]
        assert sorted(path.removesuffix(".base_layer") for path in linear) == sorted(updated)


def test_a_rank_never_is_nothing() -> None:
    shape = EncoderShape("bert", 100, 64, 2, 32, 2, 64)
    assert methods.get("lora-all-linear").trainable_parameters(shape) == 1 * 2 * (8 * 32 + 2 * (32 + 64))


def test_hyperparameters_are_plain_and_make_the_method_again() -> None:
    for name in COUNTS:
        method = methods.get(name)
        settings = method.hyperparameters()
        assert all(isinstance(value, (int, float, str)) for value in settings.values())
        assert type(method)(**settings) == method
        assert type(method)() == method
    assert methods.get("lora-matched").hyperparameters() == {"learning_rate": 1.5e-3, "rank_divisor": 16, "scale": 1}


def test_they_are_known_but_not_part_of_all() -> None:
    assert set(COUNTS) <= set(methods.names())
    assert methods.names(core=True) == ["houlsby", "pfeiffer", "lora", "full", "head-only"]


def test_each_can_be_asked_for_by_name(tiny_folder: Path, small_folder: Path) -> None:
    asked = Request(methods=list(COUNTS), encoder=str(tiny_folder), data=str(small_folder), max_length=16, device="cpu")
    assert sorted(job.spec.method for job in plan(asked).jobs) == sorted(COUNTS)
