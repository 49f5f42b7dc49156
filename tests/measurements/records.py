"""Synthetic results for the report: valid records of five methods, many seeds and several budgets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import methods
from bench.records.schema import Evaluation, pack_bits
from bench.records.spec import Budget, RunSpec, run_id
from bench.records.store import seal
from tests.factories import DATA, run

REVIEWS = 2000
BUDGETS = 4


def bits(place: int) -> dict[str, str]:
    """Predictions of which 200 are wrong, half of each class, from an even `place` on."""
    wrong = [(i - place) % REVIEWS < 200 for i in range(REVIEWS)]
    predictions = pack_bits([(i % 2) ^ missed for i, missed in enumerate(wrong)])
    return {"predictions": predictions, "correct": pack_bits([not missed for missed in wrong])}


def write_records(folder: Path, count: int) -> Path:
    """`count` records in a folder, from one that was validated: each has its own id, and (method, budget, seed)."""
    names = methods.names(core=True)
    settings = {name: methods.get(name).hyperparameters() for name in names}
    share = {"accuracy": 0.9, "precision": 0.9, "recall": 0.9, "f1": 0.9, "accuracy_without_leaked": 0.9}
    test = Evaluation(reviews=REVIEWS, tp=900, fp=100, fn=100, tn=900, **share, leaked=[], **bits(0))
    base: dict[str, Any] = run(test=test, data=DATA.model_copy(update={"test": REVIEWS})).model_dump(mode="json")
    tests = [{**base["test"], **bits(20 * i)} for i in range(7)]
    folder.mkdir()
    for i in range(count):
        name, rest = names[i % len(names)], i // len(names)
        budget = Budget(amount=60.0 * (1 + rest % BUDGETS), unit="seconds").model_dump()
        own = {"method": name, "hyperparameters": settings[name], "budget": budget, "seed": rest // BUDGETS}
        spec = RunSpec.model_validate({**base["spec"], **own})
        hashes = {"encoder_sha256": base["encoder"]["sha256"], "data_sha256": base["data"]["sha256"]}
        identity = run_id(spec, **hashes, rules_version=base["rules_version"])
        record = {**base, "run_id": identity, "spec": spec.model_dump(mode="json"), "test": tests[i % 7]}
        (folder / f"{name}-{identity}.json").write_bytes(seal(json.dumps(record, indent=1).encode()))
    return folder
