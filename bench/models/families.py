"""Families of encoders that are supported, one entry each: names of weights, fields of configurations, heads.

Names are those of transformers. What counts of parameters and methods depend on is in `methods`: `EncoderShape` and `Targets`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from methods import EncoderShape

__all__ = ["FAMILIES", "FIELDS", "Family", "Sizes", "is_count", "is_id"]

Sizes = tuple[int, ...]
Named = Iterable[tuple[str, Sizes]]
Sound = Callable[[Any], bool]


def is_count(value: Any) -> bool:
    """Whether a value is a whole number from 1 to 2**31 - 1."""
    return type(value) is int and 0 < value < 2**31


def is_id(value: Any) -> bool:
    """Whether a value is a whole number from 0 to 2**31 - 1."""
    return type(value) is int and 0 <= value < 2**31


def _is_span(value: Any) -> bool:
    return value == -1 or is_id(value)


def _is_a(kind: type) -> Sound:
    return lambda value: isinstance(value, kind)


def _is_scale(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_one_of(*allowed: Any) -> Sound:
    return lambda value: any(type(value) is type(choice) and value == choice for choice in allowed)


def _are_positions(value: Any) -> bool:
    """Whether a value names kinds of disentangled attention, as a list or joined by bars."""
    kinds = value.split("|") if isinstance(value, str) else value
    return isinstance(kinds, list) and all(isinstance(kind, str) and kind.strip() in {"c2p", "p2c"} for kind in kinds)


_COUNTS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings",
    "type_vocab_size", "relative_attention_num_buckets", "dim", "n_layers", "n_heads", "hidden_dim",
)  # fmt: skip
FIELDS: Mapping[str, Sound] = {
    **dict.fromkeys(_COUNTS, is_count),
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), is_id),
    **dict.fromkeys(("initializer_range", "layer_norm_eps"), lambda value: _is_scale(value) and value < 1),
    **dict.fromkeys(("hidden_act", "activation", "position_embedding_type"), _is_a(str)),
    "sinusoidal_pos_embds": _is_a(bool),
}
"""The fields of config.json that are passed on in every family, and whether a value can be one; all others are dropped."""


@dataclass(frozen=True)
class Family:
    """The names of one model type."""

    prefix: str
    """Prefix of the body's weights in a checkpoint that holds more than the body."""
    head: Mapping[str, str]
    """The classification head: beginning of a name in the suite's module → in transformers' sequence-classification model. What
    is called `pooler.` keeps weights that the checkpoint brings.
    """
    block: Mapping[str, str]
    """Matrices and LayerNorms of a layer: name → sizes, [outputs inputs] or [width], of d, f and their multiples."""
    layer: str = "encoder.layer.{}"
    """Name of a layer; with two numbers, of a group and of a layer in it."""
    biased: bool = True
    """Whether maps and LayerNorms have biases."""
    words: str = "embeddings.word_embeddings"
    first_norm: str = "embeddings.LayerNorm"
    beside: Callable[[Mapping[str, Any], EncoderShape], Named] | None = None
    """Weights that only this family has: name and sizes."""
    pad_token_id: int = 0
    """The padding token where the configuration names none."""
    positions_from_padding: bool = False
    """Whether positions are numbered from the padding token's id + 1."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Sizes of the library where the configuration has none."""
    fields: Mapping[str, Sound] = field(default_factory=dict)
    """Fields of the configuration that only this family has, and whether a value can be one."""
    absolute: bool = True
    """Whether the configuration may name the kind of positions, of which only absolute ones are supported."""
    dropout: tuple[str, ...] = ("hidden_dropout_prob",)
    attention_dropout: str = "attention_probs_dropout_prob"
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the library's constructor."""
    has_pooler: bool = False
    """Whether the bare model of the library has a pooler, which can be left out."""

    @property
    def kept_head(self) -> str | None:
        """Beginning of the names of head weights in transformers' sequence-classification model that a checkpoint may bring."""
        return self.head.get("pooler.")


_BERT_BLOCK = {
    "attention.self.query": "d d", "attention.self.key": "d d", "attention.self.value": "d d",
    "attention.output.dense": "d d", "attention.output.LayerNorm": "d",
    "intermediate.dense": "f d", "output.dense": "d f", "output.LayerNorm": "d",
}  # fmt: skip
_DEBERTA_BLOCK = {f"{name}_proj" if ".self." in name else name: sizes for name, sizes in _BERT_BLOCK.items()}


def _relative_bias(config: Mapping[str, Any], shape: EncoderShape) -> Named:
    heads = config["num_attention_heads"]
    yield "encoder.relative_attention_bias.weight", (shape.relative_biases // heads, heads)


def _projection(name: str) -> Callable[[Mapping[str, Any], EncoderShape], Named]:
    def projection(config: Mapping[str, Any], shape: EncoderShape) -> Named:
        if shape.table_width is not None:
            yield f"{name}.weight", (shape.width, shape.table_width)
            yield f"{name}.bias", (shape.width,)

    return projection


def _relative_positions(config: Mapping[str, Any], shape: EncoderShape) -> Named:
    d = shape.width
    if shape.table_width is not None:
        yield "embeddings.embed_proj.weight", (d, shape.table_width)
    if shape.relative_biases:
        yield "encoder.rel_embeddings.weight", (shape.relative_biases // d, d)
    norms = ["encoder.conv.LayerNorm"] if shape.convolution else []
    if len(norms) < shape.more_norms:
        norms.append("encoder.LayerNorm")
    for norm in norms:
        yield f"{norm}.weight", (d,)
        yield f"{norm}.bias", (d,)
    if shape.convolution:
        yield "encoder.conv.conv.weight", (d, d, shape.convolution)
        yield "encoder.conv.conv.bias", (d,)


_FLAT = {"head.": "classifier."}
_ROBERTA = Family("roberta.", _FLAT, _BERT_BLOCK, pad_token_id=1, positions_from_padding=True, has_pooler=True)

FAMILIES: dict[str, Family] = {
    "bert": Family(
        "bert.", {"pooler.": "bert.pooler.", "classifier.": "classifier."}, _BERT_BLOCK, has_pooler=True
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": Family(
        "distilbert.",
        {"0.": "pre_classifier.", "3.": "classifier."},
        {
            **{f"attention.{part}_lin": "d d" for part in ("q", "k", "v", "out")},
            "sa_layer_norm": "d", "ffn.lin1": "f d", "ffn.lin2": "d f", "output_layer_norm": "d",
        },
        layer="transformer.layer.{}",
        dropout=("dropout", "seq_classif_dropout"),
        attention_dropout="attention_dropout",
    ),
    "mpnet": Family(
        "mpnet.",
        _FLAT,
        {
            **{f"attention.attn.{part}": "d d" for part in ("q", "k", "v", "o")},
            "attention.LayerNorm": "d", "intermediate.dense": "f d", "output.dense": "d f", "output.LayerNorm": "d",
        },
        beside=_relative_bias,
        pad_token_id=1,
        positions_from_padding=True,
        has_pooler=True,
    ),
    "electra": Family(
        "electra.",
        _FLAT,
        _BERT_BLOCK,
        beside=_projection("embeddings_project"),
        defaults={"embedding_size": 128},
        fields={"embedding_size": is_count},
    ),
    "deberta-v2": Family(
        "deberta.",
        {"pooler.": "pooler.", "classifier.": "classifier."},
        _DEBERTA_BLOCK,
        beside=_relative_positions,
        fields={
            "embedding_size": is_count, "relative_attention": _is_a(bool), "position_biased_input": _is_a(bool),
            "share_att_key": _is_a(bool), "position_buckets": _is_span, "max_relative_positions": _is_span,
            "type_vocab_size": _is_span, "pos_att_type": _are_positions, "norm_rel_ebd": _is_one_of("none", "layer_norm"),
            "conv_kernel_size": lambda value: value == 0 or (is_count(value) and value % 2 == 1),
            "conv_groups": _is_one_of(1), "conv_act": _is_one_of("tanh", "gelu"),
        },
        absolute=False,
    ),
    "albert": Family(
        "albert.",
        {"pooler.": "albert.pooler.", "classifier.": "classifier."},
        {
            "attention.query": "d d", "attention.key": "d d", "attention.value": "d d", "attention.dense": "d d",
            "attention.LayerNorm": "d", "ffn": "f d", "ffn_output": "d f", "full_layer_layer_norm": "d",
        },
        layer="encoder.albert_layer_groups.{}.albert_layers.{}",
        beside=_projection("encoder.embedding_hidden_mapping_in"),
        defaults={"embedding_size": 128, "num_hidden_groups": 1, "inner_group_num": 1},
        fields={"embedding_size": is_count, "num_hidden_groups": is_count, "inner_group_num": is_count},
        dropout=("hidden_dropout_prob", "classifier_dropout_prob"),
        has_pooler=True,
    ),
    "modernbert": Family(
        "model.",
        {"pooler.": "head.", "classifier.": "classifier."},
        {"attn_norm": "d", "attn.Wqkv": "3d d", "attn.Wo": "d d", "mlp_norm": "d", "mlp.Wi": "2f d", "mlp.Wo": "d f"},
        layer="layers.{}",
        biased=False,
        words="embeddings.tok_embeddings",
        first_norm="embeddings.norm",
        beside=lambda config, shape: [("final_norm.weight", (shape.width,))],
        pad_token_id=50283,
        fields={
            "norm_eps": _is_scale, "global_rope_theta": _is_scale, "local_rope_theta": _is_scale,
            "global_attn_every_n_layers": is_count, "local_attention": is_count,
            "hidden_activation": _is_one_of("gelu", "silu"), "classifier_activation": _is_one_of("gelu", "silu"),
            "classifier_pooling": _is_one_of("cls", "mean"), "classifier_bias": _is_a(bool),
            "norm_bias": _is_one_of(False), "attention_bias": _is_one_of(False), "mlp_bias": _is_one_of(False),
        },
        absolute=False,
        dropout=("embedding_dropout", "mlp_dropout", "classifier_dropout"),
        attention_dropout="attention_dropout",
        # Compilation would go around the hooks of methods; attention is the same whatever else is installed.
        settings={"reference_compile": False, "attn_implementation": "sdpa"},
    ),
}  # fmt: skip
"""Model type, as config.json has it → its names."""
