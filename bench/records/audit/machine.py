"""Whether clocks agree with each other, and memory, processor time, latency and energy are possible and add up."""

from __future__ import annotations

from math import inf

import methods
from bench.records.audit.check import Case, Checks, Mismatch, NotApplicable, display, near, require, same, within
from bench.records.schema import Memory, MemorySplit, Seconds, Timeline

__all__ = ["CHECKS"]

CHECKS = Checks()
_SHARE, _SLACK = 0.02, 0.25
"""Two clocks may differ by 2 %, or by a quarter of a second: two processes of a busy machine do not read at one moment."""
_FLOAT = 4
"""Bytes of a weight and of its gradient; all are kept in fp32, where arithmetic is bf16 too."""
_SMALL = 2**12
"""Bytes allowed for AdamW's counters, four a tensor, where they are more than 1 % of the moments."""
_BUFFERS = 2**16
"""Bytes allowed for buffers such as position ids, where they are more than 1 % of the weights."""


def _times(case: Case) -> Timeline:
    return require(case.run.timeline, "a timeline")


def _seconds(case: Case) -> Seconds:
    return require(case.run.seconds, "a division of the time")


def _training_seconds(seconds: Seconds) -> float:
    """Training with its pauses in the last process of the run, whose clocks and timeline are recorded."""
    return seconds.charged + seconds.paused - seconds.before


@CHECKS("resumed")
def _resumed(case: Case) -> str:
    """Check that a run resumed from a checkpoint spent time before it, no more than its whole training; any other none."""
    seconds, resumed = _seconds(case), case.run.resumed
    if not resumed:
        return near(seconds.before, 0.0)
    return within(seconds.before, 1e-9, seconds.charged + seconds.paused + 1e-9, "seconds before")


@CHECKS("no test before training ended")
def _order(case: Case) -> str:
    """Check that the test began when training had ended."""
    times = _times(case)
    return within(times.test_started, times.training_ended, times.test_ended, "seconds")


@CHECKS("set-up")
def _setup(case: Case) -> str:
    """Check that set-up is all that was before training."""
    return near(_seconds(case).setup, _times(case).training_started)


@CHECKS("test seconds")
def _test(case: Case) -> str:
    """Check that the seconds of the test are those from its start to its end."""
    times = _times(case)
    return near(_seconds(case).test, times.test_ended - times.test_started, slack=1e-6)


@CHECKS("training seconds")
def _training(case: Case) -> str:
    """Check that training took what was charged and paused together, within 2 %; time before a checkpoint from which the
    run resumed is left out.
    """
    seconds, times = _seconds(case), _times(case)
    return near(_training_seconds(seconds), times.training_ended - times.training_started, share=_SHARE, slack=_SLACK)


@CHECKS("training by the outside clock")
def _outside_training(case: Case) -> str:
    """Check that the process that started the run saw training last as long, charged and paused together, within 2 %; time
    before a checkpoint from which the run resumed is left out.
    """
    seconds = _seconds(case)
    outside = require(seconds.outside_training, "training by the outside clock")
    return near(_training_seconds(seconds), outside, share=_SHARE, slack=_SLACK)


@CHECKS("charged by the outside clock")
def _outside_charged(case: Case) -> str:
    """Check that under a time budget the charge is the outside clock's training without pauses, within 2 %."""
    seconds = _seconds(case)
    outside = require(seconds.outside_training, "training by the outside clock")
    if case.run.spec.budget.unit != "seconds":
        raise NotApplicable("the budget is not of time")
    if case.run.resumed:
        raise NotApplicable("the run resumed from a checkpoint, and no one process saw all of it")
    return near(seconds.charged, outside - seconds.paused, share=_SHARE, slack=_SLACK)


@CHECKS("total")
def _total(case: Case) -> str:
    """Check that the run lasted at least as long as its parts, and no longer than the process that started it saw."""
    seconds, times = _seconds(case), _times(case)
    for name, value in seconds.model_dump().items():
        if value is not None and value < 0:
            raise Mismatch(f"{name} {display(value)}", "no time below 0")
    parts = seconds.setup + _training_seconds(seconds) + seconds.test
    outside = float("inf") if seconds.outside is None else seconds.outside + _SLACK
    return within(seconds.total, max(parts, times.test_ended) - 1e-6, outside, "seconds")


def _memory(case: Case) -> Memory:
    return require(case.run.memory, "memory")


def _split(case: Case) -> MemorySplit:
    return require(_memory(case).split, "a division of the memory")


def _trained(case: Case) -> int:
    counts = require(case.run.parameters, "a count of parameters")
    return counts.body + counts.head


@CHECKS("peak above baseline")
def _above(case: Case) -> str:
    """Check that it is the peak less the baseline, and the peak is not below the baseline."""
    memory = _memory(case)
    within(memory.peak, memory.baseline, inf, "bytes")
    return same(memory.peak_above_baseline, memory.peak - memory.baseline)


@CHECKS("peak by the kernel")
def _kernel(case: Case) -> str:
    """Check that the most that the kernel gave for the whole process is no less than the peak of training (1 %: it counts
    pages in batches for each processor).
    """
    memory = _memory(case)
    largest = require(memory.ru_maxrss, "the kernel's own count")
    if largest < 0.99 * memory.peak:
        raise Mismatch(f"{largest:,} at most", f"a peak of {memory.peak:,} in training")
    return f"{largest:,}"


@CHECKS("CUDA memory")
def _cuda(case: Case) -> str:
    """Check that on CUDA the allocator held at least the allocations; on a CPU there is neither."""
    memory, device = _memory(case), case.run.spec.device
    figures = (memory.cuda_allocated, memory.cuda_reserved)
    if any((figure is None) == (device == "cuda") for figure in figures):
        raise Mismatch(f"{figures[0]} allocated, {figures[1]} held", f"a run on {device}")
    if memory.cuda_allocated is None or memory.cuda_reserved is None:
        return "none"
    return within(memory.cuda_reserved, memory.cuda_allocated, inf, "bytes held")


@CHECKS("memory cap")
def _cap(case: Case) -> str:
    """Check that a complete run took no more than its cap."""
    memory, cap = _memory(case), case.run.spec.memory_cap
    if cap is None or case.run.state != "complete":
        raise NotApplicable("there is no cap" if cap is None else f"the run ended as {case.run.state}")
    held = memory.peak_above_baseline if memory.cuda_reserved is None else memory.cuda_reserved
    return within(held, 0, cap, "bytes")


@CHECKS("memory split")
def _sum(case: Case) -> str:
    """Weights, gradients, optimizer and activations sum to the memory of training, or to more
    where nothing is left for activations.
    """
    memory, split = _memory(case), _split(case)
    tensors = split.weights + split.gradients + split.optimizer
    return same(split.activations, max(0, memory.training_bytes - tensors))


@CHECKS("memory of weights")
def _weights(case: Case) -> str:
    """Four bytes a parameter, and at most 1 % or 64 KiB for buffers, unless the method says that it has more."""
    least, name = _FLOAT * require(case.run.parameters, "a count of parameters").total, case.run.spec.method
    more = name in methods.names() and methods.get(name).has_buffers
    return within(_split(case).weights, least, inf if more else least + max(least // 100, _BUFFERS), "bytes")


@CHECKS("memory of gradients")
def _gradients(case: Case) -> str:
    """Four bytes a trainable parameter of body and head."""
    return same(_split(case).gradients, _FLOAT * _trained(case))


@CHECKS("memory of the optimizer")
def _optimizer(case: Case) -> str:
    """Eight bytes a trainable parameter, AdamW's two moments, and less than 1 % or 4 KiB for its counters."""
    recorded, moments = _split(case).optimizer, 2 * _FLOAT * _trained(case)
    if case.run.training is None or case.run.training.steps < 1:
        raise NotApplicable("no step was taken")
    return within(recorded, moments, moments + max(moments // 100, _SMALL), "bytes")


@CHECKS("processor seconds")
def _processor(case: Case) -> str:
    """No more than all the processors of the process can give in the seconds charged, and 2 %."""
    seconds = _seconds(case)
    most = 1.02 * seconds.charged * case.run.environment.cores + 0.05
    return within(require(case.run.compute, "processor time").cpu_seconds, 0.0, most, "seconds")


@CHECKS("FLOP utilisation")
def _utilisation(case: Case) -> str:
    """Check that it is a share of the device's peak: above 0 and at most 1."""
    compute = require(case.run.compute, "processor time")
    return within(require(compute.flop_utilisation, "FLOP utilisation"), 1e-12, 1.0, "of the peak")


@CHECKS("latency")
def _latency(case: Case) -> str:
    """There is one for a single review and one for 32, and all are above 0."""
    measured = require(case.run.latency, "latency")
    same(", ".join(str(entry.batch) for entry in measured), "1, 32")
    for entry in measured:
        for value in (entry.milliseconds, entry.bare_milliseconds, entry.merged_milliseconds):
            within(1.0 if value is None else value, 1e-9, inf, "milliseconds")
    return f"{measured[0].milliseconds:.4g} and {measured[1].milliseconds:.4g} ms"


@CHECKS("energy")
def _energy(case: Case) -> str:
    """Check that the device's counter moved forward, and is named."""
    energy = require(case.run.energy, "energy")
    if not energy.source:
        raise Mismatch("no source", "the counter's name")
    return within(energy.joules, 1e-9, inf, "joules")
