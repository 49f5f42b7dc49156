"""Latency of a trained classifier, beside the same encoder without the method."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from statistics import median

import torch

from bench.data.batches import to_device
from bench.models.classifier import Classifier, load_classifier
from bench.models.pretrained import PretrainedModel
from bench.models.residual_stream import in_precision
from bench.records.schema import Latency
from bench.records.spec import RunSpec
from methods import Method

__all__ = ["BATCHES", "measure_latency"]

BATCHES = (1, 32)
"""Texts a call: a single request, and a batch of a service."""
FEWEST, FEWEST_SHORT, MOST, SECONDS = 5, 1, 50, 1.0
"""Rounds of each size: at least the fewest, then more until there are the most or the seconds are over; after a short run
fewer, and a quarter of the seconds."""


def measure_latency(
    classifier: Classifier, method: Method, pretrained: PretrainedModel, spec: RunSpec, filler: int, *, short: bool = False
) -> list[Latency]:
    """Measure medians for each size of `BATCHES`, over texts of full length made of the token `filler`; with `short` of fewer
    calls.

    The trained classifier, the bare encoder and, where the method merges, the merged encoder take turns, so that a machine
    that slows down does so for all. The classifier is left in training mode and otherwise unchanged.
    """
    bare = load_classifier(pretrained, seed=spec.seed, dropout=0.0, attention_dropout=0.0, classes=spec.classes)
    bare = bare.to(spec.device)
    bare.head = classifier.head
    models = {"own": classifier, "bare": bare}
    if method.merges:
        merged = method.merged(copy.deepcopy(classifier.encoder))
        models["merged"] = Classifier(merged, classifier.pooling, classifier.head)
    for model in models.values():
        model.eval()
    measured = [_measure(models, batch, spec, filler, short) for batch in BATCHES]
    classifier.train()
    return measured


@torch.no_grad()
def _measure(models: Mapping[str, Classifier], batch: int, spec: RunSpec, filler: int, short: bool) -> Latency:
    ids = torch.full((batch, spec.max_length), filler)
    mask = torch.ones_like(ids)
    times: dict[str, list[float]] = {name: [] for name in models}

    def call(model: Classifier) -> float:
        with in_precision(model, spec.precision):  # a service casts its weights once
            began = time.perf_counter()
            model(to_device(ids, spec.device), to_device(mask, spec.device)).float().cpu()  # the copy waits for the device
            return time.perf_counter() - began

    # A model's first call pays for its kernels, on CUDA that of each size. Training has left the memory.
    for model in models.values() if batch == BATCHES[0] or spec.device == "cuda" else ():
        call(model)
    fewest, seconds = (FEWEST_SHORT, SECONDS / 4) if short else (FEWEST, SECONDS)
    end = time.monotonic() + seconds
    while (rounds := len(times["own"])) < fewest or (rounds < MOST and time.monotonic() < end):
        for name, model in models.items():
            times[name].append(call(model))
    milliseconds = {name: 1000 * median(calls) for name, calls in times.items()}
    return Latency(
        batch=batch, milliseconds=milliseconds["own"], bare_milliseconds=milliseconds["bare"],
        merged_milliseconds=milliseconds.get("merged"),
    )  # fmt: skip
