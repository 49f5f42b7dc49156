"""Records made by hand, valid and quick, for the tests of comparison and report."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from bench.record import (
    Compute,
    DataCut,
    Encoder,
    Environment,
    Evaluation,
    Floor,
    FloorSpec,
    Memory,
    Parameters,
    Record,
    Seconds,
    Training,
    pack_bits,
)
from bench.scoring import confusion
from bench.spec import Budget, RunSpec

LABELS = np.array([0, 1] * 100)
DATA = DataCut(
    sha256="d" * 64, cut="embedded-v1", train=22404, validation=500, test=2000, duplicates_removed=96, leaked=0
)  # fmt: skip
MACHINE = Environment(
    device="Some CPU", cpu="Some CPU", cores=2, threads=2, python="3.12.0", platform="Linux x86_64",
    versions={"torch": "2.13.0"}, commit=None, dirty=None,
)  # fmt: skip


def guesses(wrong: int) -> np.ndarray:
    """Predictions for `LABELS` of which the first `wrong` are wrong."""
    return np.where(np.arange(len(LABELS)) < wrong, 1 - LABELS, LABELS)


def evaluation(wrong: int, leaked: tuple[int, ...] = ()) -> Evaluation:
    predictions = guesses(wrong)
    counts, correct = confusion(LABELS, predictions), predictions == LABELS
    return Evaluation(
        reviews=counts.reviews, tp=counts.tp, fp=counts.fp, fn=counts.fn, tn=counts.tn, accuracy=counts.accuracy,
        precision=counts.precision, recall=counts.recall, f1=counts.f1, leaked=list(leaked),
        accuracy_without_leaked=float(np.delete(correct, leaked).mean()),
        predictions=pack_bits(predictions), correct=pack_bits(correct),
    )  # fmt: skip


def _identity(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def run(
    method: str = "houlsby", seed: int = 0, wrong: int = 20, *, spec: dict[str, Any] | None = None,
    leaked: tuple[int, ...] = (), contended: bool = False, **fields: Any,
) -> Record:  # fmt: skip
    """A run of a method with `wrong` of 200 predictions wrong; `fields` replace parts of the record."""
    settings: dict[str, Any] = {
        "method": method, "hyperparameters": {"learning_rate": 0.001}, "encoder": "minilm", "data": "embedded",
        "budget": Budget(amount=60, unit="seconds"), "seed": seed, "max_length": 128, "truncation": "head+tail",
        "batch_size": 16, "precision": "fp32", "device": "cpu", "threads": 2,
    }  # fmt: skip
    made = RunSpec(**{**settings, **(spec or {})})
    parts: dict[str, Any] = {
        "run_id": _identity(made), "rules_version": 1, "state": "complete", "finished": "2026-01-01T00:00:00+00:00",
        "spec": made, "environment": MACHINE, "data": DATA,
        "encoder": Encoder(sha256="e" * 64, model_type="bert", pooling="mean"),
        "parameters": Parameters(body=226_080, head=770, total=22_792_226, closed_form=226_080),
        "training": Training(
            steps=100, reviews_seen=1600, reviews_distinct=1600, reviews_trained=1600, tokens_seen=1, tokens_padded=1,
            spent=60, overshoot=0, longest_step_seconds=1, loss_first=0.7, loss_last=0.3, curve=[],
            frozen_sha256_before="", frozen_sha256_after="",
        ),
        "seconds": Seconds(setup=1, charged=64, paused=1, test=1, total=67),
        "memory": Memory(baseline=2**20, peak=301 * 2**20, peak_above_baseline=300 * 2**20),
        "compute": Compute(cpu_seconds=100, matmul_before=9, matmul_after=9, matmul_quiet=9, contended=contended),
        "test": evaluation(wrong, leaked),
    }  # fmt: skip
    return Record(**{**parts, **fields})


def ended(method: str, state: str, reason: str = "why it ended", seed: int = 0, **fields: Any) -> Record:
    """A run that did not get to its test."""
    return run(method, seed, state=state, reason=reason, test=None, training=None, seconds=None, compute=None, **fields)


def floor(reviews: int, wrong: int = 40, test_limit: int | None = None, **fields: Any) -> Floor:
    spec = FloorSpec(train_reviews=reviews, rows_sha256="", test_limit=test_limit, vectorizer="tf-idf", classifier="logistic")
    parts: dict[str, Any] = {
        "run_id": _identity(spec, sorted(fields)), "rules_version": 1, "finished": "2026-01-01T00:00:00+00:00", "spec": spec,
        "environment": MACHINE, "data": DATA, "fit_seconds": 1.0, "test": evaluation(wrong),
    }  # fmt: skip
    return Floor(**{**parts, **fields})
