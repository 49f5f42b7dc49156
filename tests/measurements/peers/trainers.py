"""Training with the libraries' own trainers, as their documentation does it."""

from __future__ import annotations

import gc
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import adapters
import datasets
import numpy as np
import peft
import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import methods
from bench.data.task import Task
from bench.data.tokenization import Ints
from bench.rules import CLIP, WARM_UP
from tests.measurements.peers.common import LEARNING_RATE, device
from tests.measurements.peers.recipes import Recipe

__all__ = ["LibraryPeer", "Logits", "attached", "plain", "trainer_class"]

ADAPTER = "peer"


def attached(name: str, folder: Path, recipe: Recipe) -> Any:
    """The library's sequence classifier with a method attached by that method's library."""
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=2, hidden_dropout_prob=recipe.dropout, attention_probs_dropout_prob=recipe.attention_dropout
    )
    method: Any = methods.get(name)
    if name in {"houlsby", "pfeiffer"}:
        adapters.init(model)
        model.add_adapter(ADAPTER, config=method.config(model.config.hidden_size, model.config.num_hidden_layers))
        model.train_adapter(ADAPTER)
        model.bert.pooler.requires_grad_(True)  # frozen by train_adapter; part of the head everywhere else
    elif name == "lora":
        rank, alpha = method.rank_and_alpha(model.config.hidden_size)
        config = peft.LoraConfig(
            task_type="SEQ_CLS", r=rank, lora_alpha=alpha, target_modules=["query", "value"],
            modules_to_save=["classifier", "pooler"],
        )  # fmt: skip
        model = peft.get_peft_model(model, config)
    elif name == "head-only":
        model.bert.requires_grad_(False)
        model.bert.pooler.requires_grad_(True)
    return model


def trainer_class(name: str, in_order: bool) -> type[Trainer]:
    """The library's trainer for a method, which shuffles, or goes through its data as they lie."""
    chosen: type[Trainer] = adapters.AdapterTrainer if name in {"houlsby", "pfeiffer"} else Trainer
    if not in_order:
        return chosen

    class InOrder(chosen):  # type: ignore[misc, valid-type]
        def _get_train_sampler(self, *given: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    return InOrder


def plain(name: str) -> str:
    """A parameter's name without what the suite and the libraries wrap around it."""
    name = re.sub(r"^(encoder|head)\.", "", name) if name.startswith(("encoder.", "head.")) else name
    return re.sub(r"base_model\.model\.|\bbert\.|modules_to_save\.default\.|\.(bench|peer)(?=\.)", "", name)


class _Stopwatch(TrainerCallback):  # type: ignore[misc]
    """Wall seconds from the end of the first step to that of the last."""

    began = ended = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if device() == "cuda":
            torch.cuda.synchronize()
        self.ended = time.perf_counter()
        self.began = self.began or self.ended


class Logits(torch.nn.Module):
    """A library's classifier as the suite calls one: ids and mask [batch, length] to logits [batch, 2]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


class LibraryPeer:
    """Trains with a library's trainer, turn after turn on the same model."""

    def __init__(
        self,
        name: str,
        recipe: Recipe,
        folder: Path,
        task: Task,
        length: int,
        batch: int,
        *,
        seed: int = 0,
        learning_rate: float = LEARNING_RATE,
    ) -> None:
        self.name, self.recipe, self.task, self.length, self.batch = name, recipe, task, length, batch
        self.seed, self.learning_rate = seed, learning_rate
        torch.manual_seed(seed)
        self.model = attached(name, folder, recipe)
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")
        whole = recipe.padding == "to the maximum"
        self.collator = DataCollatorWithPadding(
            tokenizer, padding="max_length" if whole else True, max_length=length if whole else None
        )

    def start_from(self, classifier: torch.nn.Module) -> None:
        """Take over the weights of the suite's classifier, all of them."""
        weights = {plain(key): value for key, value in classifier.state_dict().items()}
        with torch.no_grad():
            for key, parameter in self.model.named_parameters():
                if "original_module" not in key:
                    parameter.copy_(weights[plain(key)])

    def trainer(
        self, rows: list[int], epochs: int, callbacks: Sequence[TrainerCallback], output: str, in_order: bool = False
    ) -> Trainer:
        split = self.task.train
        encoded = [self.task.encode(split, row, self.length, "head") for row in rows]
        table = datasets.Dataset.from_dict(
            {"input_ids": [ids.tolist() for ids in encoded], "labels": split.labels[rows].tolist()}
        )
        arguments = TrainingArguments(
            output_dir=output, per_device_train_batch_size=self.batch, num_train_epochs=epochs, seed=self.seed,
            learning_rate=self.learning_rate, weight_decay=0.0, max_grad_norm=CLIP, warmup_ratio=WARM_UP,
            group_by_length=self.recipe.groups and not in_order, save_strategy="no", logging_strategy="no",
            report_to=[], disable_tqdm=True, use_cpu=device() == "cpu", bf16=self.recipe.arithmetic(device()) == "bf16",
        )  # fmt: skip
        return trainer_class(self.name, in_order)(
            model=self.model, args=arguments, train_dataset=table, data_collator=self.collator, callbacks=[*callbacks]
        )

    def turn(self, batches: Sequence[Ints], epochs: int) -> float:
        """Train on these batches in this order; returns the seconds that all but the first step took."""
        gc.collect()  # a trainer of an earlier turn may hold on to its optimizer by a cycle
        watch = _Stopwatch()
        with tempfile.TemporaryDirectory() as output:
            self.trainer(np.concatenate(batches).tolist(), epochs, [watch], output, in_order=True).train()
        return watch.ended - watch.began

    def train(self, rows: list[int], epochs: int) -> None:
        """Train on these reviews in batches and an order of the library's own making."""
        with tempfile.TemporaryDirectory() as output:
            self.trainer(rows, epochs, [], output).train()

    def logits(self) -> Logits:
        """What was trained, to be tested as the suite tests."""
        return Logits(self.model)
