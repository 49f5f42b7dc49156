"""A tokenizer's file is trusted no more than weights: only parts that the known families have, and nothing huge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.models.pretrained import find
from tests.encoder_folders import refused


def tokenizer_of(folder: Path, change_it: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "tokenizer.json"
    made = json.loads(path.read_text())
    change_it(made)
    path.write_text(json.dumps(made))


def put(part: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda made: made.update({part: value})


def in_model(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda made: made["model"].update(fields)


BOMB = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}


@pytest.mark.parametrize(
    ("change_it", "says"),
    [
        (put("auto_map", {"AutoTokenizer": ["evil.Tokenizer", None]}), "a part 'auto_map' that no known tokenizer has"),
        (put("model", None), "it holds no model"),
        (put("model", {"type": "WordLevel", "vocab": {"a": 0}}), "its model is 'WordLevel'; known are BPE"),
        (put("model", {"type": ["BPE"], "vocab": {"a": 0}}), "its model is ['BPE']"),
        (in_model(vocab={}), "no vocabulary"),
        (in_model(vocab="x" * 10**5), "no vocabulary"),
        (in_model(vocab={"a": 2**31}), "ids that are not whole numbers"),
        (in_model(vocab={"a": -1}), "ids that are not whole numbers"),
        (in_model(vocab={"a": 0.5}), "ids that are not whole numbers"),
        (in_model(dropout=0.1), "drops merges at random"),
        (put("added_tokens", [{"content": "x"}]), "added tokens"),
        (put("added_tokens", {"a": 1}), "added tokens"),
        (put("pre_tokenizer", BOMB), "its pre_tokenizer has a step 'Split'"),
        (put("pre_tokenizer", {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, BOMB]}), "a step 'Split'"),
        (put("pre_tokenizer", {"type": "Sequence", "pretokenizers": BOMB}), "a step None"),
        (put("pre_tokenizer", {"type": "Sequence", "pretokenizers": [{"type": "Sequence"}]}), "a step 'Sequence'"),
        (put("normalizer", {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}), "expression '(a+)+$'"),
        (put("normalizer", {"type": "Replace", "pattern": {"Regex": ["x"]}, "content": ""}), "expression ['x']"),
        (put("normalizer", "evil"), "its normalizer has a step 'evil'"),
        (put("post_processor", {"type": "Evil"}), "its post_processor has a step 'Evil'; known are BertProcessing"),
        (put("decoder", {"type": "Evil" * 10**4}), "its decoder has a step 'EvilEvil"),
    ],
)
def test_a_tokenizer_of_unknown_parts_is_refused(folder: Path, change_it: Callable[[Any], Any], says: str) -> None:
    tokenizer_of(folder, change_it)
    line = refused(folder)
    assert "tokenizer.json cannot be read: " in line
    assert says in line


@pytest.mark.parametrize("content", ["", "not json"])
def test_a_tokenizer_that_is_no_json_is_refused(folder: Path, content: str) -> None:
    (folder / "tokenizer.json").write_text(content)
    assert "tokenizer.json cannot be read: it is not whole JSON" in refused(folder)


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": None, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}},
        {
            "normalizer": {
                "type": "Sequence",
                "normalizers": [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}],
            },
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace"}]},
            "model": {"unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]},
        },
        {"model": {"type": "BPE", "dropout": None, "vocab": {"a": 0}, "merges": []}, "decoder": {"type": "ByteLevel"}},
    ],
)
def test_tokenizers_as_the_known_families_have_them_pass(folder: Path, parts: dict[str, Any]) -> None:
    tokenizer_of(folder, lambda made: made.update(parts))
    find(str(folder))
