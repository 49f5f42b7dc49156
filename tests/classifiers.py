"""Classifiers with a method, attached, trained for a few steps, or saved without a run, with a made record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from bench.data.task import Task
from bench.models.classifier import Classifier, load_classifier
from bench.models.pretrained import PretrainedModel
from bench.records.artifacts import Saved, find, publish, stage, write
from bench.records.schema import Encoder, Record
from bench.records.spec import RunSpec
from bench.system.meters import DeviceClock, MemoryMeter
from bench.training.trainer import Trainer
from tests.conftest import make_spec
from tests.factories import run

CORE = methods.names(core=True)
EVERY = [pytest.param(name, marks=() if name in CORE else pytest.mark.slow) for name in methods.names()]
"""Each method for a test that trains or saves: those of the comparison by default; test_families.py has each once."""
IDS = torch.tensor([[101, 2023, 2003, 2307, 102], [101, 9643, 3185, 102, 1], [101, 2307, 3185, 9643, 102]])
MASK = (IDS != 1).long()


def attached(pretrained: PretrainedModel, name: str, seed: int = 0) -> Classifier:
    """A classifier without dropout, with a method at its defaults."""
    classifier = load_classifier(pretrained, seed=seed, dropout=0.0, attention_dropout=0.0)
    torch.manual_seed(seed)
    classifier.encoder = methods.get(name).attach(classifier.encoder)
    return classifier


def loop_for(pretrained: PretrainedModel, task: Task, name: str, **fields: Any) -> Trainer:
    spec = make_spec(name, **fields)
    classifier = attached(pretrained, name, spec.seed)
    return Trainer(classifier, task, spec, methods.get(name).encodes_once, DeviceClock("cpu"), MemoryMeter("cpu"))


def trained(pretrained: PretrainedModel, task: Task, name: str, **fields: Any) -> Trainer:
    trainer = loop_for(pretrained, task, name, **fields)
    trainer.warm_up()
    trainer.run()
    return trainer


def body(encoder: torch.nn.Module) -> int:
    return sum(p.numel() for p in encoder.parameters() if p.requires_grad)


def record_of(pretrained: PretrainedModel, spec: RunSpec) -> Record:
    encoder = Encoder(sha256=pretrained.sha256, model_type=pretrained.config["model_type"], pooling=pretrained.pooling)
    return run(spec.method, spec=dict(spec), encoder=encoder)


def keep(out: Path, pretrained: PretrainedModel, classifier: Classifier, spec: RunSpec) -> Saved:
    """Save a classifier as `run --save` does, without its record."""
    record = record_of(pretrained, spec)
    with stage(out, record.run_id) as folder:
        write(methods.get(spec.method), classifier, folder)
        publish(folder, out, record)
    return find(record.run_id, out)
