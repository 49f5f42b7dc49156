"""Set-up of every run and every timed slice: texts, encoder and method."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import torch

import methods
from bench.data.task import Task, prepare, splits_of
from bench.models.classifier import Classifier, load_classifier
from bench.records.schema import Parameters
from bench.system.allocator import keep_freed
from bench.system.meters import MemoryMeter
from bench.training.job import Job
from bench.training.warm_up import warm_up_libraries

__all__ = ["Setup", "set_up"]


class Setup(NamedTuple):
    """Texts, classifier and meters of a run."""

    task: Task
    classifier: Classifier
    """On its device, in training mode, with the method attached."""
    method: methods.Method
    parameters: Parameters


def set_up(job: Job, memory: MemoryMeter) -> Setup:
    """Load the texts, start the memory meter, load the encoder and attach the method."""
    spec, pretrained = job.spec, job.pretrained
    torch.set_num_threads(spec.threads)
    torch.set_float32_matmul_precision("highest")  # no TF32: fp32 is fp32 on every device
    keep_freed()
    task = prepare(pretrained, job.data.sha256, lambda: splits_of(job.data_argument, job.data.sha256))
    task = task.sample(spec.train_limit, spec.seed)
    method = methods.build(spec.method, spec.hyperparameters)
    if method.backend is not None:
        import_module(method.backend)  # no method is charged with the memory of its library
    if spec.device == "cpu":
        warm_up_libraries(spec.precision)
    memory.start()
    classifier = load_classifier(
        pretrained, seed=spec.seed, dropout=spec.dropout, attention_dropout=spec.attention_dropout, classes=spec.classes
    )
    torch.manual_seed(spec.seed)
    classifier.encoder = method.attach(classifier.encoder)
    classifier.head.requires_grad_(True)
    parameters = Parameters(
        body=sum(p.numel() for p in classifier.encoder.parameters() if p.requires_grad),
        head=sum(p.numel() for p in classifier.head.parameters()),
        total=sum(p.numel() for p in classifier.parameters()),
        closed_form=method.trainable_parameters(pretrained.shape),
    )
    return Setup(task, classifier.to(spec.device).train(), method, parameters)
