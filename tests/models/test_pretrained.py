"""No checkpoint is trusted: a hostile, foreign or damaged one is one line, and no code of it ever runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.models.classifier import load_classifier
from bench.models.pretrained import PretrainedModel, find
from bench.system.errors import ModelError
from methods import EncoderShape
from tests.encoder_folders import change, refused


def test_minilm(minilm: PretrainedModel) -> None:
    assert minilm.name == "minilm"
    assert minilm.pooling == "mean"
    assert minilm.longest == 512
    assert minilm.revision is None
    assert minilm.shape.parameters == 22_565_376


def test_the_same_content_has_the_same_hash_wherever_it_lies(folder: Path, tiny: PretrainedModel) -> None:
    moved = find(str(folder))
    assert (moved.sha256, moved.tokenizer_sha256) == (tiny.sha256, tiny.tokenizer_sha256)
    change(folder, layer_norm_eps=1e-5)
    assert find(str(folder)).sha256 != tiny.sha256


HOSTILE: dict[str, Any] = {
    "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil--evil.Model"},
    "_name_or_path": "evil/evil",
    "quantization_config": {"quant_method": "evil"},
    "trust_remote_code": True,
    "_attn_implementation": "evil/kernel",
    "_attn_implementation_internal": "evil/kernel",
    "attn_implementation": "evil/kernel",
    "_experts_implementation": "evil/kernel",
    "torch_dtype": "evil",
    "architectures": ["Evil"],
    "custom_pipelines": {"x": {"impl": "evil.Pipeline"}},
    "transformers_version": "99",
    "pruned_heads": {"0": [0]},
    "num_labels": 7,
    "id2label": {"0": "x"},
    "hidden_dropout_prob": 0.9,
    "is_decoder": True,
}


def test_fields_that_are_not_on_the_list_are_dropped_and_change_nothing(folder: Path, tiny: PretrainedModel) -> None:
    (folder / "evil.py").write_text("raise SystemExit('code of a checkpoint ran')")
    change(folder, **HOSTILE)
    found = find(str(folder))
    assert found.config == tiny.config
    assert found.sha256 == tiny.sha256
    load_classifier(found, seed=0, dropout=0.0, attention_dropout=0.0)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model_type": "llama"}, "model type 'llama'; known are bert, roberta"),
        ({"model_type": ...}, "model type None"),
        ({"model_type": ["bert"]}, "model type ['bert']"),
        ({"model_type": "../evil"}, "model type '../evil'"),
        ({"hidden_size": "32"}, "hidden_size as '32'"),
        ({"hidden_size": 32.0}, "hidden_size as 32.0"),
        ({"hidden_size": True}, "hidden_size as True"),
        ({"hidden_size": -32}, "hidden_size as -32"),
        ({"hidden_size": 0}, "hidden_size as 0"),
        ({"hidden_size": ...}, "hidden_size must be a positive whole number"),
        ({"vocab_size": 10**30}, "vocab_size as 1000000000"),
        ({"vocab_size": [1] * 10**5}, "vocab_size as [1, 1"),
        ({"vocab_size": {"a": "b" * 10**5}}, "vocab_size as {'a': 'bbb"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps as nan"),
        ({"layer_norm_eps": float("inf")}, "layer_norm_eps as inf"),
        ({"initializer_range": -0.02}, "initializer_range as -0.02"),
        ({"pad_token_id": -1}, "pad_token_id as -1"),
        ({"num_attention_heads": 3}, "3 attention heads, which do not share width 32"),
        ({"num_attention_heads": ...}, "None attention heads"),
        ({"hidden_act": "evil"}, "activation 'evil' is not one of gelu"),
        ({"hidden_act": {"x": 1}}, "hidden_act as {'x': 1}"),
        ({"position_embedding_type": "relative_key"}, "only absolute positions"),
        ({"num_hidden_layers": 3}, "holds 1,010,"),
        ({"num_hidden_layers": 10**9}, "parameters of the body, but config.json describes"),
        ({"vocab_size": 30523}, "parameters of the body, but config.json describes"),
        ({"max_position_embeddings": 511}, "parameters of the body, but config.json describes"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(folder: Path, fields: dict[str, Any], says: str) -> None:
    change(folder, **fields)
    assert says in refused(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"{}\0",
        b"[" * 10**5,
        b'{"a":' * 10**5,
        b'{"model_type": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_config_that_is_no_config_is_refused(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    line = refused(folder)
    assert "config.json cannot be read" in line or "has model type" in line


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    assert f"has no {file}" in refused(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-100], lambda whole: whole + b"more", lambda whole: b"", lambda whole: whole[:7],
        lambda whole: (2**62).to_bytes(8, "little") + whole[8:],
    ],
)  # fmt: skip
def test_damaged_weights_are_refused(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    assert "model.safetensors cannot be read" in refused(folder)


def rewrite(folder: Path, convert: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({key: convert(key, tensor) for key, tensor in weights.items()}, folder / "model.safetensors")


def test_quantised_weights_and_a_matrix_on_its_side_are_refused(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    rewrite(folder, lambda key, tensor: tensor.to(torch.int8))
    assert "holds I8 weights; give one that is not quantised" in refused(folder)
    (folder / "model.safetensors").write_bytes(whole)
    rewrite(folder, lambda key, tensor: tensor.T.contiguous() if key.endswith("0.intermediate.dense.weight") else tensor)
    assert "the weights hold [32, 64] and not [64, 32] numbers for encoder.layer.0.intermediate.dense.weight" in refused(folder)


def test_half_precision_weights_and_old_counters_are_fine(folder: Path) -> None:
    rewrite(folder, lambda key, tensor: tensor.half())
    weights = load_file(folder / "model.safetensors") | {"embeddings.position_ids": torch.arange(512)[None]}
    save_file(weights, folder / "model.safetensors")
    classifier = load_classifier(find(str(folder)), seed=0, dropout=0.0, attention_dropout=0.0)
    assert {parameter.dtype for parameter in classifier.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("was", "now"),
    [("layer.1.", "layer.9."), ("embeddings.", "other.embeddings."), ("LayerNorm.bias", "layernorm.bias"), ("query", "q")],
)
def test_weights_of_the_right_size_under_other_names_are_refused(was: str, now: str, folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({key.replace(was, now): tensor for key, tensor in weights.items()}, folder / "model.safetensors")
    line = refused(folder)
    assert "the weights lack " in line
    assert was in line


def test_one_tensor_as_large_as_a_million_layers_is_refused_at_once(folder: Path) -> None:
    sizes = {"vocab_size": 8, "max_position_embeddings": 8, "hidden_size": 1, "num_attention_heads": 1, "intermediate_size": 1}
    change(folder, **sizes, num_hidden_layers=10**6)
    count = EncoderShape.from_config(json.loads((folder / "config.json").read_text())).parameters
    save_file({"encoder.all": torch.zeros(count, dtype=torch.float16)}, folder / "model.safetensors")
    assert "the weights lack embeddings.word_embeddings.weight" in refused(folder)


def test_files_beyond_any_size_are_not_read(folder: Path) -> None:
    for file, says in (("config.json", "config.json cannot be read"), ("tokenizer.json", "no file of at most 64 MiB")):
        path = folder / file
        content = path.read_bytes()
        with path.open("ab") as more:
            more.truncate(2**40)
        assert says in refused(folder)
        path.write_bytes(content)


def test_pooling_is_what_the_folder_says(folder: Path) -> None:
    pooling = folder / "1_Pooling" / "config.json"
    hashes = {find(str(folder)).sha256}
    pooling.write_text('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false, "word_embedding_dimension": 32}')
    assert find(str(folder)).pooling == "cls"
    hashes.add(find(str(folder)).sha256)
    (folder / "modules.json").unlink()
    assert find(str(folder)).pooling == "own head"
    hashes.add(find(str(folder)).sha256)
    assert len(hashes) == 3, "pooling is a part of what identifies an encoder"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"pooling_mode_max_tokens": true}', "must choose mean or cls pooling, not ['pooling_mode_max_tokens']"),
        ('{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}', "must choose mean or cls pooling"),
        ("[]", "must choose mean or cls pooling, not []"),
        ("{", "1_Pooling/config.json cannot be read"),
        (None, "1_Pooling/config.json cannot be read (No such file or directory)"),
    ],
)
def test_pooling_that_is_not_known_is_refused(folder: Path, content: str | None, says: str) -> None:
    pooling = folder / "1_Pooling" / "config.json"
    pooling.unlink()
    if content is not None:
        pooling.write_text(content)
    assert says in refused(folder)


NOWHERE = ("nope", "", "a/b/c", "../..", "a\0b", "~nobody-of-this-name/x", "x" * 5000, "-rf/x", "a/b@main", "/dev/null")
NEVER = ("a--b/c", "a/b..c", "a/" + "b" * 200)


@pytest.mark.parametrize("name", [*NOWHERE, *NEVER])
def test_what_is_neither_folder_nor_hub_id_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="cannot be the id of a hub encoder" if name in NEVER else "encoder"):
        find(name)
