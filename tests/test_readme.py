"""The README says what is so: its table is that of the committed records, its commands and options exist."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from bench.record import Record
from bench.report.readme import ROOT, updated
from bench.store import Damaged, load, load_logits

RESULTS = ROOT / "results" / "reference"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_is_that_of_the_committed_records() -> None:
    assert updated(README, RESULTS) == README, "run: make readme"


def test_committed_records_are_whole_and_clean() -> None:
    found = list(load(RESULTS))
    assert not [item for item in found if isinstance(item, Damaged)]
    for record in found:
        assert not isinstance(record, Damaged)
        assert record.environment.dirty is False
        assert record.environment.commit
        if isinstance(record, Record) and record.test is not None and record.test.logits_sha256:
            logits = load_logits(RESULTS, record.test.logits_sha256)
            assert len(logits) == record.test.reviews


@pytest.mark.parametrize("command", ["run", "suites", "report", "methods", "doctor", "schema"])
def test_commands_exist_and_their_options_are_in_the_readme(command: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "bench", command, "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert command in README
    if command == "run":
        options = set(re.findall(r"--[a-z][a-z-]+", shown)) - {"--help", "--method"}
        assert not {option for option in options if f"`{option}`" not in README}


def test_the_example_of_a_method_keeps_the_contract() -> None:
    example = README.split("```python\n")[1].split("```")[0]
    from dataclasses import dataclass

    from methods.base import EncoderShape, Method, register, registered

    scope = {"register": register, "dataclass": dataclass, "Method": Method}
    try:
        exec(example, scope)
        method = registered["bias-of-output"]
        assert method.trainable_parameters(EncoderShape("bert", 100, 10, 2, 8, 3, 16)) == 24
    finally:
        registered.pop("bias-of-output", None)
