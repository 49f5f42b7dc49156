"""From a checked checkpoint to a classifier: an encoder that a method changes, and a head that the comparison owns."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from bench.models.attention import InBlocks, MaskKnown, adapt_attention
from bench.models.families import FAMILIES
from bench.models.pretrained import Pooling, PretrainedModel
from bench.models.weight_files import names_of
from bench.system.errors import ModelError

__all__ = ["Classifier", "frozen_sha256", "load_classifier"]


class Classifier(nn.Module):
    """Encoder, pooling and head. Methods replace `encoder`; nothing else of it is theirs."""

    def __init__(self, encoder: nn.Module, pooling: Pooling, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.pooling, self.head = encoder, pooling, head
        self.attention: Callable[[], AbstractContextManager[object]] = InBlocks
        """Context of the encoder on a CPU; none, for torch's own attention, is what `make ablations` compares it with."""

    def features(self, input_ids: Tensor, attention_mask: Tensor, padded: bool = True) -> Tensor:
        """Pool to what the head reads: ids and mask are [batch, length]; returns [batch, width] in fp32, whatever
        the precision of the encoder. Not `padded` says that the mask hides nothing, which only a GPU has to be told.
        """
        with self.attention() if input_ids.device.type == "cpu" else MaskKnown(padded):
            hidden: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling != "mean":
            return hidden[:, 0].float()
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(1, dtype=torch.float32) / mask.sum(1, dtype=torch.float32)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits [batch, classes] for ids and mask [batch, length]."""
        logits: Tensor = self.head(self.features(input_ids, attention_mask))
        return logits


class _OfFirst(nn.Sequential):
    """A head that takes the first of a sequence of vectors, given that vector alone."""

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = super().forward(features.unsqueeze(1))  # type: ignore[no-untyped-call]
        return logits


def _detach_head(model: Any) -> nn.Module:
    """Take the head of a sequence-classification model off its encoder; a pooler counts as head (rules, section 5)."""
    base, kind = model.base_model, model.config.model_type
    if kind == "distilbert":
        return nn.Sequential(model.pre_classifier, nn.ReLU(), model.dropout, model.classifier)
    if kind == "modernbert":
        return nn.Sequential(OrderedDict(pooler=model.head, dropout=model.drop, classifier=model.classifier))
    if kind not in ("bert", "albert", "deberta-v2"):
        return _OfFirst(OrderedDict(head=model.classifier))
    last = {"dropout": model.dropout, "classifier": model.classifier}
    if kind == "albert":
        parts = OrderedDict(pooler=base.pooler, activation=base.pooler_activation, **last)
        base.pooler = base.pooler_activation = None
        return nn.Sequential(parts)
    if kind == "bert":
        pooler, base.pooler = base.pooler, None
        return _OfFirst(OrderedDict(pooler=pooler, **last))
    return _OfFirst(OrderedDict(pooler=model.pooler, **last))


def load_classifier(
    pretrained: PretrainedModel, *, seed: int, dropout: float, attention_dropout: float, classes: int = 2
) -> Classifier:
    """Build a fresh classifier in fp32 on the CPU, in training mode.

    Head weights come from a generator of their own, seeded with `seed`, so that every method starts from the same head; but
    for a pre-trained pooler that the checkpoint holds.

    Raises:
        ModelError: if the weights do not fit the configuration.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    family = FAMILIES[pretrained.config["model_type"]]
    # Attention dropout must be in the config before the model exists: SDPA reads it from there.
    drop = dict.fromkeys(family.dropout, dropout) | {family.attention_dropout: attention_dropout}
    config = AutoConfig.for_model(**pretrained.config, **drop, **family.settings)
    config.num_labels = classes  # names of labels in config.json would go before an argument
    own = pretrained.pooling == "own head"
    auto: Any = AutoModelForSequenceClassification if own else AutoModel
    pooler = {"add_pooling_layer": False} if family.has_pooler and not own else {}
    try:
        # Given a state dict and no folder, from_pretrained maps names and opens no file of the checkpoint.
        model, info = auto._model_mapping[type(config)].from_pretrained(
            None, config=config, state_dict=_weights(pretrained, own=own), output_loading_info=True,
            torch_dtype=torch.float32, **pooler,
        )  # fmt: skip
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(f"encoder {pretrained.name!r}: the weights do not load ({str(error).splitlines()[0]})") from None
    head_keys = tuple(family.head.values())
    lacking = sorted(key for key in info["missing_keys"] if not (own and key.startswith(head_keys)))
    if lacking or info["mismatched_keys"]:
        odd = (lacking or [str(key) for key in info["mismatched_keys"]])[0]
        raise ModelError(f"encoder {pretrained.name!r}: the weights lack {odd} as config.json describes it")
    pooling = pretrained.pooling
    if own:
        encoder, head = model.base_model, _detach_head(model)
        pooling = "mean" if getattr(config, "classifier_pooling", None) == "mean" else pooling
    else:
        encoder, head = model, nn.Linear(int(config.hidden_size), classes)
    head_names = family.kept_head
    whole = head_names is not None and not any(key.startswith(head_names) for key in info["missing_keys"])
    _initialise(head, keep="pooler." if own and whole else None, std=config.initializer_range, seed=seed)
    adapt_attention(encoder)
    return Classifier(encoder, pooling, head).train()


def _weights(pretrained: PretrainedModel, *, own: bool) -> dict[str, Tensor]:
    """Read the weights that are used, named as in the library's sequence-classification model or, unless `own`, the bare."""
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = {}
    for file in pretrained.weights:
        tensors |= load_file(file)
    names, prefix = names_of(tensors, pretrained.shape), FAMILIES[pretrained.config["model_type"]].prefix
    if own:
        return {name: tensors[key] for key, name in names.items()}
    body = {name.removeprefix(prefix): tensors[key] for key, name in names.items() if name.startswith(prefix)}
    return {name: tensor for name, tensor in body.items() if not name.startswith("pooler.")}


def _initialise(head: nn.Module, *, keep: str | None, std: float, seed: int) -> None:
    """Draw normal weights, as transformers does (BERT, section A.2), from a generator of the head's own; biases are zero, and
    LayerNorms change nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if keep is not None and name.startswith(keep):
                continue
            if parameter.ndim > 1:
                parameter.normal_(0.0, std, generator=generator)
            else:
                parameter.fill_(float(name.endswith("norm.weight")))


def frozen_sha256(classifier: nn.Module) -> str:
    """Hash of all weights that must not change, by name, in the order of the module."""
    digest = hashlib.sha256()
    for name, parameter in classifier.named_parameters():
        if not parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
