"""All that a training loop is, taken out of it and put back: bit for bit the same loop, in another process.

The order of reviews needs no more than the number of steps, since it follows from the seed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.system.meters import MemoryPeak
from bench.training.checkpoint import Checkpoint, Counts, Owner, Place, Unusable
from bench.training.trainer import Trainer

__all__ = ["put_back", "taken"]


def taken(trainer: Trainer, owner: Owner, resumed: int) -> Checkpoint:
    """The loop's state. Tensors that train are not copied: write it before the next step."""
    ledger, clock, memory = trainer.ledger, trainer.clock, trainer.memory
    trainer.late.settle()
    memory.look()
    peak = memory.peak()
    place = Place(
        owner=owner, resumed=resumed, frozen_sha256=trainer.frozen_before,
        counts=Counts(**{name: getattr(ledger, name) for name in Counts.model_fields}),
        cpu_seconds=clock.cpu_seconds, joules=clock.joules, paused_seconds=clock.paused_seconds, baseline=peak.baseline,
        peak=peak.peak, cuda_allocated=peak.cuda_allocated, cuda_reserved=peak.cuda_reserved, ru_maxrss=memory.largest,
    )  # fmt: skip
    tensors = {**_whole(trainer), **_moments(trainer)}
    tensors["losses"] = torch.tensor(ledger.losses, dtype=torch.float64)
    tensors["distinct"] = torch.tensor(sorted(ledger.distinct), dtype=torch.int64)
    if trainer.features is not None:
        tensors["known"], tensors["features"] = torch.from_numpy(trainer.known), trainer.features[_rows(trainer)]
    return Checkpoint(place, tensors)


def put_back(checkpoint: Checkpoint, trainer: Trainer, owner: Owner) -> Place:
    """Make the loop, fresh from its rehearsal, what it was when the snapshot was taken.

    Raises:
        Unusable: if the snapshot is not this owner's, or does not fit the loop, which is then as it was.
    """
    place, tensors = checkpoint.place, dict(checkpoint.tensors)
    _check(place, tensors, trainer, owner)
    with torch.no_grad():
        for name, ours in _whole(trainer).items():
            if not name.startswith("generator/"):
                ours.copy_(tensors[name])
    torch.set_rng_state(tensors["generator/cpu"].clone())
    if trainer.device == "cuda":
        torch.cuda.set_rng_state(tensors["generator/cuda"].clone())
    parameters = _trained(trainer)
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, key, parameter = name.split("/", 2)
            state = trainer.optimizer.state[parameters[parameter]]
            state[key] = tensor.to(trainer.device, copy=True)
    ledger = trainer.ledger
    for name in Counts.model_fields:
        setattr(ledger, name, getattr(place.counts, name))
    ledger.losses, ledger.distinct = tensors["losses"].tolist(), set(tensors["distinct"].tolist())
    if "features" in tensors:
        trainer.known = tensors["known"].numpy().copy()
        trainer.features = torch.empty(len(trainer.known), tensors["features"].shape[1], device=trainer.device)
        trainer.features[_rows(trainer)] = tensors["features"].to(trainer.device)
    trainer.clock.resume(
        seconds=place.counts.seconds, cpu_seconds=place.cpu_seconds, joules=place.joules, paused_seconds=place.paused_seconds
    )
    trainer.memory.earlier = MemoryPeak(place.baseline, place.peak, place.cuda_allocated, place.cuda_reserved)
    trainer.memory.largest = max(trainer.memory.largest, place.ru_maxrss)
    return place


def _trained(trainer: Trainer) -> dict[str, Tensor]:
    return {name: p for name, p in trainer.classifier.named_parameters() if p.requires_grad}


def _whole(trainer: Trainer) -> dict[str, Tensor]:
    """What every snapshot of this loop holds in a shape that does not change: weights, buffers, generators."""
    tensors = {f"weights/{name}": p.detach() for name, p in _trained(trainer).items()}
    tensors |= {f"buffers/{name}": buffer for name, buffer in trainer.classifier.named_buffers()}
    tensors["generator/cpu"] = torch.get_rng_state()  # torch's generators are the only ones that a run seeds
    if trainer.device == "cuda":
        tensors["generator/cuda"] = torch.cuda.get_rng_state()
    return tensors


def _moments(trainer: Trainer) -> dict[str, Tensor]:
    """AdamW's moments and counters, as `optimizer/<which>/<parameter>`."""
    state = trainer.optimizer.state
    return {
        f"optimizer/{key}/{name}": value for name, p in _trained(trainer).items() for key, value in state.get(p, {}).items()
    }


def _rows(trainer: Trainer) -> Tensor:
    return torch.from_numpy(np.flatnonzero(trainer.known)).to(trainer.device)


def _check(place: Place, tensors: dict[str, Tensor], trainer: Trainer, owner: Owner) -> None:
    theirs, ours = place.owner.model_dump(), owner.model_dump()
    other = next((name for name in ours if theirs[name] != ours[name]), None)
    if other is not None:
        raise Unusable(f"it is of a run with another {other.replace('_', ' ')}")
    if place.frozen_sha256 != trainer.frozen_before:
        raise Unusable("it is of an encoder with other weights")
    reviews, trained = len(trainer.task.train), _trained(trainer)
    wanted = _whole(trainer) | {"losses": torch.empty(place.counts.steps, dtype=torch.float64)}
    if "known" in tensors or "features" in tensors:
        wanted["known"] = torch.empty(reviews, dtype=torch.bool)
        rows, features = tensors.get("known", torch.empty(0)).sum(), tensors.get("features", torch.empty(0))
        wanted["features"] = torch.empty(int(rows), features.shape[1] if features.ndim == 2 else 0)
    for name, parameter in trained.items() if place.counts.steps else ():
        wanted |= {f"optimizer/{moment}/{name}": parameter for moment in ("exp_avg", "exp_avg_sq")}
        wanted[f"optimizer/step/{name}"] = torch.empty(())
    distinct = tensors.get("distinct", torch.empty(0))
    if distinct.dtype == torch.int64 and distinct.ndim == 1 and bool(((distinct >= 0) & (distinct < reviews)).all()):
        wanted["distinct"] = distinct
    odd = sorted(wanted.keys() ^ tensors.keys()) or [name for name in wanted if not _alike(wanted[name], tensors[name])]
    if odd:
        raise Unusable(f"{odd[0][:80]!r} is missing, or is not what this run has")


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype
