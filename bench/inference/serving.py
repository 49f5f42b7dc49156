"""Serve saved runs: one encoder in memory, with one adapter or several.

Several are attached at once, and each call uses one of them. Only methods of one library that leave the encoder's own weights
unchanged can share it.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

import methods
from bench.data.sources import Reviews
from bench.data.task import Task
from bench.data.tokenization import Ints, Split, open_tokenizer, special_tokens, tokenize
from bench.inference.predict import predict
from bench.models.classifier import Classifier, load_classifier
from bench.models.pretrained import PretrainedModel
from bench.records.artifacts import HEAD, Saved
from bench.system.errors import RecordError, SpecError
from bench.system.text import without_paths

__all__ = ["Server"]


class Server:
    """Computes logits of saved runs by name. All must have been trained on the encoder `pretrained`.

    Raises:
        BenchError: if they cannot share the encoder, or saved weights do not load.
    """

    def __init__(self, saved: Mapping[str, Saved], pretrained: PretrainedModel, device: Literal["cpu", "cuda"]) -> None:
        for library in ("adapters", "transformers"):
            logging.getLogger(library).setLevel(logging.ERROR)
        self._saved = {name: saved_run.verified() for name, saved_run in saved.items()}
        self._pretrained, self._device = pretrained, device
        self._methods = {name: _method(saved_run) for name, saved_run in saved.items()}
        shared = len(saved) > 1
        if shared:
            _check_sharing(self._methods)
        self._classes = next(iter(saved.values())).card.spec.classes
        self._classifier = self._fresh(self._classes)
        self._heads: dict[str, torch.nn.Module] = {}
        self._keys = {name: f"saved{i}" for i, name in enumerate(saved)}
        """Names inside the libraries, which do not take every name."""
        self._holder = next((method for method in self._methods.values() if shared and method.backend), None)
        for name, saved_run in self._saved.items():
            try:
                self._load(name, saved_run, shared)
            except Exception as error:
                # Two libraries and safetensors raise a dozen kinds here, and all say: these are not its weights.
                why = without_paths(f"{type(error).__name__}: {error}")
                raise RecordError(f"{saved_run.name}: its saved weights do not load ({why})") from None
        self._classifier.to(device)
        for head in self._heads.values():
            head.to(device)

    def _fresh(self, classes: int) -> Classifier:
        return load_classifier(self._pretrained, seed=0, dropout=0.0, attention_dropout=0.0, classes=classes)

    def _load(self, name: str, saved: Saved, shared: bool) -> None:
        from safetensors.torch import load_file

        method, classifier = self._methods[name], self._classifier
        if not shared:
            classifier.encoder = method.load(classifier.encoder, saved.folder)
        elif method.backend:
            classifier.encoder = method.join(classifier.encoder, saved.folder, self._keys[name])
        classes = saved.card.spec.classes
        self._heads[name] = copy.deepcopy(classifier.head) if classes == self._classes else self._fresh(classes).head
        self._heads[name].load_state_dict(load_file(saved.folder / HEAD))

    @cached_property
    def _tokenizer(self) -> Any:
        return open_tokenizer(self._pretrained.folder / "tokenizer.json")

    def logits(self, name: str, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return logits [texts, classes] of the run called `name`, truncated and computed as in the run.

        They do not depend on the other runs. The other texts of a batch change their last bits.
        """
        split = tokenize(self._tokenizer, Reviews(list(texts), [0] * len(texts)))
        prefix, suffix = special_tokens(self._tokenizer)
        nothing: Ints = np.array([], dtype=np.int64)
        task = Task(split, split, split, nothing, prefix, suffix, int(self._pretrained.config["pad_token_id"]))
        return self.logits_of_split(name, task, split)

    def logits_of_split(self, name: str, task: Task, split: Split, rows: Ints | None = None) -> npt.NDArray[np.float32]:
        """Return logits [n, classes] for a split of a task or `rows` of it, computed as in a run: for the run's own test they
        are its own, bit for bit, on the same machine with as many threads.
        """
        spec = self._saved[name].card.spec.model_copy(update={"device": self._device})
        torch.set_num_threads(spec.threads)
        if self._holder is not None:
            self._holder.switch(self._classifier.encoder, self._keys[name] if self._methods[name].backend else None)
        self._classifier.head = self._heads[name]
        return predict(self._classifier, task, split, spec, rows)


def _method(saved: Saved) -> methods.Method:
    spec = saved.card.spec
    try:
        return methods.build(spec.method, spec.hyperparameters)
    except TypeError:
        raise RecordError(f"{saved.name}: {spec.method} does not take the hyperparameters on its card") from None


def _check_sharing(by_name: Mapping[str, methods.Method]) -> None:
    """Check that all can share one encoder."""
    libraries: dict[str, str] = {}
    for name, method in by_name.items():
        if method.backend is None and not method.encodes_once:
            raise SpecError(
                f"--adapter {name}: {method.name} changes the encoder itself and cannot share it; ask it alone, or name a run "
                "of adapters, LoRA or head-only"
            )
        if method.backend is not None:
            libraries.setdefault(method.backend, f"{name} ({method.name})")
    if len(libraries) > 1:
        by_library = " and ".join(f"{who} by {library}" for library, who in libraries.items())
        raise SpecError(f"one encoder holds adapters of one library, but {by_library}; use them one at a time")
