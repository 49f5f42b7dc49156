"""Names and sizes of what low-rank and scaling methods change in an encoder, for each family of encoders.

Names are those of transformers' modules, as the end of a path: peft takes every linear map whose path ends in one.
"""

from __future__ import annotations

from dataclasses import dataclass

from methods._shape import EncoderShape

__all__ = ["TARGETS", "Targets"]

Map = tuple[int, int]
"""Inputs and outputs of a linear map."""


@dataclass(frozen=True)
class Targets:
    """The linear maps and LayerNorms of one family."""

    query: str
    key: str
    value: str
    attention_output: str
    feed_forward_in: str
    feed_forward_out: str
    norms: tuple[str, ...] = ("LayerNorm",)
    not_norms: tuple[str, ...] = ()
    """What is called like a LayerNorm and is none."""

    @property
    def fused(self) -> bool:
        """Whether one map d → 3d gives queries, keys and values."""
        return self.query == self.value

    @property
    def query_value(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.query, self.value)))

    @property
    def all_linear(self) -> tuple[str, ...]:
        attention = (self.query, self.key, self.value, self.attention_output)
        return tuple(dict.fromkeys((*attention, self.feed_forward_in, self.feed_forward_out)))

    def sizes(self, shape: EncoderShape, *, all_linear: bool = False) -> list[Map]:
        """List inputs and outputs of the maps of one layer, those of queries and values or all."""
        d, f = shape.width, shape.feed_forward
        if not all_linear:
            return [(d, 3 * d)] if self.fused else 2 * [(d, d)]
        # A fused layer's feed-forward block is gated: it has two maps d → f, in one (ModernBERT).
        return [(d, 3 * d), (d, d), (d, 2 * f), (f, d)] if self.fused else [*4 * [(d, d)], (d, f), (f, d)]


_BERT = Targets("query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense")

TARGETS: dict[str, Targets] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _BERT,
    "deberta-v2": Targets(
        "query_proj", "key_proj", "value_proj", "attention.output.dense", "intermediate.dense", "output.dense"
    ),
    "distilbert": Targets(
        "q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2", ("LayerNorm", "sa_layer_norm", "output_layer_norm")
    ),
    "mpnet": Targets("attn.q", "attn.k", "attn.v", "attn.o", "intermediate.dense", "output.dense"),
    "albert": Targets(
        "query", "key", "value", "attention.dense", "ffn", "ffn_output", ("LayerNorm", "full_layer_layer_norm")
    ),
    "modernbert": Targets(
        "attn.Wqkv", "attn.Wqkv", "attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo", ("norm", "attn_norm", "mlp_norm", "final_norm"),
        ("layers.0.attn_norm",),
    ),
}  # fmt: skip
"""Model type, as in config.json → names of its layers."""
