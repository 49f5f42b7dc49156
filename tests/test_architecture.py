"""The wings of bench/, and which may import which: ARCHITECTURE.md shows them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEVELS = (
    {"cli"}, {"runs"}, {"training"}, {"inference", "report"}, {"analysis"}, {"data"}, {"records"}, {"models"}, {"system"},
    {"rules", "methods"},
)  # fmt: skip
"""From the top down. A wing imports itself and those below it; neither of two on one level imports the other."""
LEVEL = {wing: level for level, wings in enumerate(LEVELS) for wing in wings}
FACADE = {
    "bench": {"system", "api"},
    "bench.api": {"analysis", "inference", "records", "report", "rules", "runs", "system"},
    "bench.__main__": {"cli"},
}
"""Modules that stand beside the wings, with what each imports. The version is in `bench`, where every wing may read it."""
LONG = {"bench/records/schema.py"}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("bench", "methods")
    for path in sorted((ROOT / folder).rglob("*.py"))
}


def wing(module: str) -> str:
    """`bench.data.task` → data; `bench` itself and `methods` are their own."""
    parts = module.split(".")
    return parts[1] if parts[0] == "bench" and len(parts) > 1 else parts[0]


def imports(path: Path) -> Iterator[str]:
    """Modules of this project that a file imports anywhere in it, in functions as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            for alias in node.names:
                within = f"{node.module}.{alias.name}"
                yield within if within in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


ARROWS = {
    module: {target for target in imports(path) if target.split(".")[0] in ("bench", "methods")}
    for module, path in MODULES.items()
}


def test_every_import_goes_down() -> None:
    wrong = [
        f"{module} imports {target}"
        for module, targets in ARROWS.items()
        if module not in FACADE
        for target in sorted(targets - {"bench"})
        if wing(module) != wing(target) and LEVEL[wing(module)] >= LEVEL[wing(target)]
    ]
    assert wrong == []


def test_what_stands_beside_the_wings_imports_what_it_says() -> None:
    assert {module: {wing(target) for target in ARROWS[module]} for module in FACADE} == FACADE


def test_no_wing_reaches_itself_by_way_of_another() -> None:
    between: dict[str, set[str]] = {name: set() for name in LEVEL}
    for module, targets in ARROWS.items():
        if module not in FACADE:
            between[wing(module)] |= {wing(target) for target in targets} - {wing(module), "bench"}
    TopologicalSorter(between).prepare()  # raises CycleError, which names the circle


def test_modules_are_known_to_the_order() -> None:
    assert {wing(module) for module in MODULES if module not in FACADE} == set(LEVEL)


def test_the_top_of_the_package_is_short() -> None:
    top = {path.relative_to(ROOT / "bench").parts[0] for path in MODULES.values() if path.is_relative_to(ROOT / "bench")}
    assert len(top) <= 14, sorted(top)


def test_a_file_is_one_idea() -> None:
    files = [*MODULES.values(), *(ROOT / "tests").rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: count for name, count in lines.items() if count > 300 and name not in LONG} == {}


def test_modules_of_tests_do_not_import_each_other() -> None:
    """What several need stands beside them: `conftest`, `factories`, `classifiers`, `encoder_folders`, `reports`, `work`."""
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")}
    assert [path.name for path, text in texts.items() if re.search(r"^ *(from|import) (tests\b|\.).*\btest_", text, re.M)] == []


@pytest.mark.parametrize("package", ["cli", "report"])
def test_packages_on_the_way_of_help_import_nothing(package: str) -> None:
    """`--help` runs them, and must not wait for pandas or torch."""
    body = ast.parse((ROOT / "bench" / package / "__init__.py").read_text(encoding="utf-8")).body
    assert [type(node) for node in body] == [ast.Expr]


def test_work_that_is_named_by_a_string_is_there() -> None:
    named = {
        found for path in MODULES.values() for found in re.findall(r'"(bench[\w.]*:\w+)"', path.read_text(encoding="utf-8"))
    }
    assert len(named) >= 2
    for module, function in (name.split(":") for name in named):
        assert f"\ndef {function}(" in MODULES[module].read_text(encoding="utf-8")


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "SECURITY.md", "RULES.md", "README.md"])
def test_files_that_documents_name_are_there(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:bench|methods|tests|suites)/[\w./-]*)`", text)) | set(re.findall(r"\]\(([\w./-]+)\)", text))
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_architecture_is_a_page_that_shows_every_wing() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    picture = text.split("```")[1]
    shown = [name for line in picture.splitlines() for name in re.findall(r"\w+", line[:23]) if name in LEVEL]
    assert [LEVEL[name] for name in shown] == sorted(LEVEL.values())
