"""Each family of encoders computes what transformers computes, from every kind of file that holds it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.models.classifier import Classifier, load_classifier
from bench.models.families import FAMILIES as NAMES
from bench.models.pretrained import PretrainedModel, find
from bench.models.residual_stream import in_precision
from bench.models.weight_files import INDEX, WEIGHTS, expected
from bench.system.errors import ModelError
from methods import FAMILIES as OF_METHODS
from methods import EncoderShape
from tests.conftest import FAMILIES, write_encoder
from tests.encoder_folders import change, refused

IDS = torch.tensor([[101, 2023, 2003, 2307, 9643, 3185, 4569, 102], [101, 9643, 3185, 102, *4 * [1]]])
MASK = (IDS != 1).long()
NEW = ("Electra", "DebertaV2", "Albert", "ModernBert")
WITH_POOLER = {"Bert": "pooler.dense", "Albert": "pooler", "DebertaV2": "pooler.dense", "ModernBert": "head.dense"}


def loaded(pretrained: PretrainedModel) -> Classifier:
    return load_classifier(pretrained, seed=0, dropout=0.0, attention_dropout=0.0).eval()


def theirs(folder: Path, classifier: Classifier, family: str) -> Tensor:
    """Logits of transformers' own sequence-classification model with the head of a classifier."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    head = {}
    for key, tensor in classifier.head.state_dict().items():
        begins = next(begin for begin in NAMES[family].head if key.startswith(begin))
        head[NAMES[family].head[begins] + key.removeprefix(begins)] = tensor
    missing, unexpected = model.load_state_dict(head, strict=False)
    assert not unexpected
    assert not [key for key in missing if not key.startswith(NAMES[family].prefix)]
    logits: Tensor = model(input_ids=IDS, attention_mask=MASK).logits
    return logits


def sharp(folder: Path) -> None:
    """Make weights so large that attention is far from even."""
    weights = load_file(folder / WEIGHTS)
    save_file(
        {key: tensor * (8 if tensor.ndim == 2 else 1) for key, tensor in weights.items()}, folder / WEIGHTS, {"format": "pt"}
    )


def test_every_family_has_names_and_targets() -> None:
    assert set(NAMES) == set(OF_METHODS)


@pytest.mark.parametrize("kind", FAMILIES)
def test_logits_are_those_of_the_library(kind: str, tmp_path: Path) -> None:
    """With the family's own head, padding, and in blocks; bf16 stays near and finite where rows are all padding."""
    folder = write_encoder(tmp_path / kind, kind)
    sharp(folder)
    pretrained = find(str(folder))
    assert (pretrained.pooling, pretrained.longest) == ("own head", 512)
    classifier = loaded(pretrained)
    with torch.no_grad():
        logits = classifier(IDS, MASK)
        torch.testing.assert_close(logits, theirs(folder, classifier, pretrained.config["model_type"]), rtol=1e-4, atol=1e-6)
        alone = classifier(IDS[1:, :4], MASK[1:, :4])
        torch.testing.assert_close(alone, logits[1:], rtol=1e-4, atol=1e-6)
        exact = classifier.features(IDS, MASK)
        with in_precision(classifier, "bf16"):
            rounded = classifier.features(IDS, MASK)
    assert (rounded - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("kind", WITH_POOLER)
def test_a_pooler_that_the_checkpoint_brings_is_kept_and_the_rest_of_a_head_is_new(kind: str, tmp_path: Path) -> None:
    model = f"{kind}ForSequenceClassification"
    folder = write_encoder(tmp_path / kind, kind)
    config = transformers.AutoConfig.from_pretrained(folder, num_labels=5)
    whole = getattr(transformers, model)(config)
    whole.save_pretrained(folder)
    found = find(str(folder))
    assert found.dropped_labels == 5
    assert [line for line in found.notes if "(5 labels) is dropped" in line]
    prefix = NAMES[found.config["model_type"]].prefix if kind in {"Bert", "Albert"} else ""
    pooler = whole.state_dict()[f"{prefix}{WITH_POOLER[kind]}.weight"]
    for seed in (0, 1):
        head = load_classifier(found, seed=seed, dropout=0.0, attention_dropout=0.0).head
        assert any(torch.equal(tensor, pooler) for key, tensor in head.state_dict().items() if key.startswith("pooler"))
        assert head.state_dict()["classifier.weight"].shape == (2, 32)


@pytest.mark.parametrize("kind", ["Roberta", "DistilBert", "Electra"])
def test_a_head_with_other_labels_is_dropped(kind: str, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / kind, kind)
    fresh = {key: tensor.clone() for key, tensor in loaded(find(str(folder))).state_dict().items()}
    body = load_file(folder / WEIGHTS)
    config = transformers.AutoConfig.from_pretrained(folder, num_labels=3)
    whole = getattr(transformers, f"{kind}ForSequenceClassification")(config)
    whole.base_model.load_state_dict(body, strict=False)
    whole.save_pretrained(folder)
    found = find(str(folder))
    assert found.dropped_labels == 3
    now = loaded(found).state_dict()
    assert all(torch.equal(now[key], tensor) for key, tensor in fresh.items())


def as_in_2018(key: str) -> str:
    return key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("prefixed", [False, True])
def test_the_names_that_are_looked_for_are_those_that_load(kind: str, prefixed: bool, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / kind, kind)
    weights = {key: tensor for key, tensor in load_file(folder / WEIGHTS).items() if "pooler" not in key}
    config = json.loads((folder / "config.json").read_text())
    sizes = dict(expected(config, EncoderShape.from_config(config)))
    assert {key: tuple(tensor.shape) for key, tensor in weights.items() if "position_ids" not in key} == sizes
    prefix = NAMES[config["model_type"]].prefix if prefixed else ""
    named = as_in_2018 if (kind, prefixed) == ("Bert", True) else str
    save_file({prefix + named(key): tensor.bfloat16() for key, tensor in weights.items()}, folder / WEIGHTS)
    state = loaded(find(str(folder))).encoder.state_dict()
    assert all(torch.equal(state[key], weights[key].bfloat16().float()) for key in sizes)


def test_positions_that_only_pre_training_adds_are_left_out(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "deberta", "DebertaV2")
    more = {"embeddings.position_embeddings.weight": torch.zeros(512, 32)}
    save_file(load_file(folder / WEIGHTS) | more, folder / WEIGHTS)
    loaded(find(str(folder)))


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        ("DebertaV2", {"share_att_key": False}, "share_att_key alone"),
        ("DebertaV2", {"pos_att_type": "p2c|evil"}, "pos_att_type as 'p2c|evil'"),
        ("DebertaV2", {"pos_att_type": {"c2p": 1}}, "pos_att_type as {'c2p': 1}"),
        ("DebertaV2", {"conv_kernel_size": 2}, "conv_kernel_size as 2"),
        ("DebertaV2", {"position_buckets": 16}, "parameters of the body"),
        ("DebertaV2", {"norm_rel_ebd": ["layer_norm"]}, "norm_rel_ebd as ['layer_norm']"),
        ("ModernBert", {"mlp_bias": True}, "mlp_bias as True"),
        ("ModernBert", {"norm_bias": 0}, "norm_bias as 0"),
        ("ModernBert", {"local_rope_theta": float("inf")}, "local_rope_theta as inf"),
        ("ModernBert", {"hidden_activation": "evil"}, "hidden_activation as 'evil'"),
        ("ModernBert", {"max_position_embeddings": ...}, "max_position_embeddings must be"),
        ("ModernBert", {"pad_token_id": ...}, "pad_token_id 50283, beyond its vocabulary"),
        ("Albert", {"embedding_size": 8}, "parameters of the body"),
        ("Albert", {"num_hidden_groups": 2}, "parameters of the body"),
        ("Electra", {"embedding_size": ...}, "parameters of the body"),
        ("Electra", {"position_embedding_type": "relative_key"}, "only absolute positions"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(kind: str, fields: dict[str, Any], says: str, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / kind, kind)
    change(folder, **fields)
    assert says in refused(folder)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("Albert", {"num_hidden_groups": 2, "inner_group_num": 2, "num_hidden_layers": 4}),
        ("DebertaV2", {"conv_kernel_size": 3, "conv_act": "gelu", "embedding_size": 16}),
        (
            "DebertaV2",
            {"type_vocab_size": 2, "position_biased_input": True, "relative_attention": False, "norm_rel_ebd": "none"},
        ),
        ("Electra", {"embedding_size": 32}),
        ("ModernBert", {"classifier_pooling": "mean", "num_hidden_layers": 4, "classifier_bias": True}),
    ],
)
def test_what_only_some_of_a_family_have(kind: str, fields: dict[str, Any], tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / kind, kind, **fields)
    pretrained = find(str(folder))
    classifier = loaded(pretrained)
    assert sum(p.numel() for p in classifier.encoder.parameters()) == pretrained.shape.parameters
    with torch.no_grad():
        torch.testing.assert_close(
            classifier(IDS, MASK), theirs(folder, classifier, pretrained.config["model_type"]), rtol=1e-4, atol=1e-6
        )


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    folder = write_encoder(tmp_path / "sharded", "Roberta")
    model = transformers.AutoModel.from_pretrained(folder)
    (folder / WEIGHTS).unlink()
    model.save_pretrained(folder, max_shard_size="1MB")
    return folder


def test_weights_in_shards_are_the_weights(sharded: Path, tmp_path: Path) -> None:
    whole = loaded(find(str(write_encoder(tmp_path / "whole", "Roberta")))).state_dict()
    found = find(str(sharded))
    assert len(found.weights) > 1
    assert all(torch.equal(tensor, whole[key]) for key, tensor in loaded(found).state_dict().items())
    # Another shard is another encoder.
    path = found.weights[-1]
    save_file({key: tensor + 1 for key, tensor in load_file(path).items()}, path)
    assert find(str(sharded)).sha256 != found.sha256


@pytest.mark.parametrize(
    "evil", ["../model-00001-of-00002.safetensors", "/etc/passwd", "model.safetensors", "pytorch_model.bin", 3]
)
def test_an_index_that_leads_elsewhere_is_refused(evil: Any, sharded: Path) -> None:
    """CVE-2026-69112: path traversal by the names of shards."""
    index = json.loads((sharded / INDEX).read_text())
    index["weight_map"]["embeddings.word_embeddings.weight"] = evil
    (sharded / INDEX).write_text(json.dumps(index))
    assert "no shard such as model-00001-of-00002.safetensors" in refused(sharded)
    for content in ("{}", "[]", '{"weight_map": {}}', '{"weight_map": 3}', "{"):
        (sharded / INDEX).write_text(content)
        assert INDEX in refused(sharded)


def test_a_shard_that_is_missing_or_twice_there_is_named(sharded: Path) -> None:
    first, second = find(str(sharded)).weights[:2]
    save_file(load_file(first) | load_file(second), second)
    assert "two shards hold" in refused(sharded)
    second.unlink()
    assert f"shard {second.name} is not there" in refused(sharded)


def test_sentence_transformers_folders_old_and_new(tmp_path: Path, tiny_folder: Path) -> None:
    """The layout with 0_Transformer, and the pooling as 5.4 and later name it."""
    case = Path(__file__).parents[1] / "cases" / "pooling-5.4.json"
    folder = tmp_path / "model"
    write_encoder(folder / "0_Transformer")
    (folder / "modules.json").write_text("[]")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(case.read_text())
    tiny = find(str(tiny_folder))
    found = find(str(folder))
    assert (found.name, found.pooling, found.sha256) == ("model", "mean", tiny.sha256)
    assert find(str(found.folder)) == found, "a worker finds it by the folder of its files"
    for named, pooling in (('"cls"', "cls"), ('["mean"]', "mean")):
        (folder / "1_Pooling" / "config.json").write_text(f'{{"pooling_mode": {named}}}')
        assert find(str(folder)).pooling == pooling
    for named in ('"max"', '["mean", "cls"]', "{}", "3"):
        (folder / "1_Pooling" / "config.json").write_text(f'{{"pooling_mode": {named}, "pooling_mode_mean_tokens": true}}')
        with pytest.raises(ModelError, match="must choose mean or cls pooling"):
            find(str(folder))


def test_a_token_beyond_the_vocabulary_is_seen_before_any_run(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "encoder"))
    path = folder / "tokenizer.json"
    plain = json.loads(path.read_text())

    def says(**parts: Any) -> str:
        path.write_text(json.dumps(plain | parts))
        return refused(folder)

    added = [*plain["added_tokens"], plain["added_tokens"][0] | {"id": 30522, "content": "[NEW]"}]
    assert "can give the id 30,522 ('[NEW]'), but its vocabulary has 30,522 entries" in says(added_tokens=added)
    vocabulary = plain["model"] | {"vocab": plain["model"]["vocab"] | {"later": 40000}}
    assert "the id 40,000 ('later')" in says(model=vocabulary)
    special = {"[SEP]": {"id": "[SEP]", "ids": [50000], "tokens": ["[SEP]"]}}
    assert "the id 50,000 ('[SEP]')" in says(post_processor=plain["post_processor"] | {"special_tokens": special})
    assert "the id 60,000" in says(post_processor={"type": "BertProcessing", "sep": ["[SEP]", 60000], "cls": ["[CLS]", 101]})
    unigram = {"type": "Unigram", "unk_id": 0, "vocab": [[str(i), 0.0] for i in range(30523)]}
    assert "the id 30,522" in says(model=unigram)
