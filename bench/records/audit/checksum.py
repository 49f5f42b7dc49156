"""Check that a file is unchanged. This check is last, so that an edited figure is named first."""

from __future__ import annotations

from bench.records.audit.check import Case, Checks, Mismatch
from bench.records.store import checksum_flaw

__all__ = ["CHECKS"]

CHECKS = Checks()


@CHECKS("checksum")
def _checksum(case: Case) -> str:
    """Check that the file has the checksum that it begins with; those of schema version 1 have none."""
    try:
        flaw = checksum_flaw(case.path)
    except (OSError, ValueError) as error:
        flaw = str(error)
    if flaw:
        raise Mismatch("it is as it was written", flaw)
    return "as written"
