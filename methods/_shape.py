"""The sizes of an encoder, and how many weights they make, for each family of encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from methods._errors import MethodError

__all__ = ["EncoderShape"]


@dataclass(frozen=True)
class EncoderShape:
    """The sizes of a transformer encoder that parameter counts depend on (embeddings and layers, no pooler)."""

    model_type: str
    vocabulary: int
    positions: int
    """Rows of the position table; RoBERTa and MPNet keep two of them for padding. 0 without a table (ModernBERT)."""
    token_types: int
    """Rows of the token-type table; 0 where the architecture has none."""
    width: int
    """d, the hidden size."""
    layers: int
    """L."""
    feed_forward: int
    """f, the inner size of the feed-forward block."""
    relative_biases: int = 0
    """Entries of the relative-position table (MPNet: 32 buckets times heads; DeBERTa: two vectors a bucket)."""
    layer_sets: int | None = None
    """Sets of weights among the layers where these share them (ALBERT: one); None where each layer has its own."""
    table_width: int | None = None
    """Width of the embedding tables where a projection to d follows them (ELECTRA, ALBERT, DeBERTa); None: d."""
    more_norms: int = 0
    """LayerNorms beside that of the embeddings and two a layer (DeBERTa: of relative positions, of the convolution)."""
    convolution: int = 0
    """Positions that a convolution beside the first layer sees (large DeBERTa-v2); 0: there is none."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> EncoderShape:
        """Read the shape from the fields of a `config.json`.

        Raises:
            MethodError: if a size is missing or is not a positive whole number.
        """
        kind = str(config.get("model_type"))
        distil, deberta = kind == "distilbert", kind == "deberta-v2"
        tableless = kind == "modernbert" or (deberta and not config.get("position_biased_input", True))
        untyped = kind in {"distilbert", "mpnet", "modernbert"} or (deberta and config.get("type_vocab_size", 0) == 0)

        def size(name: str) -> int:
            value = config.get(name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise MethodError(f"config.json: {name} must be a positive whole number, not {value!r}")
            return value

        width = size("dim" if distil else "hidden_size")
        return cls(
            model_type=kind,
            vocabulary=size("vocab_size"),
            positions=0 if tableless else size("max_position_embeddings"),
            token_types=0 if untyped else size("type_vocab_size"),
            width=width,
            layers=size("n_layers" if distil else "num_hidden_layers"),
            feed_forward=size("hidden_dim" if distil else "intermediate_size"),
            **_particulars(config, width, size),
        )

    @property
    def distinct_layers(self) -> int:
        """Layers with weights of their own: the factor of a closed form that counts a layer's parameters."""
        return self.layers if self.layer_sets is None else self.layer_sets

    @property
    def norm_parameters(self) -> int:
        """Weights and biases of all LayerNorms: of the embeddings, two a layer, and `more_norms`.

        ModernBERT's have no bias, the first layer lacks one, and one follows the last (Warner et al. 2024, section 2.1).
        """
        if self.model_type == "modernbert":
            return (1 + 2 * self.layers) * self.width
        # DeBERTa projects before its first LayerNorm, ELECTRA and ALBERT after it.
        first = self.width if self.table_width is None or self.model_type == "deberta-v2" else self.table_width
        return 2 * first + (2 * self.distinct_layers + self.more_norms) * 2 * self.width

    @property
    def parameters(self) -> int:
        """All weights of the encoder: tables, LayerNorms, and in each layer four attention projections and two feed-forward
        projections (Devlin et al. 2019, section 3).

        ModernBERT has no biases, and its gated feed-forward block has three (Warner et al. 2024, section 2.1).
        """
        d, f = self.width, self.feed_forward
        tables = (self.vocabulary + self.positions + self.token_types) * (self.table_width or d) + self.relative_biases
        if self.model_type == "modernbert":
            return tables + self.norm_parameters + self.layers * (4 * d * d + 3 * d * f)
        layer = 4 * (d * d + d) + (2 * d * f + f + d)
        beside = self.convolution * d * d + d if self.convolution else 0
        if self.table_width is not None:
            beside += self.table_width * d + (0 if self.model_type == "deberta-v2" else d)
        return tables + self.norm_parameters + self.distinct_layers * layer + beside


def _particulars(config: Mapping[str, Any], width: int, size: Callable[[str], int]) -> dict[str, int]:
    """Read the fields of a shape that only some families have."""
    kind = config.get("model_type")
    if kind == "mpnet":
        return {"relative_biases": config.get("relative_attention_num_buckets", 32) * size("num_attention_heads")}
    if kind == "albert":
        sets = config.get("num_hidden_groups", 1) * config.get("inner_group_num", 1)
        return {"table_width": size("embedding_size"), "layer_sets": sets}
    particulars: dict[str, int] = {}
    if kind in {"electra", "deberta-v2"} and config.get("embedding_size", width) != width:
        particulars["table_width"] = size("embedding_size")
    if kind == "deberta-v2":
        if config.get("relative_attention", False):
            buckets = config.get("position_buckets", -1)
            longest = config.get("max_relative_positions", -1)
            span = next((length for length in (buckets, longest) if length > 0), None) or size("max_position_embeddings")
            particulars["relative_biases"] = 2 * span * width
        particulars["convolution"] = config.get("conv_kernel_size", 0)
        normed = "relative_biases" in particulars and "layer_norm" in str(config.get("norm_rel_ebd", "none"))
        particulars["more_norms"] = normed + bool(particulars["convolution"])
    return particulars
