"""Every method on every family of encoders that it says it supports, from attaching to the merged weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

import methods
from bench.models.attention import adapt_attention
from bench.models.residual_stream import in_precision
from bench.report.methods import methods_text
from methods import EncoderShape
from tests.conftest import FAMILIES, PLAIN, family_config

SIZES = {"vocab_size": 200, "num_hidden_layers": 3}
IDS = torch.randint(3, 200, (4, 9), generator=torch.Generator().manual_seed(0))
WEIGHTS = torch.randn(9, 32, generator=torch.Generator().manual_seed(1))
"""Of a sum of the output that LayerNorms do not make the same for all weights."""


def encoder_of(kind: str, **sizes: int) -> tuple[nn.Module, EncoderShape]:
    """A three-layer encoder of a family without pooler, the same at each call, and its shape."""
    config = family_config(kind, **SIZES, **sizes)
    for field in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"):
        if hasattr(config, field):
            setattr(config, field, 0.0)
    pooler = {"add_pooling_layer": False} if kind in {"Bert", "Roberta", "XLMRoberta", "MPNet", "Albert"} else {}
    torch.manual_seed(0)
    encoder: nn.Module = getattr(transformers, f"{kind}Model")(config, **pooler)
    adapt_attention(encoder)
    return encoder, EncoderShape.from_config(config.to_dict())


def output(encoder: nn.Module) -> Tensor:
    out: Tensor = encoder(input_ids=IDS, attention_mask=torch.ones_like(IDS)).last_hidden_state
    return out


def trainable(encoder: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in encoder.named_parameters() if p.requires_grad}


def pairs() -> list[Any]:
    """Every method with every kind of encoder; by default those of the comparison, and each other once."""
    found = []
    for row, name in enumerate(methods.names()):
        method = methods.get(name)
        kinds = [kind for kind in FAMILIES if method.supports(getattr(transformers, f"{kind}Config").model_type)]
        for column, kind in enumerate(kinds):
            once = column == row % len(kinds) or name in methods.names(core=True)
            found.append(pytest.param(name, kind, id=f"{name}-{kind}", marks=() if once else pytest.mark.slow))
    return found


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_shape_counts_all_weights_and_those_of_layer_norms(kind: str) -> None:
    encoder, shape = encoder_of(kind)
    assert sum(p.numel() for p in encoder.parameters()) == shape.parameters
    norms = [module for module in encoder.modules() if type(module).__name__ == "LayerNorm"]
    assert sum(p.numel() for norm in norms for p in norm.parameters()) == shape.norm_parameters


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("Electra", {"embedding_size": 32}),
        ("Albert", {"embedding_size": 16, "num_hidden_groups": 3}),
        ("DebertaV2", {"conv_kernel_size": 3, "conv_act": "gelu"}),
        ("DebertaV2", {"embedding_size": 16}),
    ],
)
def test_the_shape_counts_what_only_some_of_a_family_have(kind: str, fields: dict[str, Any]) -> None:
    config = family_config(kind, **SIZES, **fields)
    encoder = getattr(transformers, f"{kind}Model")(config)
    whole = sum(p.numel() for name, p in encoder.named_parameters() if "pooler" not in name)
    assert whole == EncoderShape.from_config(config.to_dict()).parameters


@pytest.mark.parametrize(("name", "kind"), pairs())
def test_a_method_on_a_family(name: str, kind: str, tmp_path: Path) -> None:
    """Counts as its closed form says, trains what it should, is saved, loaded and merged, and computes in bf16."""
    method, (encoder, shape) = methods.get(name), encoder_of(kind)
    plain = copy.deepcopy(encoder)
    torch.manual_seed(1)
    encoder = method.attach(encoder).train()
    count = sum(p.numel() for p in trainable(encoder).values())
    assert count == method.trainable_parameters(shape)
    if count:
        (output(encoder) * WEIGHTS).sum().backward()
    assert {key for key, p in encoder.named_parameters() if p.grad is not None} == trainable(encoder).keys()
    with torch.no_grad():
        for parameter in trainable(encoder).values():
            # -1 is a sign among LoReFT's weights, which gets no gradient.
            parameter += 0.05 * torch.randn(parameter.shape) * (parameter != -1)
        logits = output(encoder.eval())
        assert not count or not torch.allclose(logits, output(plain.eval()), atol=1e-4)
        method.save(encoder, tmp_path / "saved")
        torch.manual_seed(2)
        loaded = method.load(encoder_of(kind)[0], tmp_path / "saved").eval()
        assert torch.equal(output(loaded), logits)
        assert sum(p.numel() for p in trainable(loaded).values()) == count
        if method.merges:
            merged = method.merged(copy.deepcopy(encoder))
            assert torch.allclose(output(merged), logits, atol=1e-5)
            shapes = [{key: p.shape for key, p in one.named_parameters()} for one in (merged, plain)]
            assert shapes[0] == shapes[1]
        else:
            with pytest.raises(methods.MethodError, match=f"{name} cannot be merged"):
                method.merged(encoder)
    with in_precision(nn.ModuleDict({"encoder": encoder}), "bf16"):
        rounded = output(encoder)
        assert rounded.dtype == torch.bfloat16
        if count:
            (rounded * WEIGHTS).sum().backward()
    assert {p.grad.dtype for p in trainable(encoder).values() if p.grad is not None} <= {torch.float32}
    assert (rounded - logits).abs().mean() < 0.05


@pytest.mark.parametrize("name", [name for name in methods.names() if methods.get(name).backend == "peft"])
def test_two_of_peft_share_an_encoder(name: str, tmp_path: Path) -> None:
    """Each answers as if it were alone after the other did, and the plain encoder is itself again."""
    method, alone = methods.get(name), {}
    for label, seed in (("one", 1), ("two", 2)):
        torch.manual_seed(seed)
        encoder = method.attach(encoder_of("Bert")[0])
        with torch.no_grad():
            for parameter in trainable(encoder).values():
                parameter += 0.05 * torch.randn(parameter.shape)
        method.save(encoder, tmp_path / label)
        alone[label] = output(encoder.eval())
    plain, shared = encoder_of("Bert")[0].eval(), encoder_of("Bert")[0]
    for label in alone:
        shared = method.join(shared, tmp_path / label, label).eval()
    with torch.no_grad():
        for label in (None, "two", "one", None, "one", "two"):
            method.switch(shared, label)
            assert torch.equal(output(shared), output(plain) if label is None else alone[label]), label


@pytest.mark.parametrize("kind", PLAIN)
def test_bitfit_trains_every_bias_and_nothing_else(kind: str) -> None:
    encoder = methods.get("bitfit").attach(encoder_of(kind)[0])
    # A bias is a vector that a linear map or a LayerNorm adds.
    adds = (nn.Linear, nn.LayerNorm)
    assert trainable(encoder).keys() == {f"{path}.bias" for path, m in encoder.named_modules() if isinstance(m, adds)}


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize(("name", "maps", "rank"), [("lora", 2, 8), ("lora-matched", 2, 9), ("lora-all-linear", 6, 2)])
def test_lora_updates_so_many_maps_a_layer(kind: str, name: str, maps: int, rank: int) -> None:
    # d 144: rank 9 for d / 16, and 2 for d / 72.
    encoder, shape = encoder_of(kind, hidden_size=144, intermediate_size=288)
    encoder = methods.get(name).attach(encoder)
    updated = {path: module for path, module in encoder.named_modules() if hasattr(module, "lora_A") and len(module.lora_A)}
    assert len(updated) == 3 * maps
    assert {(module.r["default"], module.scaling["default"]) for module in updated.values()} == {(rank, 1)}
    assert sum(p.numel() for p in trainable(encoder).values()) == methods.get(name).trainable_parameters(shape)
    if maps == 6:
        linear = {path for path, module in encoder.named_modules() if isinstance(module, nn.Linear) and "lora" not in path}
        assert {path.removesuffix(".base_layer") for path in linear} == updated.keys()


def test_a_rank_never_is_nothing() -> None:
    shape = EncoderShape("bert", 100, 64, 2, 32, 2, 64)
    assert methods.get("lora-all-linear").trainable_parameters(shape) == 1 * 2 * (8 * 32 + 2 * (32 + 64))


def test_ia3_scales_no_output_of_attention() -> None:
    """Keys, values and the inside of the feed-forward block: 3 layers of 2·32 + 64, and nothing that only ends alike."""
    encoder = methods.get("ia3").attach(encoder_of("Bert")[0])
    assert sum(p.numel() for p in trainable(encoder).values()) == 3 * (2 * 32 + 64)
    assert not any("attention.output" in key for key in trainable(encoder))


def test_layers_that_share_weights_are_counted_once() -> None:
    shape = encoder_of("Albert")[1]
    assert (shape.layers, shape.distinct_layers) == (3, 1)
    assert methods.get("lora").trainable_parameters(shape) == 1 * 2 * 2 * 32 * 8


def test_the_list_says_what_attaches_to_an_encoder_and_what_was_not_tuned() -> None:
    said = {entry.partition(":")[0]: entry for entry in methods_text("mine", encoder_of("ModernBert")[1]).split("\n\n")}
    assert said.keys() - {"--method also takes groups, of which those that attach to the encoder run"} == set(methods.names())
    assert "ia3: does not attach to mine, of family modernbert" in said["ia3"]
    assert "Encoders: all but modernbert" in said["ia3"]
    assert "lora: trains 3,072 parameters of mine's body" in said["lora"]
    assert "(not tuned)" in said["vera"]
    assert "(not tuned)" not in said["lora"]
