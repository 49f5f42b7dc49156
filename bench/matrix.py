"""From what a person asked for to the jobs that answer it, with everything checked that can be before time is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import methods
from bench.checkpoint import Checkpoint, find
from bench.device import device_model, resolve_device, resolve_precision, usable_cores
from bench.errors import UserError
from bench.jobs import Job
from bench.record import DataCut
from bench.reviews import read
from bench.spec import Budget, checked_spec, parse_seeds, parse_size, run_id
from bench.task import Cut, cut

__all__ = ["Matrix", "Request", "plan"]


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


@dataclass(frozen=True)
class Matrix:
    """Jobs in the order in which they are to be done, and what they share."""

    jobs: list[Job]
    with_floor: bool
    device: Literal["cpu", "cuda"]
    checkpoint: Checkpoint
    cut: Cut
    data: DataCut


def _methods(asked: list[str]) -> list[str]:
    if not asked:
        raise UserError(f"name at least one method with --method: {', '.join(methods.names())} or all")
    chosen: list[str] = []
    for name in asked:
        found = methods.names(core=True) if name == "all" else [name]
        chosen += [one for one in found if one not in chosen]
    for name in chosen:
        methods.get(name)
    return chosen


def plan(request: Request) -> Matrix:
    """Check everything that can be checked before anything is spent, and lay out the jobs.

    Seeds are the outer loop, so that a machine that grows slower or faster does so for every method alike.

    Raises:
        UserError: for the first thing that is wrong.
        MethodError: for an unknown method.
    """
    names, budget, seeds = _methods(request.methods), Budget.parse(request.budget), parse_seeds(request.seeds)
    device = resolve_device(request.device)
    common: dict[str, Any] = {
        "budget": budget,
        "max_length": request.max_length,
        "truncation": request.truncation,
        "batch_size": request.batch_size,
        "precision": resolve_precision(request.precision, device),
        "device": device,
        "threads": usable_cores(),
        "memory_cap": parse_size(request.memory) if request.memory else None,
    }
    checkpoint = find(request.encoder)
    if request.max_length > checkpoint.longest:
        raise UserError(
            f"--max-length {request.max_length} is more than the {checkpoint.longest} positions of the encoder "
            f"{checkpoint.name!r}; use at most that"
        )
    source = read(request.data)
    made = cut(source)
    if request.batch_size > len(made.train):
        raise UserError(f"--batch-size {request.batch_size} is more than the {len(made.train):,} reviews to train on")
    if request.test_limit is not None and not 2 <= request.test_limit <= len(made.test):
        raise UserError(f"--test-limit {request.test_limit} must be between 2 and the {len(made.test):,} test reviews")
    data = DataCut(
        sha256=source.sha256, cut=made.name, train=len(made.train), validation=len(made.validation), test=len(made.test),
        duplicates_removed=made.duplicates_removed, leaked=len(made.leaked), revision=source.revision,
    )  # fmt: skip
    # The whole test and a limit equal to it are one and the same run.
    limit = None if request.test_limit == len(made.test) else request.test_limit
    jobs: list[Job] = []
    model = device_model(device)
    for seed in seeds:
        for name in names:
            spec = checked_spec(
                method=name, hyperparameters=methods.get(name).hyperparameters(), encoder=checkpoint.name,
                data=source.name, seed=seed, test_limit=limit, **common,
            )  # fmt: skip
            identity = run_id(spec, encoder_sha256=checkpoint.sha256, data_sha256=data.sha256)
            jobs.append(Job(identity, spec, checkpoint, request.data, data, model))
    with_floor = set(methods.names(core=True)) <= set(names)
    return Matrix(jobs, with_floor, device, checkpoint, made, data)
