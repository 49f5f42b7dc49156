"""Synthetic results for the report: valid records of five methods, many seeds and several budgets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import methods
from bench.models.pretrained import PretrainedModel
from bench.records.schema import (
    Compute,
    CurvePoint,
    DataCut,
    Evaluation,
    Memory,
    Parameters,
    Record,
    Seconds,
    Timeline,
    Training,
    pack_bits,
)
from bench.records.spec import Budget, RunSpec, run_id
from bench.records.store import seal
from bench.training.job import Job, record_of
from tests.conftest import make_spec

REVIEWS = 2000
BUDGETS = 4
DATA = DataCut(sha256="d" * 64, cut="embedded-v1", train=22_000, validation=500, test=REVIEWS, duplicates_removed=96, leaked=0)


def bits(place: int) -> dict[str, str]:
    """Predictions of which 200 are wrong, half of each class, from an even `place` on."""
    wrong = [(i - place) % REVIEWS < 200 for i in range(REVIEWS)]
    predictions = pack_bits([(i % 2) ^ missed for i, missed in enumerate(wrong)])
    return {"predictions": predictions, "correct": pack_bits([not missed for missed in wrong])}


def template(pretrained: PretrainedModel) -> Record:
    """A complete record of the size that a whole test leaves."""
    point = CurvePoint(fraction=0.25, seconds=15.0, step=20, reviews=320, tokens=70_000, loss=0.5, accuracy=0.8)
    share = {"accuracy": 0.9, "precision": 0.9, "recall": 0.9, "f1": 0.9, "accuracy_without_leaked": 0.9}
    return record_of(
        Job("0" * 16, make_spec("houlsby"), pretrained, "embedded", DATA, "a processor"),
        "complete",
        parameters=Parameters(body=226_080, head=770, total=22_700_000, closed_form=226_080),
        training=Training(
            steps=80, reviews_seen=1280, reviews_distinct=1280, reviews_trained=1280, tokens_seen=280_000,
            tokens_padded=300_000, spent=60.5, overshoot=0.5, longest_step_seconds=0.8, loss_first=0.7, loss_last=0.3,
            curve=[point] * 4, frozen_sha256_before="f" * 64, frozen_sha256_after="f" * 64,
        ),
        seconds=Seconds(setup=4.0, charged=60.5, paused=20.0, test=30.0, total=115.0),
        timeline=Timeline(training_started=4.0, training_ended=84.5, test_started=84.5, test_ended=114.5),
        memory=Memory(baseline=400 << 20, peak=900 << 20, peak_above_baseline=500 << 20),
        compute=Compute(cpu_seconds=118.0),
        test=Evaluation(reviews=REVIEWS, tp=900, fp=100, fn=100, tn=900, **share, leaked=[], **bits(0)),
    )  # fmt: skip


def write_records(folder: Path, pretrained: PretrainedModel, count: int) -> Path:
    """`count` records in a folder, from one that was validated: each has its own id, and (method, budget, seed)."""
    names = methods.names(core=True)
    settings = {name: methods.get(name).hyperparameters() for name in names}
    base: dict[str, Any] = template(pretrained).model_dump(mode="json")
    tests = [{**base["test"], **bits(20 * i)} for i in range(7)]
    folder.mkdir()
    for i in range(count):
        name, rest = names[i % len(names)], i // len(names)
        budget = Budget(amount=60.0 * (1 + rest % BUDGETS), unit="seconds").model_dump()
        own = {"method": name, "hyperparameters": settings[name], "budget": budget, "seed": rest // BUDGETS}
        spec = RunSpec.model_validate({**base["spec"], **own})
        identity = run_id(spec, encoder_sha256=pretrained.sha256, data_sha256=DATA.sha256)
        record = {**base, "run_id": identity, "spec": spec.model_dump(mode="json"), "test": tests[i % 7]}
        (folder / f"{name}-{identity}.json").write_bytes(seal(json.dumps(record, indent=1).encode()))
    return folder
