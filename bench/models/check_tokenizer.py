"""Check that a tokenizer.json consists of known parts, before the library that builds it reads the file.

The file is data, but it can hold regular expressions that never end, dropout that splits words at random, and parts that
no review has covered. The parts that encoders of the known families use pass, and no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.models.families import is_id
from bench.models.json_files import read_json
from bench.system.errors import ModelError, brief

__all__ = ["LARGEST", "check_tokenizer"]

LARGEST = 64 * 2**20
"""Bytes; the largest of a known family, XLM-RoBERTa's with 250,002 entries, takes 17 MB."""

_KEYS = {
    "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model",
}  # fmt: skip
_MODELS = {"WordPiece", "BPE", "Unigram", None}
"""Files of before 2021 do not name their model's type; the library tells it from the fields."""
_PARTS = {
    "normalizer": {
        "BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip", "Precompiled", "Replace",
    },
    "pre_tokenizer": {"BertPreTokenizer", "ByteLevel", "Metaspace", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits"},
    "post_processor": {"BertProcessing", "RobertaProcessing", "TemplateProcessing", "ByteLevel"},
    "decoder": {"WordPiece", "ByteLevel", "Metaspace", "Replace", "Fuse", "Strip", "ByteFallback"},
}  # fmt: skip
"""Which types each part may have; each may be a Sequence of them too, and absent."""
_INSIDE = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers", "post_processor": "processors", "decoder": "decoders"}
_REGEXES = {" {2,}"}
"""Regular expressions that may be replaced: runs of spaces, as XLM-RoBERTa's file has it."""


def check_tokenizer(name: str, folder: Path, vocabulary: int) -> None:
    """Check that tokenizer.json holds a tokenizer of known parts whose ids all have a row in the encoder's embedding table.

    Raises:
        ModelError: saying which part is not; `name` is the encoder's.
    """
    tokenizer = read_json(name, folder, "tokenizer.json", LARGEST)
    for why in _wrong(tokenizer):
        raise ModelError(f"encoder {name!r}: tokenizer.json cannot be read: {why}")
    token, highest = max(_ids(tokenizer), key=lambda entry: entry[1])
    if highest >= vocabulary:
        raise ModelError(
            f"encoder {name!r}: its tokenizer.json can give the id {highest:,} ({brief(token)}), but its vocabulary has "
            f"{vocabulary:,} entries; give the tokenizer of this encoder, without tokens that were added later"
        )


def _wrong(tokenizer: Any) -> Iterator[str]:
    if not isinstance(tokenizer, dict) or not isinstance(tokenizer.get("model"), dict):
        yield "it holds no model"
        return
    for key in tokenizer:
        if key not in _KEYS:
            yield f"it has a part {brief(key)} that no known tokenizer has"
    model = tokenizer["model"]
    if not _is_one_of(model.get("type"), _MODELS):
        yield f"its model is {brief(model.get('type'))}; known are BPE, Unigram and WordPiece"
    if not isinstance(model.get("vocab"), dict | list) or not model["vocab"]:
        yield "its model has no vocabulary"
    elif isinstance(model["vocab"], dict) and not all(is_id(value) for value in model["vocab"].values()):
        yield "its vocabulary holds ids that are not whole numbers from 0 to 2**31 - 1"
    added = tokenizer.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) and is_id(token.get("id")) for token in added):
        yield "its added tokens are not all tokens with ids"
    if model.get("dropout"):
        yield "its model drops merges at random, so that no two runs would read the same"
    for part, types in _PARTS.items():
        for step in _steps(tokenizer.get(part), _INSIDE[part]):
            kind = step.get("type") if isinstance(step, dict) else step
            if not _is_one_of(kind, types):
                yield f"its {part} has a step {brief(kind)}; known are {', '.join(sorted(types))}"
            pattern = step.get("pattern") if isinstance(step, dict) else None
            if isinstance(pattern, dict) and not _is_one_of(pattern.get("Regex"), {None, *_REGEXES}):
                yield f"its {part} has the regular expression {brief(pattern.get('Regex'))}, which is not a known one"


def _ids(tokenizer: dict[str, Any]) -> Iterator[tuple[Any, int]]:
    """Yield what a tokenizer of known parts can give: token and id, of a list of unigrams only the last."""
    vocabulary = tokenizer["model"]["vocab"]
    if isinstance(vocabulary, dict):
        yield from vocabulary.items()
    else:
        yield vocabulary[-1], len(vocabulary) - 1
    yield from ((token.get("content"), token["id"]) for token in tokenizer.get("added_tokens") or [])
    for step in _steps(tokenizer.get("post_processor"), "processors"):
        if not isinstance(step, dict):
            continue
        framing = [step.get("sep"), step.get("cls")]
        special = step.get("special_tokens")
        for token in special.values() if isinstance(special, dict) else ():
            ids = token.get("ids") if isinstance(token, dict) else None
            framing += [(token["id"], id_) for id_ in ids if "id" in token] if isinstance(ids, list) else []
        pairs = [pair for pair in framing if isinstance(pair, list | tuple) and len(pair) == 2]
        yield from ((token, number) for token, number in pairs if is_id(number))


def _is_one_of(value: Any, allowed: set[Any]) -> bool:
    return (value is None or isinstance(value, str)) and value in allowed


def _steps(part: Any, inside: str) -> Iterator[Any]:
    """List the steps of a part, one level deep: no known tokenizer has a Sequence in a Sequence."""
    if part is None:
        return
    if isinstance(part, dict) and part.get("type") == "Sequence":
        steps = part.get(inside)
        yield from steps if isinstance(steps, list) else [None]
    else:
        yield part
