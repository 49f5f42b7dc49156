"""The README says what is so: its table is that of the committed records, its commands and options exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from bench.cli.app import app
from bench.records.store import Damaged, load
from tests.factories import COMMITTED
from tests.measurements.readme import DOCUMENTS, ROOT, updated

RESULTS = ROOT / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPTIONS = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_tables_are_those_of_the_committed_records(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert text.count(": begin, written by make readme -->") == text.count("<!-- end -->") > 0
    assert updated(text, RESULTS) == text, "run: make readme"


def test_every_mark_is_filled() -> None:
    begin, end = "<!-- tuning of reference: begin, written by make readme -->", "<!-- end -->"
    text = updated(f"a\n{begin}\nold\n{end}\nb\n{begin}\n{end}\n", RESULTS)
    assert "old" not in text
    assert text.startswith(f"a\n{begin}\n**Tuning trials")
    assert text.count("**Tuning trials") == 2
    assert f"\n{end}\nb\n" in text


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_committed_records_are_whole_and_clean(folder: Path) -> None:
    """Their logits are audited in tests/records/test_audit.py."""
    found = list(load(folder))
    assert found
    for record in found:
        assert not isinstance(record, Damaged), record
        assert record.environment.dirty is False
        assert record.environment.commit


def test_commands_exist_and_the_options_of_run_are_documented() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for command in ("run", "suites", "report", "methods", "doctor", "schema"):
        assert command in commands
        assert command in README
    options = {word for option in commands["run"].params for word in option.opts if word.startswith("--")} - {"--method"}
    assert {option for option in options if f"`{option}`" not in OPTIONS} == set()


def test_the_example_of_a_method_keeps_the_contract() -> None:
    example = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    from methods.base import EncoderShape, Method, register, registered

    scope = {"register": register, "Method": Method}
    try:
        exec(example, scope)
        method = registered["bias-of-output"]
        assert method.trainable_parameters(EncoderShape("bert", 100, 10, 2, 8, 3, 16)) == 24
    finally:
        registered.pop("bias-of-output", None)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
    own = re.sub(r"<!-- .*?begin.*?<!-- end -->", "", README, flags=re.DOTALL)
    prose = "\n".join("" if line.startswith(("    ", "#", "!")) else line for line in own.splitlines())
    sentences = re.split(r"(?<=[.:;?])\**\s+|\n\s*\n", re.sub(r"\]\([^)]*\)", "]", prose))
    assert [one for one in sentences if len(one.split()) > 30] == []


@pytest.mark.parametrize("name", sorted({*DOCUMENTS, "CONTRIBUTING.md", "docs/options.md", "docs/methods.md"}))
def test_files_and_pictures_that_are_linked_are_there(name: str) -> None:
    document = ROOT / name
    links = re.findall(r"\]\(([^)#:\s]+)\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
