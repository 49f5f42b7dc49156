"""From what a person asked for to the jobs that answer it, with everything checked that can be before time is spent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

import methods
from bench.analysis.tuning import Decision, rates
from bench.data.sources import read
from bench.data.task import Cut, cut
from bench.models.pretrained import PretrainedModel, find
from bench.records.schema import Conversion, DataCut
from bench.records.spec import Budget, checked_spec, parse_seeds, parse_size, tuning_seeds
from bench.system.device import device_model, resolve_device, resolve_precision, usable_cores
from bench.system.errors import SpecError
from bench.training.job import Job, job_of

__all__ = ["Convert", "Matrix", "Request", "converted", "extended", "plan", "tuned"]

_T = TypeVar("_T")
Convert = Callable[[Job], tuple[Budget, int, Conversion]]
"""From a job whose budget is calibrated to its own share in tokens, the reference's, and how they follow."""


@dataclass(frozen=True)
class Request:
    """What a person asked for, as it was written."""

    methods: list[str]
    encoder: str = "minilm"
    data: str = "embedded"
    budget: str = "60s"
    seeds: str = "1"
    max_length: int = 128
    truncation: str = "head+tail"
    batch_size: int = 16
    precision: str = "auto"
    device: str = "auto"
    memory: str | None = None
    test_limit: int | None = None
    tune: int | None = None
    tune_seeds: int = 2
    trials_only: bool = False
    calibration: str | None = None
    """The record of the calibration that converts budgets, of whatever machine it is."""
    hyperparameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Method → its hyperparameters that are not to be at their defaults."""
    dropout: float = 0.0
    attention_dropout: float = 0.0
    train_limit: int | None = None


@dataclass(frozen=True)
class Matrix:
    """Jobs in the order in which they are to be done, and what they share."""

    trials: list[Job]
    """Tuning trials, to be done first; empty where nothing is tuned."""
    jobs: list[Job]
    """The runs, all at the declared learning rates: where there are trials, `tuned` puts in the rates that they chose.
    Their budgets are as they were asked for until `converted`."""
    with_baseline: bool
    device: Literal["cpu", "cuda"]
    pretrained: PretrainedModel
    cut: Cut
    data: DataCut
    calibration: Path | None = None
    """The record of the calibration that was named; None: one of the results folder, made where there is none."""


def _methods(asked: list[str]) -> list[str]:
    if not asked:
        raise SpecError(f"name at least one method with --method: {', '.join(methods.names())} or all")
    return list(dict.fromkeys(name for entry in asked for name in methods.expand(entry)))


def _attaching(names: list[str], asked: list[str], pretrained: PretrainedModel) -> list[str]:
    """The methods that attach to encoders of this family; of a group, those that do.

    Raises:
        SpecError: if one that was asked for by its own name does not, or none does.
    """
    family = pretrained.shape.model_type
    found = [name for name in names if methods.get(name).supports(family)]
    refused = [name for name in names if name not in found and (name in asked or not found)]
    if refused:
        known = ", ".join(sorted(methods.get(refused[0]).families or ()))
        raise SpecError(
            f"--method {refused[0]} does not attach to a {family} encoder such as {pretrained.name!r}, only to {known}; "
            "python -m bench methods --encoder … shows which do"
        )
    return found


def _budgets(text: str) -> list[Budget]:
    """The budgets of a list with commas, in its order.

    Raises:
        SpecError: if one is not understood, or is there twice.
    """
    parts = [part.strip() for part in text.split(",")]
    budgets = [Budget.parse(part) for part in parts]
    for i, budget in enumerate(budgets):
        first = budgets.index(budget)
        if first < i:
            raise SpecError(f"budgets {parts[first]!r} and {parts[i]!r} are the same; name each once")
    return budgets


def _rates(request: Request, names: list[str], seeds: list[int]) -> dict[str, list[float]]:
    """The learning rates to try for each method, as many for one as for another; none without tuning."""
    if request.tune is None:
        if request.trials_only:
            raise SpecError("--trials-only needs trials; ask for them with --tune 3")
        return {}
    for name in names:
        if "learning_rate" in request.hyperparameters.get(name, {}):
            raise SpecError(f"tuning chooses the learning rate of {name}; leave it out of the hyperparameters, or do not tune")
    if request.tune_seeds < 1:
        raise SpecError(f"--tune-seeds {request.tune_seeds}: a trial needs at least 1 seed")
    kept = set(tuning_seeds(request.tune_seeds)) & set(seeds)
    if kept:
        raise SpecError(f"--seeds: seed {min(kept)} is kept for the tuning trials; choose another")
    return {name: rates(name, request.tune) for name in names}


def plan(request: Request, *, elsewhere: bool = False) -> Matrix:
    """Check everything that can be checked before anything is spent, and lay out the jobs.

    With `elsewhere`, other machines will do the runs: the device, `cpu` or `cuda`, need not be on this one, and a GPU is not
    asked what it is called, for which torch would be needed.

    Seeds are outermost; within a seed methods and budgets come in a random order that the seed gives (rules, section 7).

    Raises:
        BenchError: for the first thing that is wrong.
        MethodError: for an unknown method or hyperparameter.
    """
    names, budgets, seeds = _methods(request.methods), _budgets(request.budget), parse_seeds(request.seeds)
    tried = _rates(request, names, seeds)
    asked: Literal["cpu", "cuda"] = "cuda" if request.device == "cuda" else "cpu"
    device = asked if elsewhere else resolve_device(request.device)
    common: dict[str, Any] = {
        "max_length": request.max_length,
        "truncation": request.truncation,
        "batch_size": request.batch_size,
        "precision": resolve_precision(request.precision, device),
        "device": device,
        "threads": usable_cores(),
        "memory_cap": parse_size(request.memory) if request.memory else None,
        "dropout": request.dropout,
        "attention_dropout": request.attention_dropout,
    }
    settings = {name: methods.configured(name, request.hyperparameters.get(name, {})).hyperparameters() for name in names}
    pretrained = find(request.encoder)
    names = _attaching(names, request.methods, pretrained)
    if request.max_length > pretrained.longest:
        raise SpecError(
            f"--max-length {request.max_length} is more than the {pretrained.longest} positions of the encoder "
            f"{pretrained.name!r}; use at most that"
        )
    source = read(request.data)
    made = cut(source)
    reviews = len(made.train)
    if request.train_limit is not None:
        if not 2 <= request.train_limit <= reviews:
            raise SpecError(f"--train-limit {request.train_limit} must be between 2 and the {reviews:,} reviews to train on")
        # The whole of them and a limit equal to it are one and the same run.
        common["train_limit"] = None if request.train_limit == reviews else request.train_limit
        reviews = request.train_limit
    if request.batch_size > reviews:
        raise SpecError(f"--batch-size {request.batch_size} is more than the {reviews:,} reviews to train on")
    if request.test_limit is not None and not 2 <= request.test_limit <= len(made.test):
        raise SpecError(f"--test-limit {request.test_limit} must be between 2 and the {len(made.test):,} test reviews")
    data = DataCut(
        sha256=source.sha256, cut=made.name, train=len(made.train), validation=len(made.validation), test=len(made.test),
        duplicates_removed=made.duplicates_removed, leaked=len(made.leaked), revision=source.revision,
    )  # fmt: skip
    # The whole test and a limit equal to it are one and the same run.
    limit = None if request.test_limit == len(made.test) else request.test_limit
    model = "unknown" if elsewhere and device == "cuda" else device_model(device)

    def job(method: str, budget: Budget, **fields: Any) -> Job:
        spec = checked_spec(
            method=method, hyperparameters=settings[method], budget=budget,
            encoder=pretrained.name, data=source.name, **fields, **common,
        )  # fmt: skip
        return job_of(spec, pretrained, request.data, data, model)

    # Trials are never tested, so that they are the same under every limit of the test.
    trials = [
        job(name, budget, seed=seed, purpose="trial").at_rate(rate)
        for seed in (tuning_seeds(request.tune_seeds) if tried else [])
        for budget, name, rate in _shuffled([(b, n, r) for b in budgets for n in names for r in tried[n]], seed)
    ]
    tuning = {"tuning": request.tune, "tuning_seeds": request.tune_seeds if tried else None}
    jobs = [
        job(name, budget, seed=seed, test_limit=limit, **tuning)
        for seed in ([] if request.trials_only else seeds)
        for budget, name in _shuffled([(b, n) for b in budgets for n in names], seed)
    ]
    jobs = [replace(job, side_tests=job.spec.seed == seeds[0]) for job in jobs]
    with_baseline = bool(jobs) and set(methods.names(core=True)) <= set(names)
    named = None if request.calibration is None else Path(request.calibration)
    return Matrix(trials, jobs, with_baseline, device, pretrained, made, data, named)


def _shuffled(items: list[_T], seed: int) -> list[_T]:
    """The items in the order of the seed: what drifts within a seed falls on no method by its place in a list."""
    return [items[i] for i in np.random.default_rng([seed, len(items)]).permutation(len(items))]


def converted(matrix: Matrix, convert: Convert) -> Matrix:
    """The matrix with every calibrated budget in tokens of each method.

    Raises:
        SpecError: if a budget is too small for one batch of a method.
    """

    def of(job: Job) -> Job:
        return job.converted(*convert(job)) if job.spec.budget.calibrated else job

    return replace(matrix, trials=[of(job) for job in matrix.trials], jobs=[of(job) for job in matrix.jobs])


def extended(trials: Iterable[Job], more: Mapping[tuple[str, Budget], float]) -> list[Job]:
    """The trials of one more learning rate for each method and budget, with all tuning seeds."""
    found: dict[tuple[str, Budget, int], Job] = {}
    for job in trials:
        found.setdefault((job.spec.method, job.asked, job.spec.seed), job)
    return [job.at_rate(more[method, budget]) for (method, budget, _), job in found.items() if (method, budget) in more]


def tuned(jobs: Iterable[Job], decisions: Iterable[Decision]) -> list[Job]:
    """The runs at the learning rates chosen for their methods and budgets; those for which none was are left out."""
    chosen = {(decision.method, decision.budget): decision for decision in decisions}
    rated = [(job, chosen[job.spec.method, job.asked]) for job in jobs]
    return [job.at_rate(decision.rate, decision.choice) for job, decision in rated if decision.rate is not None]
