"""Check that a run's own clock, its timeline and the clock of its parent process agree."""

from __future__ import annotations

from bench.records.audit.check import Case, Checks, Mismatch, NotApplicable, display, near, require, within
from bench.records.schema import Seconds, Timeline

__all__ = ["CHECKS"]

CHECKS = Checks()
_SHARE, _SLACK = 0.02, 0.25
"""Two clocks may differ by 2 %, or by a quarter of a second: two processes of a busy machine do not read at one moment."""


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
