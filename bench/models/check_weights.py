"""Check from its header that a safetensors file holds the encoder that config.json describes, before any library loads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from bench.system.errors import ModelError
from methods import EncoderShape

__all__ = ["check_weights", "expected"]

_BODY = re.compile(r"(^|\.)(embeddings|encoder|transformer)\.(?!position_ids)")
"""Names of weights that belong to the encoder's body; position_ids is a counter that old checkpoints hold."""
_FLOATS = {"F16", "BF16", "F32", "F64"}
_PREFIXES = {"bert": "bert.", "roberta": "roberta.", "xlm-roberta": "roberta.", "distilbert": "distilbert.", "mpnet": "mpnet."}
"""What stands before the names of the body where a checkpoint holds more than that."""

_Sizes = tuple[int, ...]


def _block(kind: str, d: int, f: int) -> dict[str, _Sizes]:
    """List the matrices and LayerNorms of one layer: name → [out, in] or [width]."""
    if kind == "distilbert":
        square = {f"attention.{part}_lin": (d, d) for part in ("q", "k", "v", "out")}
        return {**square, "sa_layer_norm": (d,), "ffn.lin1": (f, d), "ffn.lin2": (d, f), "output_layer_norm": (d,)}
    if kind == "mpnet":
        attention: dict[str, _Sizes] = {f"attention.attn.{part}": (d, d) for part in ("q", "k", "v", "o")}
        attention["attention.LayerNorm"] = (d,)
    else:
        attention = {f"attention.self.{part}": (d, d) for part in ("query", "key", "value")}
        attention |= {"attention.output.dense": (d, d), "attention.output.LayerNorm": (d,)}
    return {**attention, "intermediate.dense": (f, d), "output.dense": (d, f), "output.LayerNorm": (d,)}


def expected(config: dict[str, Any], shape: EncoderShape) -> Iterator[tuple[str, _Sizes]]:
    """Name and sizes of every tensor of the body, as transformers names them without a prefix, in order of layers."""
    kind, d = shape.model_type, shape.width
    tables = {"word": shape.vocabulary, "position": shape.positions, "token_type": shape.token_types}
    for table, rows in tables.items():
        if rows:
            yield f"embeddings.{table}_embeddings.weight", (rows, d)
    yield "embeddings.LayerNorm.weight", (d,)
    yield "embeddings.LayerNorm.bias", (d,)
    if kind == "mpnet":
        heads = config["num_attention_heads"]
        yield "encoder.relative_attention_bias.weight", (shape.relative_biases // heads, heads)
    layers = "transformer.layer" if kind == "distilbert" else "encoder.layer"
    block = _block(kind, d, shape.feed_forward)
    for layer in range(shape.layers):
        for name, sizes in block.items():
            yield f"{layers}.{layer}.{name}.weight", sizes
            yield f"{layers}.{layer}.{name}.bias", sizes[:1]


def check_weights(name: str, path: Path, config: dict[str, Any], shape: EncoderShape) -> None:
    """Check that the file is whole, in floating point, and holds every tensor of the body under its name.

    Raises:
        ModelError: saying what it lacks.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            slices = {key: file.get_slice(key) for key in file.keys() if _BODY.search(key)}  # noqa: SIM118  no mapping
            held = {key: tuple(tensor.get_shape()) for key, tensor in slices.items()}
            types = {tensor.get_dtype() for tensor in slices.values()}
    except SafetensorError as error:
        raise ModelError(f"encoder {name!r}: model.safetensors cannot be read ({error}); is it whole?") from None
    if types - _FLOATS:
        raise ModelError(f"encoder {name!r} holds {', '.join(sorted(types - _FLOATS))} weights; give one that is not quantised")
    total = sum(prod(sizes) for sizes in held.values())
    if total != shape.parameters:
        raise ModelError(
            f"encoder {name!r}: model.safetensors holds {total:,} parameters of the body, but config.json describes "
            f"{shape.parameters:,}; give the two files of one encoder"
        )
    prefix = _PREFIXES[shape.model_type]
    prefix = prefix if any(key.startswith(prefix) for key in held) else ""
    named = {_present(key.removeprefix(prefix)): sizes for key, sizes in held.items() if key.startswith(prefix)}
    for tensor, sizes in expected(config, shape):
        if named.get(tensor) != sizes:
            what = "lack" if tensor not in named else f"hold {list(named[tensor])} and not {list(sizes)} numbers for"
            raise ModelError(f"encoder {name!r}: the weights {what} {tensor} as config.json describes it")


def _present(name: str) -> str:
    """Checkpoints of 2018 call the halves of a LayerNorm gamma and beta; transformers reads them too."""
    return re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))
