"""Damages: what someone could have changed in a record, each with the check that has to find it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.records.schema import Latency, Record, pack_bits
from bench.records.spec import Budget
from bench.rules import PASSES, TUNING_SEED
from tests.factories import evaluation, put

Damage = Callable[[Record], Record]


def by(**parts: Any) -> Damage:
    return lambda record: put(record, **parts)


def more(part: str, field: str, by: float) -> Damage:
    """Another number in a field, `by` more."""
    return lambda record: put(record, **{part: {field: getattr(getattr(record, part), field) + by}})


def moved(field: str, bytes_: int) -> Damage:
    """Bytes moved to a field of the memory split from activations, so that the sum stays."""

    def damage(record: Record) -> Record:
        assert record.memory is not None
        split = record.memory.split
        assert split is not None
        changed = {field: getattr(split, field) + bytes_, "activations": split.activations - bytes_}
        return put(record, memory={"split": split.model_copy(update=changed)})

    return damage


def point(index: int, **fields: Any) -> Damage:
    """Other figures in a point of the curve."""

    def damage(record: Record) -> Record:
        assert record.training is not None
        curve = list(record.training.curve)
        curve[index] = curve[index].model_copy(update=fields)
        return put(record, training={"curve": curve})

    return damage


def forged_id(record: Record) -> Record:
    return record.model_copy(update={"spec": record.spec.model_copy(update={"dropout": 0.1})})


def split_off(record: Record) -> Record:
    assert record.memory is not None
    assert record.memory.split is not None
    split = record.memory.split
    return put(record, memory={"split": split.model_copy(update={"activations": split.activations + 1})})


def long_pauses(record: Record) -> Record:
    """1.7 s were not charged: 1.6 % of training with its pauses, and 2.6 % of it without."""
    times = {"training_ended": 105.0, "test_started": 105.0, "test_ended": 106.0}
    seconds = {"paused": 40.0, "total": 107.0, "outside": 108.0, "outside_training": 105.7}
    return put(record, timeline=times, seconds=seconds)


def went_on(**seconds: float) -> Damage:
    """Half of training was in a process that ended before."""
    parts = {"before": 32.5, "total": 35.0, "outside": 36.0, "outside_training": 32.5, **seconds}
    times = {"training_ended": 33.5, "test_started": 33.5, "test_ended": 34.5}
    return by(resumed=1, seconds=parts, timeline=times)


def on_kept_features(**training: Any) -> Damage:
    """The run of a head that was trained in passes over what was encoded, under rules 3, with other figures."""

    def made(record: Record) -> Record:
        steps = int(training.get("steps", 100 * PASSES))
        counted = {"budget": Budget(amount=1600 * 100, unit="tokens")}
        assert record.training is not None
        last = record.training.curve[-1].model_copy(update={"step": steps, "fraction": 1.0})
        parts = {
            "steps": steps, "reviews_trained": 1600 * PASSES, "spent": 160_000.0, "overshoot": 0.0, "curve": [last], **training,
        }  # fmt: skip
        return put(record.model_copy(update={"rules_version": 3}), spec=counted, training=parts)

    return made


def fewer_points(record: Record) -> Record:
    assert record.training is not None
    return put(record, training={"curve": record.training.curve[1:]})


def trial(**fields: Any) -> Damage:
    """A whole trial, with other fields."""

    def made(record: Record) -> Record:
        spec = record.spec.model_copy(update={"purpose": "trial", "seed": TUNING_SEED, **fields.pop("spec", {})})
        return put(record, spec=spec, **{"test": None, "out_of_domain": None, "latency": None, **fields})

    return made


MIB = 2**20
FIGURES = {
    "accuracy": "accuracy", "precision": "precision", "recall": "recall", "F1": "f1",
    "accuracy without leaked": "accuracy_without_leaked",
}  # fmt: skip
DAMAGES: list[tuple[str, Damage]] = [
    ("run id", forged_id),
    ("threads", by(environment={"threads": 3})),
    ("state", by(latency=None)),
    ("state", by(test=None)),
    ("state", by(reason="why")),
    ("state", by(state="failed")),
    ("state", by(state="failed", reason="why")),
    ("state", by(memory={"split": None})),
    ("state", by(seconds={"outside_training": None})),
    ("state", by(memory={"ru_maxrss": None})),
    ("trial", trial(spec={"seed": 0})),
    ("trial", trial(spec={"tuning": 3})),
    ("trial", trial(test=evaluation(20))),
    ("bits", by(test={"correct": pack_bits([1] * 100)})),
    ("bits", by(test={"reviews": 197})),
    ("bits", by(test={"predictions": "no base64"})),
    ("reviews", by(data={"test": 300})),
    ("reviews", by(spec={"test_limit": 100})),
    ("counts", by(test={"tp": 91, "fn": 9})),
    *((name, more("test", field, 1e-3)) for name, field in FIGURES.items()),
    *((f"out-of-domain {name}", more("out_of_domain", field, 1e-3)) for name, field in FIGURES.items()),
    ("leaked", by(data={"leaked": 2})),
    ("leaked", by(test={"leaked": [200]}, data={"leaked": 1})),
    ("logits", by(test={"logits_sha256": None})),
    ("logits", by(test={"logits_sha256": "../" * 21 + "a"})),
    ("logits", by(test={"logits_sha256": "a" * 64})),
    ("out-of-domain bits", by(out_of_domain={"correct": pack_bits([1] * 100)})),
    ("out-of-domain counts", by(out_of_domain={"tp": 81, "fn": 19})),
    ("out-of-domain leaked", by(out_of_domain={"leaked": [3]})),
    ("trainable parameters", more("parameters", "body", 1)),
    ("closed form", by(parameters={"body": 225_000, "closed_form": 225_000})),
    ("closed form", by(spec={"hyperparameters": {"learning_rate": 0.001, "reduction_factor": "many"}})),
    ("head", by(parameters={"head": 771})),
    ("all parameters", by(parameters={"total": 22_000_000})),
    ("bytes to ship", by(bytes_to_ship=1000)),
    ("frozen weights", by(training={"frozen_sha256_after": "0" * 64})),
    ("frozen weights", by(training={"frozen_sha256_before": "", "frozen_sha256_after": ""})),
    ("spent", by(training={"spent": 60.0, "overshoot": 0.0})),
    ("overshoot", by(training={"overshoot": 3.0})),
    ("at most one step too much", by(training={"longest_step_seconds": 3.0})),
    ("budget used up", by(spec={"budget": Budget(amount=70, unit="seconds")}, training={"overshoot": 0.0})),
    ("reviews trained on", by(training={"reviews_distinct": 1601})),
    ("reviews trained on", by(training={"reviews_trained": 1601})),
    ("reviews trained on", by(training={"reviews_seen": 1601})),
    ("tokens", by(training={"tokens_padded": 159_999})),
    ("tokens", by(training={"tokens_padded": 1600 * 128 + 1})),
    ("passes over cached features", on_kept_features(reviews_trained=1600 * (PASSES - 1))),
    ("passes over cached features", on_kept_features(steps=100 * (PASSES + 1))),
    ("longest step", by(training={"longest_step_seconds": 100.0})),
    ("curve in order", point(1, step=10)),
    ("curve in order", point(0, tokens=-1)),
    ("curve at its marks", fewer_points),
    ("curve at its marks", point(1, fraction=0.4)),
    ("curve fractions", point(0, fraction=0.3)),
    ("curve end", point(3, step=101)),
    ("validation accuracy", point(2, accuracy=0.8001)),
    ("validation accuracy", point(3, accuracy=0.8001)),
    ("resumed", by(seconds={"before": 1.0})),
    ("resumed", by(resumed=1)),
    ("resumed", by(resumed=1, seconds={"before": 70.0})),
    ("no test before training ended", by(timeline={"test_started": 65.0})),
    ("set-up", by(seconds={"setup": 0.5})),
    ("test seconds", by(seconds={"test": 0.5})),
    ("training seconds", by(timeline={"training_ended": 60.0})),
    ("training by the outside clock", by(seconds={"outside_training": 60.0})),
    ("charged by the outside clock", long_pauses),
    ("training seconds", went_on(before=20.0)),
    ("training by the outside clock", went_on(outside_training=65.0)),
    ("total", went_on(total=33.0)),
    ("total", by(seconds={"total": 60.0})),
    ("total", by(seconds={"outside": 60.0})),
    ("peak above baseline", more("memory", "peak_above_baseline", 1)),
    ("peak above baseline", by(memory={"peak": 0, "peak_above_baseline": 0})),
    ("peak by the kernel", by(memory={"ru_maxrss": 200 * MIB})),
    ("CUDA memory", by(memory={"cuda_allocated": 5})),
    ("memory cap", by(spec={"memory_cap": 100 * MIB})),
    ("memory split", split_off),
    ("memory of weights", moved("weights", -4)),
    ("memory of gradients", moved("gradients", -4)),
    ("memory of the optimizer", moved("optimizer", -4)),
    ("memory of the optimizer", moved("optimizer", MIB)),
    ("processor seconds", by(compute={"cpu_seconds": 200.0})),
    ("FLOP utilisation", by(compute={"flop_utilisation": 1.2})),
    ("latency", by(latency=[Latency(batch=batch, milliseconds=0, bare_milliseconds=1) for batch in (1, 32)])),
    ("latency", by(latency=[])),
    ("energy", by(energy={"joules": 0.0})),
]  # fmt: skip
