"""What all ways of training share: the encoder, the reviews, the batches of a turn, and the device."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.data.batches import POOL, epoch_batches
from bench.data.tokenization import Ints, Split
from bench.models.pretrained import find
from bench.system.device import resolve_device
from tests.measurements.peers.recipes import Recipe

if TYPE_CHECKING:
    from bench.data.task import Task

__all__ = ["BATCH", "LEARNING_RATE", "batches_of", "choose_device", "device", "encoder_folder", "part", "task_of", "untested"]

BATCH = 16
"""Reviews an optimizer step, where no other number is asked for."""
LEARNING_RATE = 1e-4


def device() -> Literal["cpu", "cuda"]:
    """Where everything here is measured."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_device(name: str) -> None:
    """Measure on `auto`, `cpu` or `cuda`, here and in every process started from here. Call before CUDA is used.

    Raises:
        SpecError: if CUDA is asked for and there is none.
    """
    if resolve_device(name) == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def encoder_folder(folder: Path, base: bool = False) -> Path:
    """MiniLM without its pooling instructions: then suite and libraries train the same head, BERT's own. Or a BERT-base with
    MiniLM's tokenizer and random weights, of which speed and memory know nothing.
    """
    packaged = find("minilm").folder
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copy(packaged / name, folder / name)
    if base:
        from transformers import AutoConfig, BertModel

        sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
        BertModel(AutoConfig.from_pretrained(folder, **sizes)).save_pretrained(folder)
    return folder


def task_of(pretrained: Any) -> Task:
    """The embedded reviews, as an encoder's tokenizer cuts them."""
    from bench.data.sources import read
    from bench.data.task import prepare, split

    source = read("embedded")
    return prepare(pretrained, source.sha256, lambda: split(source))


def part(split: Split, rows: list[int]) -> Split:
    """Some reviews of a split, in the given order."""
    pieces = [split.ids[split.starts[row] : split.starts[row + 1]] for row in rows]
    starts = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    return Split(np.concatenate(pieces), starts, split.labels[rows])


def untested(task: Task, rows: list[int]) -> Task:
    """A task of some training reviews, in the given order, of which nothing is validated or tested."""
    few = part(task.validation, [0, len(task.validation) - 1])
    return replace(task, train=part(task.train, rows), validation=few, test=few, leaked=np.array([], dtype=np.int64))


def batches_of(recipe: Recipe, lengths: Ints, count: int, batch_size: int = BATCH, seed: int = 0) -> list[Ints]:
    """`count` batches as a recipe would make them of `POOL` batches of reviews, and before them the longest one.

    A short turn cannot show how reviews of like length find together: that takes a pool of 50 batches, in this suite and in
    the libraries' group_by_length alike. So the pool is made, and of its batches are taken those at even ranks of length,
    which cost together what as many of the pool cost on average. The longest comes first, for what only a first step pays
    and for the peak of memory; it is not timed.
    """
    pool = random.Random(seed).sample(range(len(lengths)), POOL * batch_size)
    rows = np.array(pool)
    if recipe.groups:
        batches = [rows[batch] for batch in epoch_batches(lengths[rows], batch_size, seed, 0)]
    else:
        batches = [np.array(pool[start : start + batch_size]) for start in range(0, len(pool), batch_size)]
    ranked = sorted(batches, key=lambda batch: (int(lengths[batch].max()), int(lengths[batch].sum())))
    chosen = [ranked[int((i + 0.5) / count * len(ranked))] for i in range(count)]
    random.Random(seed).shuffle(chosen)
    return [ranked[-1], *chosen]
