"""Records made by hand, valid and quick, for the tests of comparison and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import methods
from bench.analysis.comparison import Group, compare
from bench.models.pretrained import find
from bench.records.metrics import confusion
from bench.records.ratios import calibration_id
from bench.records.schema import (
    Baseline,
    BaselineSpec,
    Calibration,
    Compute,
    Conversion,
    CurvePoint,
    DataCut,
    Encoder,
    Energy,
    Environment,
    Evaluation,
    Latency,
    Memory,
    MemorySplit,
    MethodSpeed,
    Parameters,
    Record,
    Seconds,
    Timeline,
    Training,
    baseline_id,
    pack_bits,
    unpack_bits,
)
from bench.records.spec import Budget, RunSpec, run_id
from bench.records.store import logits_sha256, save
from bench.report.tables.footnotes import notes
from bench.rules import MARKS, RULES_VERSION, TUNING_SEED
from bench.runs.calibration import setting_of
from bench.system.files import sha256_bytes
from bench.training.job import Job

LABELS = np.array([0, 1] * 100)
ORDER = ["houlsby", "pfeiffer", "lora", "full", "head-only"]
HOSTILE = [
    "\x1b[31mred\x1b[0m\x07", "a\nb\r\nc\td", "\u202edrawkcab", "\x9b2J\x7f", "<script>alert(1)</script>", "a|b\\|c`d`",
    "[x](javascript:alert(1))", "![i](http://a/b.png)", "**b** _i_ ~s~ $m$ @name www.example.org", "\\input{/etc/passwd}",
    "100%_of#a&b{c}^2~$x$\\", "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "- item", "# heading", "1. item",
    "[0pt]", "*", "Schrödinger 猫 𝔸", "",
]  # fmt: skip
_NAMES = ("reference", "base", "base-long", "official", "study-main", "study-budgets", "h100")
COMMITTED = [Path(__file__).parent.parent / "results" / name for name in _NAMES]
"""Folders of records that are committed; whoever works here has others beside them."""
DATA = DataCut(sha256="d" * 64, cut="embedded-v1", train=22404, validation=500, test=200, duplicates_removed=96, leaked=0)
MACHINE = Environment(
    device="Some CPU", cpu="Some CPU", cores=2, threads=2, python="3.12.0", platform="Linux x86_64",
    versions={"torch": "2.13.0"}, commit=None, dirty=None,
)  # fmt: skip


def guesses(wrong: int) -> np.ndarray:
    """Predictions for `LABELS` of which the first `wrong` are wrong."""
    return np.where(np.arange(len(LABELS)) < wrong, 1 - LABELS, LABELS)


def logits_for(predictions: np.ndarray) -> np.ndarray:
    """Logits [n, 2] that give these predictions [n]."""
    return np.eye(2, dtype=np.float32)[predictions]


def evaluation(wrong: int, leaked: tuple[int, ...] = (), *, logits: bool = True) -> Evaluation:
    predictions = guesses(wrong)
    counts, correct = confusion(LABELS, predictions), predictions == LABELS
    return Evaluation(
        reviews=counts.reviews, **counts.fields(), leaked=list(leaked),
        accuracy_without_leaked=float(np.delete(correct, leaked).mean()),
        predictions=pack_bits(predictions), correct=pack_bits(correct),
        logits_sha256=logits_sha256(logits_for(predictions)) if logits else None,
    )  # fmt: skip


def kept(folder: Path, record: Record | Baseline) -> Path:
    """Write a record with the logits that its test names."""
    test = record.test
    predictions = unpack_bits(test.predictions, test.reviews) if test and test.logits_sha256 else None
    return save(folder, record, None if predictions is None else logits_for(predictions))


def folder_of(folder: Path, *records: Record | Baseline) -> Path:
    """The folder, with these records and their logits in it."""
    for record in records:
        kept(folder, record)
    return folder


def run(
    method: str = "houlsby", seed: int = 0, wrong: int = 20, *, spec: dict[str, Any] | None = None,
    leaked: tuple[int, ...] = (), **fields: Any,
) -> Record:  # fmt: skip
    """A run of a method with `wrong` of 200 predictions wrong; `fields` replace parts of the record."""
    settings: dict[str, Any] = {
        "method": method, "hyperparameters": {"learning_rate": 0.001}, "encoder": "minilm", "data": "embedded",
        "budget": Budget(amount=60, unit="seconds"), "seed": seed, "max_length": 128, "truncation": "head+tail",
        "batch_size": 16, "precision": "fp32", "device": "cpu", "threads": 2,
    }  # fmt: skip
    made = RunSpec(**{**settings, **(spec or {})})
    version, encoder = 1, Encoder(sha256="e" * 64, model_type="bert", pooling="mean")
    own = {"rules_version": version, "encoder": encoder, "data": DATA, **fields}
    identity = run_id(
        made, encoder_sha256=own["encoder"].sha256, data_sha256=own["data"].sha256, rules_version=own["rules_version"]
    )
    weights, trained, peak = 22_792_226, 226_080 + 770, 300 * 2**20
    curve = [
        CurvePoint(
            fraction=min(1.0, 64 * mark / 60), seconds=64 * mark, step=round(100 * mark), reviews=round(1600 * mark),
            tokens=round(160_000 * mark), loss=0.7 - 0.4 * mark, accuracy=0.8,
        )
        for mark in MARKS
    ]  # fmt: skip
    parts: dict[str, Any] = {
        "run_id": identity, "rules_version": version, "state": "complete", "finished": "2026-01-01T00:00:00+00:00",
        "spec": made, "environment": MACHINE, "data": DATA, "encoder": encoder,
        "parameters": Parameters(body=226_080, head=770, total=weights, closed_form=226_080),
        "training": Training(
            steps=100, reviews_seen=1600, reviews_distinct=1600, reviews_trained=1600, tokens_seen=160_000,
            tokens_padded=170_000, spent=64, overshoot=4, longest_step_seconds=5, loss_first=0.7, loss_last=0.3,
            curve=curve, frozen_sha256_before="f" * 64, frozen_sha256_after="f" * 64,
        ),
        "seconds": Seconds(setup=1, charged=64, paused=1, test=1, total=67, outside=68, outside_training=65),
        "timeline": Timeline(training_started=1, training_ended=66, test_started=66, test_ended=67),
        "memory": Memory(
            baseline=2**20, peak=301 * 2**20, peak_above_baseline=peak, ru_maxrss=310 * 2**20,
            split=MemorySplit(
                weights=4 * weights, gradients=4 * trained, optimizer=8 * trained, activations=peak - 4 * weights - 12 * trained
            ),
        ),
        "compute": Compute(cpu_seconds=100),
        "latency": [Latency(batch=batch, milliseconds=2 * batch, bare_milliseconds=batch) for batch in (1, 32)],
        "bytes_to_ship": 4 * trained + 1000,
        "test": evaluation(wrong, leaked),
        "out_of_domain": evaluation(wrong + 20, logits=False),
    }  # fmt: skip
    return Record(**{**parts, **fields})


def learning(*accuracies: float, method: str = "houlsby", seed: int = 0, speed: float = 1.0, **fields: Any) -> Record:
    """A run that took 15 s of its 60 for each quarter (times `speed`), with these validation accuracies."""
    curve = [
        CurvePoint(
            fraction=mark, seconds=60 * mark * speed, step=1, reviews=round(1600 * mark), tokens=1, loss=0.5, accuracy=accuracy
        )
        for mark, accuracy in zip(MARKS, accuracies, strict=False)
    ]
    whole = run(method, seed, **fields)
    assert whole.training
    return whole.model_copy(update={"training": whole.training.model_copy(update={"curve": curve})})


def trial(method: str, rate: float, accuracy: float, **fields: Any) -> Record:
    """A trial at a learning rate that had this validation accuracy at the end, and a better one before it."""
    spec = {"purpose": "trial", "hyperparameters": {"learning_rate": rate}, "seed": TUNING_SEED, **fields.pop("spec", {})}
    return learning(*[0.99] * 3, accuracy, method=method, spec=spec, test=None, **fields)


_AFTER_TRAINING = ("training", "seconds", "timeline", "compute", "latency", "bytes_to_ship", "test", "out_of_domain")


def ended(method: str, state: str, reason: str = "why it ended", seed: int = 0, **fields: Any) -> Record:
    """A run that did not get to its test."""
    return run(method, seed, state=state, reason=reason, **{**dict.fromkeys(_AFTER_TRAINING), **fields})


def baseline(reviews: int, wrong: int = 40, test_limit: int | None = None, **fields: Any) -> Baseline:
    own = {"rules_version": 1, "data": DATA, **fields}
    rows = sha256_bytes(f"{own['data'].cut} {reviews}".encode())
    named = {"vectorizer": "tf-idf", "classifier": "logistic"}
    spec = BaselineSpec(train_reviews=reviews, rows_sha256=rows, test_limit=test_limit, **named)
    identity = baseline_id(spec, data_sha256=own["data"].sha256, rules_version=own["rules_version"])
    parts: dict[str, Any] = {
        "run_id": identity, "rules_version": 1, "finished": "2026-01-01T00:00:00+00:00", "spec": spec,
        "environment": MACHINE, "data": DATA, "fit_seconds": 1.0, "test": evaluation(wrong, logits=False),
    }  # fmt: skip
    return Baseline(**{**parts, **fields})


def calibration(job: Job, ratios: dict[str, float], *, device: str = "Some CPU") -> Calibration:
    """A calibration of the setting of a job in which the reference does 1,000 tokens a second, others by these ratios."""
    setting = setting_of(job)
    own = {
        name: {field: value for field, value in methods.get(name).hyperparameters().items() if field != "learning_rate"}
        for name in ratios
    }
    finished = "2026-01-01T00:00:00+00:00"
    return Calibration(
        run_id=calibration_id(setting, list(own.items()), device, finished), rules_version=RULES_VERSION, finished=finished,
        encoder=job.spec.encoder, data=job.spec.data, setting=setting,
        environment=MACHINE.model_copy(update={"device": device, "threads": setting.threads}), reference=next(iter(ratios)),
        seconds_asked=60.0, seconds=60.0, rounds=9, rounds_counted=9, tokens_per_second=1000.0,
        methods=[
            MethodSpeed(method=name, hyperparameters=own[name], ratio=ratio, low=ratio, high=ratio)
            for name, ratio in ratios.items()
        ],
    )  # fmt: skip


def counted(method: str = "houlsby", seed: int = 0, tokens: int = 1_000_000, **fields: Any) -> Record:
    """A run of rules 3 under a budget of plain tokens."""
    spec = {"budget": Budget(amount=tokens, unit="tokens"), **fields.pop("spec", {})}
    return run(method, seed, rules_version=3, spec=spec, **fields)


def shared(
    method: str = "houlsby", seed: int = 0, tokens: int = 1_000_000, device: str = "Some CPU", name: str = "c", **fields: Any
) -> Record:
    """A run whose tokens are its method's share of a million reference tokens."""
    ratio = 1_000_000 / tokens
    conversion = Conversion(
        calibration=name, device=device, threads=2, asked="1,000,000 reference tokens", ratio=ratio,
        low=fields.pop("low", 0.99 * ratio), high=fields.pop("high", 1.01 * ratio), expected_seconds=60,
    )  # fmt: skip
    return counted(method, seed, tokens, spec={"reference_tokens": 1_000_000}, conversion=conversion, **fields)


def hostile(text: str) -> list[Record | Baseline]:
    """Records for every view in which every word that a report shows is `text`."""
    parts: dict[str, Any] = {
        "data": run().data.model_copy(update={"cut": text}),
        "environment": MACHINE.model_copy(update={"device": text}),
        "energy": Energy(joules=1, source=text),
    }
    spec = {"encoder": text, "hyperparameters": {"learning_rate": 0.001, "x": text}}
    other = {**spec, "hyperparameters": {"learning_rate": text, "x": text + "x"}}
    long = {"budget": run().spec.budget.model_copy(update={"amount": 240})}
    steps = {"budget": run().spec.budget.model_copy(update={"unit": "steps"})}
    tried: dict[str, Any] = {"purpose": "trial", "tuning": None}
    return [
        run(text, 0, 30, spec=spec, leaked=(0, 1), **parts),
        run(text, 0, 50, spec=other, **parts),
        run(text, 0, 60, spec={**other, "hyperparameters": {"learning_rate": 1, "x": text}}, **parts),
        run(text, 0, 10, spec={**spec, **long}, **parts),
        run(spec=spec, **parts),
        run(spec={**spec, **long}, **parts),
        run(text, spec={**spec, **steps}, **parts),
        run(text, spec={**spec, **tried}, test=None, **parts),
        run(text, spec={**other, **tried}, test=None, **parts),
        ended(text, "diverged", text, seed=1, spec={**spec, **tried}, **parts),
        ended(text, "failed", text, seed=1, spec=spec, **parts),
        baseline(22404, data=parts["data"]),
    ]


def groups(*records: Record | Baseline, reference: str = "houlsby") -> list[Group]:
    """The tables of the comparison."""
    return compare(records, reference, ORDER)


def one_group(*records: Record | Baseline, reference: str = "houlsby") -> Group:
    """The one table that these records make."""
    (group,) = groups(*records, reference=reference)
    return group


def said(group: Group) -> dict[str, str]:
    """The notes of a group by their kind."""
    return {note.kind: note.text for note in notes(group)}


def whole(wrong: int = 20, **fields: Any) -> Record:
    """A run of rules version 2 on the packaged encoder with everything that one can have."""
    encoder = run().encoder.model_copy(update={"sha256": find("minilm").sha256})
    made = run(wrong=wrong, rules_version=2, encoder=encoder, energy=Energy(joules=900, source="a counter"), **fields)
    assert made.compute is not None
    return made.model_copy(update={"compute": made.compute.model_copy(update={"flop_utilisation": 0.4})})


def put(record: Record, **parts: Any) -> Record:
    """The record with fields of its parts replaced and the id that then follows."""
    update = {
        name: getattr(record, name).model_copy(update=value) if isinstance(value, dict) else value
        for name, value in parts.items()
    }
    made = record.model_copy(update=update)
    identity = run_id(
        made.spec, encoder_sha256=made.encoder.sha256, data_sha256=made.data.sha256, rules_version=made.rules_version
    )
    return made.model_copy(update={"run_id": identity})
