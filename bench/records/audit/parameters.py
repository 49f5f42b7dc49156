"""Check parameter counts against the method's closed form, and that frozen weights did not change."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache

import methods
from bench.models.pretrained import PACKAGED, find
from bench.models.split_archive import MPNET
from bench.records.audit.check import Case, Checks, Mismatch, NotApplicable, require, same, within
from bench.records.schema import Parameters
from bench.system.errors import BenchError
from methods import EncoderShape

__all__ = ["CHECKS"]

CHECKS = Checks()
_FLOAT = 4
"""Bytes of a weight; all are kept in fp32."""


@cache
def _packaged(name: str) -> tuple[str, EncoderShape] | None:
    """Hash and shape of an encoder that arrives as a package or packages; None for any other, since a record opens no
    folder and asks no hub.
    """
    with suppress(BenchError):
        if name in (*PACKAGED, MPNET):
            pretrained = find(name)
            return pretrained.sha256, pretrained.shape
    return None


def _shape(case: Case) -> EncoderShape:
    shape = _packaged(case.run.spec.encoder)
    if shape is None or shape[0] != case.run.encoder.sha256:
        raise NotApplicable("the encoder is not at hand")
    return shape[1]


def _counts(case: Case) -> Parameters:
    return require(case.run.parameters, "a count of parameters")


@CHECKS("trainable parameters")
def _trainable(case: Case) -> str:
    """Check that as many parameters of the encoder train as the closed form says; only a run refused for it differs."""
    counts = _counts(case)
    if case.run.state == "failed":
        raise NotApplicable("the run failed, as one must whose counts differ")
    return same(counts.body, counts.closed_form)


@CHECKS("closed form")
def _closed_form(case: Case) -> str:
    """Check that the closed form is what the method's formula gives for the record's hyperparameters and encoder."""
    says, shape, spec = _counts(case).closed_form, _shape(case), case.run.spec
    try:
        methods.get(spec.method)
    except methods.MethodError:
        raise NotApplicable("the method is not installed") from None
    try:
        gives = methods.build(spec.method, spec.hyperparameters).trainable_parameters(shape)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise Mismatch(says, f"no count ({type(error).__name__} from the hyperparameters)") from None
    return same(says, gives)


@CHECKS("head")
def _head(case: Case) -> str:
    """One linear layer from the encoder's width d to k classes: k (d + 1) parameters, where the encoder is pooled."""
    counts, shape = _counts(case), _shape(case)
    if case.run.encoder.pooling == "own head":
        raise NotApplicable("the checkpoint brings its own head")
    return same(counts.head, case.run.spec.classes * (shape.width + 1))


@CHECKS("all parameters")
def _all(case: Case) -> str:
    """There are at least as many parameters as train, and as the encoder and the head have."""
    counts = _counts(case)
    least = counts.body + counts.head
    with suppress(NotApplicable):
        least = max(least, _shape(case).parameters + counts.head)
    return within(counts.total, least, float("inf"), "parameters")


@CHECKS("bytes to ship")
def _bytes_to_ship(case: Case) -> str:
    """Check that the files of trained weights are at least four bytes a parameter of encoder and head."""
    size, counts = require(case.run.bytes_to_ship, "a size of files"), _counts(case)
    return within(size, _FLOAT * (counts.body + counts.head), float("inf"), "bytes")


@CHECKS("frozen weights")
def _frozen(case: Case) -> str:
    """Check that the hash of all weights that must not change is the same before and after training."""
    training = require(case.run.training, "training")
    if case.run.state == "failed":
        raise NotApplicable("the run failed, as one must whose hashes differ")
    if not re.fullmatch(r"[0-9a-f]{64}", training.frozen_sha256_before):
        raise Mismatch(training.frozen_sha256_before, "a hash of 64 hex digits")
    return same(training.frozen_sha256_after, training.frozen_sha256_before)[:12] + "…"
