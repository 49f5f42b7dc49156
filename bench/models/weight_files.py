"""The safetensors files of a checkpoint: one, or the shards that an index names. Their headers alone say whether they hold the
encoder of config.json, before any library loads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from bench.models.families import FAMILIES, Sizes
from bench.models.json_files import read_json
from bench.system.errors import ModelError, brief
from methods import EncoderShape

__all__ = ["INDEX", "SAFETENSORS", "WEIGHTS", "check_weights", "expected", "names_of", "weight_files"]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SAFETENSORS = "model[.-]*safetensors"
"""Pattern of the one file or all shards."""
_BODY = re.compile(r"(^|\.)(embeddings|embeddings_project|encoder|transformer|layers|final_norm)\.(?!position_ids)")
"""Names of weights that belong to the encoder's body; position_ids is a counter that old checkpoints hold."""
_HEAD = re.compile(r"classifier(\.out_proj)?\.weight")
"""The last matrix of a sequence-classification head, [labels, inputs]."""
_FLOATS = {"F16", "BF16", "F32", "F64"}


def weight_files(name: str, folder: Path, stem: str = "model", suffix: str = "safetensors") -> list[Path]:
    """Find the file `stem.suffix`, or else the shards of `stem.suffix.index.json`, in order.

    Only names as transformers gives them to shards are followed, so that an index cannot lead out of the folder.

    Raises:
        ModelError: if the index is malformed, or a shard is missing.
    """
    if (folder / f"{stem}.{suffix}").is_file():
        return [folder / f"{stem}.{suffix}"]
    index = read_json(name, folder, f"{stem}.{suffix}.index.json")
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise ModelError(f"encoder {name!r}: {stem}.{suffix}.index.json names no shards; is it whole?")
    for shard in shards.values():
        if not (isinstance(shard, str) and re.fullmatch(rf"{stem}-\d{{5}}-of-\d{{5}}\.{suffix}", shard, flags=re.ASCII)):
            example = f"{stem}-00001-of-00002.{suffix}"
            raise ModelError(f"encoder {name!r}: {stem}.{suffix}.index.json names {brief(shard)}, no shard such as {example}")
    names = sorted(set(shards.values()))
    lacking = [shard for shard in names if not (folder / shard).is_file()]
    if lacking:
        raise ModelError(f"encoder {name!r}: shard {lacking[0]} is not there ({len(names)} in all); fetch it whole again")
    return [folder / shard for shard in names]


def expected(config: Mapping[str, Any], shape: EncoderShape) -> Iterator[tuple[str, Sizes]]:
    """Yield name and sizes of every tensor of the body, as transformers names them without a prefix, in order of layers."""
    family, d = FAMILIES[shape.model_type], shape.width
    tables = {
        family.words: shape.vocabulary, "embeddings.position_embeddings": shape.positions,
        "embeddings.token_type_embeddings": shape.token_types,
    }  # fmt: skip
    yield from ((f"{table}.weight", (rows, shape.table_width or d)) for table, rows in tables.items() if rows)
    # DeBERTa projects its embeddings before their LayerNorm.
    first = d if shape.model_type == "deberta-v2" else shape.table_width or d
    yield from _with_biases({family.first_norm: (first,)}, family.biased)
    if family.beside is not None:
        yield from family.beside(config, shape)
    widths = {"d": d, "f": shape.feed_forward, "2f": 2 * shape.feed_forward, "3d": 3 * d}
    block = {name: tuple(widths[width] for width in sizes.split()) for name, sizes in family.block.items()}
    for layer in range(shape.distinct_layers):
        place = divmod(layer, config.get("inner_group_num", 1)) if family.layer.count("{}") == 2 else (layer,)
        for name, sizes in _with_biases(block, family.biased):
            # ModernBERT's first layer has no LayerNorm of its own before attention.
            if (name, layer) != ("attn_norm.weight", 0):
                yield f"{family.layer.format(*place)}.{name}", sizes


def _with_biases(block: Mapping[str, Sizes], biased: bool) -> Iterator[tuple[str, Sizes]]:
    for name, sizes in block.items():
        yield f"{name}.weight", sizes
        if biased:
            yield f"{name}.bias", sizes[:1]


def names_of(keys: Iterable[str], shape: EncoderShape) -> dict[str, str]:
    """Map the names of a checkpoint that are used to those of transformers' sequence-classification model.

    Used is the body, and what of a head comes pre-trained, such as BERT's pooler.
    """
    keys, family = list(keys), FAMILIES[shape.model_type]
    prefix = family.prefix if any(key.startswith(family.prefix) for key in keys) else ""
    renamed: dict[str, str] = {}
    for key in keys:
        name = family.prefix + key.removeprefix(prefix)
        if _is_body(key, shape) and key.startswith(prefix):
            # Checkpoints of 2018 call the halves of a LayerNorm gamma and beta; transformers reads them too.
            renamed[key] = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))
        elif family.kept_head is not None:
            top = key if key.startswith(family.kept_head) else name
            if top.startswith(family.kept_head):
                renamed[key] = top
    return renamed


def _is_body(key: str, shape: EncoderShape) -> bool:
    # DeBERTa-v3's files hold positions that only its pre-training adds.
    unused = not shape.positions and "embeddings.position_embeddings." in key
    return _BODY.search(key) is not None and not unused


def check_weights(name: str, files: list[Path], config: Mapping[str, Any], shape: EncoderShape) -> int | None:
    """Check that the files are whole, in floating point, and hold every tensor of the body under its name.

    Returns:
        The labels of the checkpoint's own classification head, which is not used; None where it has none.

    Raises:
        ModelError: saying what they lack.
    """
    shapes: dict[str, Sizes] = {}
    types: set[str] = set()
    labels = None
    for path in files:
        for key, sizes, kind in _header(name, path):
            if _HEAD.fullmatch(key):
                labels = sizes[0] if sizes else None
            if _is_body(key, shape):
                if key in shapes:
                    raise ModelError(f"encoder {name!r}: two shards hold {key}; fetch the encoder whole again")
                shapes[key] = sizes
                types.add(kind)
    if types - _FLOATS:
        raise ModelError(f"encoder {name!r} holds {', '.join(sorted(types - _FLOATS))} weights; give one that is not quantised")
    total = sum(prod(sizes) for sizes in shapes.values())
    if total != shape.parameters:
        what = files[0].name if len(files) == 1 else f"all {len(files)} shards"
        raise ModelError(
            f"encoder {name!r}: {what} holds {total:,} parameters of the body, but config.json describes "
            f"{shape.parameters:,}; give the two files of one encoder"
        )
    prefix = FAMILIES[shape.model_type].prefix
    body = {new.removeprefix(prefix): shapes[key] for key, new in names_of(shapes, shape).items()}
    for tensor, sizes in expected(config, shape):
        if body.get(tensor) != sizes:
            what = "lack" if tensor not in body else f"hold {list(body[tensor])} and not {list(sizes)} numbers for"
            raise ModelError(f"encoder {name!r}: the weights {what} {tensor} as config.json describes it")
    return labels


def _header(name: str, path: Path) -> Iterator[tuple[str, Sizes, str]]:
    """Yield name, sizes and type of every tensor of a file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118  no mapping
                tensor = file.get_slice(key)
                yield key, tuple(tensor.get_shape()), tensor.get_dtype()
    except SafetensorError as error:
        raise ModelError(f"encoder {name!r}: {path.name} cannot be read ({error}); is it whole?") from None
