"""From a request to jobs: resolve names, validate, expand. Everything that can be checked is, before time is spent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

import methods
from bench.analysis.tuning import Decision, rates
from bench.data.sources import DataRequest, Reviews, read
from bench.data.task import Splits, split
from bench.models.pretrained import PretrainedModel, find
from bench.records.schema import DataCut
from bench.records.spec import Budget, parse_seeds, parse_size, spec_from_fields, tuning_seeds
from bench.runs.request import SHORTEST, Request
from bench.system.device import device_model, resolve_device, resolve_precision, usable_cores
from bench.system.errors import SpecError
from bench.system.files import expanded
from bench.training.job import Job, job_of

__all__ = ["Matrix", "Request", "extended", "plan", "tuned"]

MOST_PARAMETERS = 10
"""Times the encoder's own parameters that a method may train: more is a slip, and attaching it takes minutes."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Matrix:
    """Jobs in the order in which they run, and what they share."""

    trials: list[Job]
    """Tuning trials, which run first; empty without tuning."""
    jobs: list[Job]
    """Runs at the declared learning rates, until `tuned`, and with budgets as requested, until `converted`."""
    with_baseline: bool
    device: Literal["cpu", "cuda"]
    pretrained: PretrainedModel
    splits: Splits
    data: DataCut
    calibration: Path | None = None
    """The calibration's record that was named; None: one of the results folder, made where there is none."""
    note: str | None = None
    """One line on inferred columns, classes and splits."""


def _attaching(names: list[str], requested: list[str], pretrained: PretrainedModel) -> list[str]:
    """Select the methods that attach to encoders of this family; a group may hold others.

    Raises:
        SpecError: if one that was requested by its own name does not, or none does.
    """
    family = pretrained.shape.model_type
    attachable = [name for name in names if methods.get(name).supports(family)]
    refused = [name for name in names if name not in attachable and (name in requested or not attachable)]
    if refused:
        known = ", ".join(sorted(methods.get(refused[0]).families or ()))
        raise SpecError(
            f"--method {refused[0]} does not attach to {pretrained.name!r}, of family {family}, only to {known}; "
            "python -m bench methods --encoder … shows which do"
        )
    return attachable


def _settings(name: str, chosen: Mapping[str, Any], shape: methods.EncoderShape) -> dict[str, Any]:
    """Return all hyperparameters of a method, those that were chosen among them.

    Raises:
        MethodError: if the method does not have them.
        SpecError: if it would train far more parameters than the encoder has.
    """
    method = methods.configured(name, chosen)
    trained = method.trainable_parameters(shape)
    if chosen and trained > MOST_PARAMETERS * shape.parameters:
        raise SpecError(
            f"{name} would train {trained:,} parameters, over {MOST_PARAMETERS} times the encoder's own {shape.parameters:,}; "
            f"choose less of {', '.join(chosen)}"
        )
    return method.hyperparameters()


def _budgets(text: str) -> list[Budget]:
    """Parse a list of budgets with commas.

    Raises:
        SpecError: if one is not understood or repeated.
    """
    parts = [part.strip() for part in text.split(",")]
    budgets = [Budget.parse(part) for part in parts]
    for i, budget in enumerate(budgets):
        first = budgets.index(budget)
        if first < i:
            raise SpecError(f"budgets {parts[first]!r} and {parts[i]!r} are the same; name each once")
    return budgets


def _rates(request: Request, names: list[str], seeds: list[int]) -> dict[str, list[float]]:
    """Choose the learning rates to try, equally many for each method; none without tuning."""
    if request.tune is None:
        if request.trials_only:
            raise SpecError("--trials-only needs trials; ask for them with --tune 3")
        if request.tune_seeds != Request.tune_seeds:
            raise SpecError("--tune-seeds is for trials; ask for them with --tune 3, or leave it out")
        return {}
    for name in names:
        if "learning_rate" in request.hyperparameters.get(name, {}):
            raise SpecError(f"tuning chooses the learning rate of {name}; leave it out of the hyperparameters, or do not tune")
    if request.tune_seeds < 1:
        raise SpecError(f"--tune-seeds {request.tune_seeds}: a trial needs at least 1 seed")
    reserved = set(tuning_seeds(request.tune_seeds)) & set(seeds)
    if reserved:
        raise SpecError(f"--seeds: seed {min(reserved)} is kept for the tuning trials; choose another")
    return {name: rates(name, request.tune) for name in names}


def plan(request: Request, *, elsewhere: bool = False) -> Matrix:
    """Check everything that can be checked before anything is spent, and expand a request into jobs.

    With `elsewhere`, other machines execute the runs: this one need not have the device, `cpu` or `cuda`, and a GPU's model
    is not looked up, which would need torch.

    Raises:
        BenchError: for the first thing that is wrong.
    """
    if not request.methods:
        raise SpecError(f"name at least one method with --method: {', '.join(methods.names())} or all")
    names = list(dict.fromkeys(name for entry in request.methods for name in methods.expand(entry)))
    budgets, seeds = _budgets(request.budget), parse_seeds(request.seeds)
    if request.calibration == "":
        raise SpecError("--calibration is empty; give it a path, or leave it out")
    if request.calibration is not None and not any(budget.calibrated for budget in budgets):
        raise SpecError(f"--calibration converts seconds and reference tokens, not --budget {request.budget}; leave it out")
    unused = sorted(request.hyperparameters.keys() - set(names))
    if unused:
        raise SpecError(f"hyperparameters are set for {unused[0]}, which is not run; add it with --method {unused[0]}")
    tried = _rates(request, names, seeds)
    device: Literal["cpu", "cuda"] = "cuda" if request.device == "cuda" else "cpu"
    device = device if elsewhere else resolve_device(request.device)
    precision = resolve_precision(request.precision, device)
    if request.kernels == "graphs" and device != "cuda":
        raise SpecError(f"--kernels graphs needs a GPU, and the device is {device}; leave it out, or add --device cuda")
    memory_cap = None if request.memory is None else parse_size(request.memory)
    pretrained = find(request.encoder)
    names = _attaching(names, request.methods, pretrained)
    settings = {name: _settings(name, request.hyperparameters.get(name, {}), pretrained.shape) for name in names}
    if request.max_length < SHORTEST:
        raise SpecError(f"--max-length {request.max_length} is too short; keep at least {SHORTEST} tokens")
    if request.max_length > pretrained.longest:
        raise SpecError(
            f"--max-length {request.max_length} is more than the {pretrained.longest} positions of the encoder "
            f"{pretrained.name!r}; use at most that"
        )
    data_request = DataRequest(request.data, request.text_column, request.label_column)
    source = read(data_request)
    splits = split(source)
    limits = _limits(request, splits, len(source.labels))
    data = DataCut(
        sha256=source.sha256, cut=splits.name,
        train=len(splits.train), validation=len(splits.validation), test=len(splits.test),
        duplicates_removed=splits.duplicates_removed, leaked=len(splits.leaked), revision=source.revision,
        labels=source.labels, columns=None if source.columns is None else list(source.columns),
    )  # fmt: skip
    spec = spec_from_fields(
        method=names[0], hyperparameters=settings[names[0]], budget=budgets[0], seed=seeds[0], encoder=pretrained.name,
        data=source.name, max_length=request.max_length, truncation=request.truncation, batch_size=request.batch_size,
        precision=precision, device=device, threads=usable_cores(), memory_cap=memory_cap, dropout=request.dropout,
        attention_dropout=request.attention_dropout, classes=len(source.labels), kernels=request.kernels,
        test_limit=_limit(request.test_limit, splits.test),
    )  # fmt: skip
    model = "unknown" if elsewhere and device == "cuda" else device_model(device)
    template = job_of(spec, pretrained, data_request, data, model)
    trials, jobs = _expand(request, template, settings, budgets, seeds, tried, limits)
    with_baseline = bool(jobs) and set(methods.names(core=True)) <= set(names)
    calibration = None if request.calibration is None else expanded(request.calibration)
    return Matrix(trials, jobs, with_baseline, device, pretrained, splits, data, calibration, source.note)


def _expand(
    request: Request,
    template: Job,
    settings: dict[str, dict[str, Any]],
    budgets: list[Budget],
    seeds: list[int],
    tried: dict[str, list[float]],
    limits: list[int | None],
) -> tuple[list[Job], list[Job]]:
    """Cross methods, budgets and seeds into trials and runs. Seeds are outermost; within a seed the rest is shuffled by it
    (rules, section 7). Trials are never tested, so that they are the same under every limit of the test.
    """
    tuning = {"tuning": request.tune, "tuning_seeds": request.tune_seeds if tried else None}

    def job(method: str, **fields: Any) -> Job:
        return template.respecified(method=method, hyperparameters=settings[method], **fields)

    trials = [
        job(name, budget=budget, train_limit=limits[0], seed=seed, test_limit=None, purpose="trial").at_rate(rate)
        for seed in (tuning_seeds(request.tune_seeds) if tried else [])
        for budget, name, rate in _shuffled([(b, n, r) for b in budgets for n in settings for r in tried[n]], seed)
    ]
    jobs = [
        replace(job(name, budget=budget, train_limit=limit, seed=seed, **tuning), side_tests=seed == seeds[0])
        for seed in ([] if request.trials_only else seeds)
        for limit, budget, name in _shuffled([(m, b, n) for m in limits for b in budgets for n in settings], seed)
    ]
    return trials, jobs


def _limits(request: Request, splits: Splits, classes: int) -> list[int | None]:
    """Parse a list of limits of train with commas; the whole split is no limit. Check the limit of the test, too.

    Raises:
        SpecError: if one is no number, out of range, below a batch or repeated, or several are to be tuned.
    """
    parts = [] if request.train_limit is None else [part.strip() for part in str(request.train_limit).split(",")]
    limits, train = list[int | None](), splits.train
    for part in parts:
        if not re.fullmatch(r"-?[0-9]{1,12}", part, re.ASCII):
            raise SpecError(f"--train-limit {part!r} is no number of texts; write 1000, or several: 100,1000")
        if not classes <= int(part) <= len(train):
            raise SpecError(
                f"--train-limit {int(part)} must be between {classes} and the {len(splits.train):,} reviews to train on"
            )
        limits.append(_limit(int(part), train))
    if len(set(limits)) < len(limits):
        raise SpecError(f"--train-limit {request.train_limit} names a number twice; name each once")
    if len(limits) > 1 and request.tune is not None:
        raise SpecError("--tune chooses learning rates for one --train-limit; give them one at a time")
    reviews, tested = min((limit or len(train) for limit in limits), default=len(train)), len(splits.test)
    if request.batch_size > reviews:
        raise SpecError(f"--batch-size {request.batch_size} is more than the {reviews:,} reviews to train on")
    if request.test_limit is not None and not classes <= request.test_limit <= tested:
        raise SpecError(f"--test-limit {request.test_limit} must be between {classes} and the {tested:,} test reviews")
    return limits or [None]


def _limit(limit: int | None, split: Reviews) -> int | None:
    """Return a limit, or None if it is the whole split: both are one run."""
    return None if limit == len(split) else limit


def _shuffled(items: list[_T], seed: int) -> list[_T]:
    """Shuffle by the seed, so that drift within a seed falls on no method by its position in a list."""
    return [items[i] for i in np.random.default_rng([seed, len(items)]).permutation(len(items))]


def extended(trials: Iterable[Job], more: Mapping[tuple[str, Budget], float]) -> list[Job]:
    """Make the trials of one more learning rate for each method and budget, with all tuning seeds."""
    by_run: dict[tuple[str, Budget, int], Job] = {}
    for job in trials:
        by_run.setdefault((job.spec.method, job.requested_budget, job.spec.seed), job)
    return [job.at_rate(more[method, budget]) for (method, budget, _), job in by_run.items() if (method, budget) in more]


def tuned(jobs: Iterable[Job], decisions: Iterable[Decision]) -> list[Job]:
    """Set the chosen learning rates; leave out runs for which none was chosen."""
    by_method = {(decision.method, decision.budget): decision for decision in decisions}
    rated = [(job, by_method[job.spec.method, job.requested_budget]) for job in jobs]
    return [job.at_rate(decision.rate, decision.choice) for job, decision in rated if decision.rate is not None]
