"""From a checked checkpoint to a classifier: an encoder that a method changes, and a head that the comparison owns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from bench.models.attention import InBlocks, MaskKnown, replace_mpnet_attention
from bench.models.pretrained import Pooling, PretrainedModel
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


class _Flat(nn.Module):
    """A head of the RoBERTa kind, which takes the first of a sequence of vectors, given that vector alone."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features.unsqueeze(1))
        return logits


class _BertHead(nn.Module):
    """BERT's pooler, dropout and classifier; the pooler counts as head (rules, section 5)."""

    def __init__(self, pooler: nn.Module, dropout: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.pooler, self.dropout, self.classifier = pooler, dropout, classifier

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.dropout(self.pooler(features.unsqueeze(1))))
        return logits


def _bert_head(model: Any) -> nn.Module:
    pooler, model.bert.pooler = model.bert.pooler, None
    return _BertHead(pooler, model.dropout, model.classifier)


def _distilbert_head(model: Any) -> nn.Module:
    return nn.Sequential(model.pre_classifier, nn.ReLU(), model.dropout, model.classifier)


def _roberta_head(model: Any) -> nn.Module:
    return _Flat(model.classifier)


_OWN_HEADS: dict[str, Callable[[Any], nn.Module]] = {"bert": _bert_head, "distilbert": _distilbert_head}
"""How to detach a family's sequence-classification head from its encoder, where it differs from RoBERTa's."""


def load_classifier(
    pretrained: PretrainedModel, *, seed: int, dropout: float, attention_dropout: float, classes: int = 2
) -> Classifier:
    """Build a fresh classifier in fp32 on the CPU, in training mode.

    Head weights that the checkpoint does not hold come from a generator of their own, seeded with `seed`, so that every
    method starts from the same head.

    Raises:
        ModelError: if the weights do not fit the configuration.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    # Attention dropout must be in the config before the model exists: SDPA reads it from there.
    distil = pretrained.config["model_type"] == "distilbert"
    drop = (
        {"dropout": dropout, "attention_dropout": attention_dropout, "seq_classif_dropout": dropout}
        if distil
        else {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": attention_dropout}
    )
    config = AutoConfig.for_model(**pretrained.config, **drop, num_labels=classes)
    config.num_labels = classes  # again: names of labels in the configuration go before the argument
    own = pretrained.pooling == "own head"
    auto: Any = AutoModelForSequenceClassification if own else AutoModel
    pooler = {} if own or distil else {"add_pooling_layer": False}
    try:
        weights = load_file(pretrained.folder / "model.safetensors")
        # Given a state dict and no folder, from_pretrained maps names and opens no file of the checkpoint.
        model, info = auto._model_mapping[type(config)].from_pretrained(
            None, config=config, state_dict=weights, output_loading_info=True,
            torch_dtype=torch.float32, **pooler,
        )  # fmt: skip
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(f"encoder {pretrained.name!r}: the weights do not load ({str(error).splitlines()[0]})") from None
    missing = set(info["missing_keys"])
    if own:
        encoder = model.base_model
        lacking = [key for key in missing if key.startswith(f"{model.base_model_prefix}.") and ".pooler." not in key]
        head = _OWN_HEADS.get(pretrained.config["model_type"], _roberta_head)(model)
    else:
        encoder, lacking = model, sorted(missing)
        head = nn.Linear(int(config.hidden_size), classes)
    if lacking or info["mismatched_keys"]:
        odd = (lacking or [str(key) for key in info["mismatched_keys"]])[0]
        raise ModelError(f"encoder {pretrained.name!r}: the weights lack {odd} as config.json describes it")
    pretrained_pooler = own and not any(".pooler." in key for key in missing)
    _initialise(head, keep="pooler" if pretrained_pooler else None, std=config.initializer_range, seed=seed)
    if config.model_type == "mpnet":
        replace_mpnet_attention(encoder)
    return Classifier(encoder, pretrained.pooling, head).train()


def _initialise(head: nn.Module, *, keep: str | None, std: float, seed: int) -> None:
    """Draw normal weights and zero biases, as transformers does (BERT, section A.2), from a generator of the head's own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if keep is not None and name.startswith(keep):
                continue
            if parameter.ndim > 1:
                parameter.normal_(0.0, std, generator=generator)
            else:
                parameter.zero_()


def frozen_sha256(classifier: nn.Module) -> str:
    """Hash of all weights that must not change, by name, in the order of the module."""
    digest = hashlib.sha256()
    for name, parameter in classifier.named_parameters():
        if not parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
