"""Check that a record matches its name and id, and is complete for its state."""

from __future__ import annotations

from bench.records.attempts import ATTEMPTS, attempt_name, folder_of
from bench.records.audit.check import PARTS, Case, Checks, Mismatch, NotApplicable, same, within
from bench.records.integrity import expected_id
from bench.records.schema import Record
from bench.records.store import checksum_flaw, checksum_of, path_of
from bench.rules import SENTENCES, TUNING_SEED

__all__ = ["CHECKS", "LAST"]

CHECKS, LAST = Checks(), Checks()
"""The checksum is checked last, so that an edited figure is named first."""
_WHOLE = ("parameters", "training", "seconds", "timeline", "memory", "compute", "bytes_to_ship")
"""What every complete run has."""
_SINCE_RULES_2 = ("seconds.outside_training", "memory.ru_maxrss", "memory.split")
"""What every complete run has since then."""


@CHECKS("run id")
def _run_id(case: Case) -> str:
    """Check that the id is the hash of spec, encoder, reviews and rules version, for a baseline without the encoder, for a
    calibration of setting, methods, device and the time of its end.
    """
    return same(case.record.run_id, expected_id(case.record))


@CHECKS("file name")
def _file_name(case: Case) -> str:
    """Check that the file is called by method, encoder, budget, seed and id, as in its content, others by their own; that of an
    earlier attempt by the first digits of its checksum as well.
    """
    if case.path.parent.name == ATTEMPTS:
        return same(case.path.name, attempt_name(case.record, checksum_of(case.path)))
    return same(case.path.name, path_of(case.path.parent, case.record).name)


@CHECKS("earlier attempt")
def _earlier(case: Case) -> str:
    """Check that the record that a run replaced is kept, whole, among the attempts (rules, section 7)."""
    replaced = case.run.replaced
    if replaced is None:
        raise NotApplicable("it replaced none")
    copies = (folder_of(case.path) / ATTEMPTS).glob(f"*-{case.run.run_id}-*.json")
    if replaced not in map(checksum_of, copies):
        raise Mismatch(f"it replaced {replaced[:16]}…", f"no such record in {ATTEMPTS}/")
    return f"{replaced[:16]}…"


@CHECKS("threads")
def _threads(case: Case) -> str:
    """Check that torch had as many threads as the spec."""
    return same(case.run.environment.threads, case.run.spec.threads)


@CHECKS("state")
def _state(case: Case) -> str:
    """Check that a complete run holds every part and no reason, and one in another state a reason and no test."""
    run = case.run
    if run.state != "complete":
        if not run.reason:
            raise Mismatch(f"{run.state} without a reason", "a reason")
        tested = [part for part in PARTS if getattr(run, part) is not None]
        if tested:
            raise Mismatch(f"{run.state} with {', '.join(tested)}", "no test")
        return run.state
    if run.reason:
        raise Mismatch("complete with a reason", "no reason")
    required = [*_WHOLE, *(_SINCE_RULES_2 if run.rules_version >= 2 else ())]
    if run.spec.purpose == "run":
        required.append("test")
        if run.rules_version == 2:  # since rules 3 side tests are made on a method's first seed alone
            required += ["latency"] if run.spec.data == SENTENCES else ["latency", "out_of_domain"]
    lacking = [field for field in required if _is_null(run, field)]
    if lacking:
        raise Mismatch("complete", f"no {', '.join(lacking)}")
    return run.state


def _is_null(value: object, field: str) -> bool:
    for name in field.split("."):
        value = None if value is None else getattr(value, name)
    return value is None


@CHECKS("trial")
def _trial(case: Case) -> str:
    """Check that a tuning trial was not tested, names no tuning of its own, and has a seed that only trials have."""
    run = case.run
    if run.spec.purpose != "trial":
        raise NotApplicable("it is no tuning trial")
    if run.test is not None or run.out_of_domain is not None:
        raise Mismatch("a trial with a test", "no test")
    if run.spec.tuning is not None:
        raise Mismatch(f"a trial tuned by {run.spec.tuning} trials", "no tuning")
    return within(run.spec.seed, TUNING_SEED - 99, TUNING_SEED, "tuning seed")


@CHECKS("baseline reviews")
def _baseline_reviews(case: Case) -> str:
    """Check that a baseline was fitted on no more reviews than there are to train on."""
    if isinstance(case.tested, Record):
        raise NotApplicable("it is no baseline")
    fitted, train = case.tested.spec.train_reviews, case.tested.data.train
    if not 0 < fitted <= train:
        raise Mismatch(fitted, f"at most {train:,}")
    return f"{fitted:,} of {train:,}"


@CHECKS("baseline trials")
def _baseline_trials(case: Case) -> str:
    """Check that a baseline was tuned on validation: every C once, ascending, each accuracy a whole number of reviews right."""
    if isinstance(case.tested, Record) or case.tested.trials is None:
        raise NotApplicable("no C was tried")
    trials, reviews = case.tested.trials, case.tested.data.validation
    tried = [trial.c for trial in trials]
    if not tried or tried != sorted(set(tried)):
        raise Mismatch(tried, "different values of C, ascending")
    for trial in trials:
        right = trial.accuracy * reviews
        if not (0 <= right <= reviews and abs(right - round(right)) < 1e-6):
            raise Mismatch(trial.accuracy, f"a share of {reviews:,} reviews")
    return f"{len(trials)} values of C"


@LAST("checksum")
def _checksum(case: Case) -> str:
    """Check that the file has the checksum that it begins with; those of schema version 1 have none."""
    try:
        flaw = checksum_flaw(case.path)
    except (OSError, ValueError) as error:
        flaw = str(error)
    if flaw:
        raise Mismatch("it is as it was written", flaw)
    return "as written"
