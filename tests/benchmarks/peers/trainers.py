"""Training with the libraries' own trainers, as their documentation does it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import adapters
import datasets
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
from bench.budget import WARM_UP
from bench.task import Task
from bench.training import CLIP
from tests.benchmarks.peers.recipes import Recipe

__all__ = ["LibraryPeer", "Logits", "attached", "trainer_class"]

ADAPTER = "peer"
LEARNING_RATE = 1e-4


def attached(name: str, folder: Path, recipe: Recipe) -> Any:
    """The library's sequence classifier with a method attached by that method's library."""
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=2, hidden_dropout_prob=recipe.dropout, attention_probs_dropout_prob=recipe.attention_dropout
    )
    method: Any = methods.get(name)
    if name in {"houlsby", "pfeiffer"}:
        adapters.init(model)
        model.add_adapter(ADAPTER, config=method.config(model.config.hidden_size))
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


def trainer_class(name: str) -> type[Trainer]:
    return adapters.AdapterTrainer if name in {"houlsby", "pfeiffer"} else Trainer  # type: ignore[no-any-return]


class _Stopwatch(TrainerCallback):  # type: ignore[misc]
    """Wall seconds from the first batch on to the end of the last step; building the loader is not counted."""

    began = ended = 0.0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.began = self.began or time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.ended = time.perf_counter()


class Logits(torch.nn.Module):
    """A library's classifier as the suite calls one: ids and mask [batch, length] to logits [batch, 2]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


class LibraryPeer:
    """Trains chunk after chunk of reviews with a library's trainer."""

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

    def trainer(self, rows: list[int], epochs: int, callbacks: list[TrainerCallback], output: str) -> Trainer:
        split = self.task.train
        encoded = [self.task.encode(split, row, self.length, "head") for row in rows]
        table = datasets.Dataset.from_dict(
            {"input_ids": [ids.tolist() for ids in encoded], "labels": split.labels[rows].tolist()}
        )
        arguments = TrainingArguments(
            output_dir=output, per_device_train_batch_size=self.batch, num_train_epochs=epochs, seed=self.seed,
            learning_rate=self.learning_rate, weight_decay=0.0, max_grad_norm=CLIP, warmup_ratio=WARM_UP,
            group_by_length=self.recipe.padding == "like lengths together", save_strategy="no", logging_strategy="no",
            report_to=[], disable_tqdm=True, use_cpu=not torch.cuda.is_available(),
            bf16=torch.cuda.is_available(),
        )  # fmt: skip
        return trainer_class(self.name)(
            model=self.model, args=arguments, train_dataset=table, data_collator=self.collator, callbacks=callbacks
        )

    def turn(self, rows: list[int], epochs: int) -> float:
        """Train on these reviews; returns the seconds that it took."""
        watch = _Stopwatch()
        with tempfile.TemporaryDirectory() as output:
            self.trainer(rows, epochs, [watch], output).train()
        return watch.ended - watch.began

    def logits(self) -> Logits:
        """What was trained, to be tested as the suite tests."""
        return Logits(self.model)
