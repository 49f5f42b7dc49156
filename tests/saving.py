"""Classifiers with a method, and saved runs without a run: trained here for a few steps or not at all, with a made record."""

from __future__ import annotations

from pathlib import Path

import torch

import methods
from bench.models.classifier import Classifier, load_classifier
from bench.models.pretrained import PretrainedModel
from bench.records.artifacts import Saved, find, publish, stage, write
from bench.records.schema import Encoder, Record
from bench.records.spec import RunSpec
from tests.factories import run


def attached(pretrained: PretrainedModel, name: str, seed: int = 0) -> Classifier:
    """A classifier without dropout, with a method at its defaults."""
    classifier = load_classifier(pretrained, seed=seed, dropout=0.0, attention_dropout=0.0)
    torch.manual_seed(seed)
    classifier.encoder = methods.get(name).attach(classifier.encoder)
    return classifier


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
