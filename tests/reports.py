"""What tests of reports, figures and the page share: records for them, and what may stand in LaTeX and Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from bench.analysis.comparison import Group
from bench.analysis.tuning import sensitivities
from bench.records.schema import Baseline, Parameters, Record
from bench.records.spec import Budget
from bench.report.figures import drawings
from bench.report.figures.figure import Drawing
from bench.report.page import page
from tests.factories import HOSTILE, MACHINE, ORDER, baseline, ended, groups, hostile, run, trial


def usual() -> list[Record | Baseline]:
    big = Parameters(body=22_565_376, head=592_130, total=23_157_506, closed_form=22_565_376)
    return [
        *(run(seed=seed, wrong=20 + seed) for seed in range(3)),
        *(run("pfeiffer", seed, 24) for seed in range(3)),
        *(run("full", seed, 16, parameters=big) for seed in range(2)),
        ended("full", "out-of-memory", seed=2),
        run("head-only", 0, 60),
        run("head-only", 0, 50, spec={"hyperparameters": {"learning_rate": 0.003}}),
        baseline(22404),
        baseline(1600),
    ]


def ugly(*more: str) -> list[Record | Baseline]:
    """One group in which every hostile word is a method, a setting, a name of the encoder and a reason."""
    words = [*HOSTILE, *more]
    named = [{"encoder": text, "hyperparameters": {"learning_rate": 0.001, "x": text}} for text in words]
    return [
        run(),
        *(run(text, 0, 20 + i, spec=spec) for i, (text, spec) in enumerate(zip(words, named, strict=True))),
        *(ended(text, "failed", text, seed=1, spec=spec) for text, spec in zip(words, named, strict=True)),
        baseline(22404),
    ]


def found_in(spec: Any, key: str) -> Iterator[Any]:
    """Every value under a key, however deep."""
    if isinstance(spec, dict):
        yield from (value for name, value in spec.items() if name == key)
        yield from (found for value in spec.values() for found in found_in(value, key))
    elif isinstance(spec, list):
        yield from (found for value in spec for found in found_in(value, key))


def check_latex(text: str) -> str:
    """Balanced braces, environments and mathematics; only the commands that belong. Returns it without its escapes."""
    assert text.isascii() or not re.search("[^\x20-\x7e\nÀ-ÿ]", text)
    bare = re.sub(r"\\[&%$#_{}]", "", text)
    depth = 0
    for c in bare:
        depth += (c == "{") - (c == "}")
        assert depth >= 0
    assert depth == 0
    assert [line.count("%") for line in bare.splitlines() if "%" in line] == [1] * text.count("% needs")
    signs = {r"$\Delta$", r"$\pm$", r"$\leq$", r"$\geq$", r"$\times$", "$-$"}
    assert set(re.findall(r"\$[^$]*\$", bare)) <= signs | set(re.findall(r"\$[-+][0-9.]+\$|\$\[-?[0-9.]+, -?[0-9.]+\]\$", bare))
    assert bare.count("$") % 2 == 0
    assert not set("#~^") & set(bare)
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}")
    known = (
        "usepackage begin end centering footnotesize setlength tabcolsep caption toprule midrule bottomrule par smallskip "
        "raggedright Delta pm leq geq times textperiodcentered textbackslash textasciitilde textasciicircum textless "
        "textgreater textbar textasciigrave"
    )
    assert set(re.findall(r"\\([a-zA-Z]+)", bare.replace("\\\\", ""))) <= set(known.split())
    # After the end of a row, a bracket or a star would be read as its argument.
    assert not re.search(r"\\\\\s*[\[*]|\\(toprule|midrule|bottomrule)\s*\[", text)
    return bare


def check_markdown(text: str) -> None:
    """Nothing that Markdown or HTML gives a meaning to, but for the bold of titles and of the reference."""
    # The lines that the report itself makes bold are the only ones with bare stars.
    bare = re.sub(r"\\[-`\[\]*_~#!+.)=]", "", text)
    bare = re.sub(r"(?m)^(\| )?\*\*(.*?)\*\*(?= |$)", r"\1\2", bare)
    assert not set("<>`[]*_~$@\\") & set(bare)
    assert not re.search(r"&(?!amp;|lt;|gt;|#[0-9]+;)", bare)
    assert not re.search(r"(?i)://|www\.", bare)
    assert not re.search(r"(?m)^- *([-+=]|[0-9]+[.)])", bare.replace("\\", ""))


BREAKING = (
    "</script><script>alert(1)</script>", "<!--<script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}", "&lt;b&gt;", "\u2028\u2029\ufeff", "]]>",
)  # fmt: skip
"""Words that end what they stand in, were it a script, an attribute or a template."""


def records() -> list[Record | Baseline]:
    """Three seeds of some methods, a run that ended early, a second budget, and a tuning trial."""
    short = {"budget": Budget(amount=15, unit="seconds")}
    return [*usual(), run(spec=short), run("lora", wrong=30, spec=short), trial("houlsby", 0.001, 0.8)]


def breaking() -> list[Record | Baseline]:
    """Hostile words in every place of a record that is free text: all as names in one group, and one as everything else."""
    return [*ugly(*BREAKING), *hostile(BREAKING[0])[:4]]


def lengthy() -> list[Record | Baseline]:
    """Three seeds whose machine and versions are as long as they are in practice, and whose states and times differ."""
    libraries = {f"library-number-{i:02}": f"1.{i}.0+cpu" for i in range(12)}
    machine = MACHINE.model_copy(
        update={"device": "Some(R) Vendor(R) Processor @ 2.80GHz", "versions": libraries, "commit": "c" * 40}
    )
    return [
        run(method, seed, 20 + seed, environment=machine, finished=f"2026-01-0{seed + 1}T00:00:00+00:00")
        for method in ("houlsby", "pfeiffer")
        for seed in range(3)
    ]


def written(found: list[Record | Baseline]) -> str:
    return page(groups(*found), sensitivities(found, ORDER))


def first_group(found: list[Record | Baseline], methods: int) -> tuple[int, Group]:
    """The first group with so many rows, and its number on the page."""
    return next((i, group) for i, group in enumerate(groups(*found), 1) if len(group.rows) == methods)


SVG = "{http://www.w3.org/2000/svg}"
PLAIN = {"svg", "title", "desc", "g", "path", "text", "tspan", "rect", "line", "defs"}
"""What a drawing is made of, none of which runs or fetches anything."""


def swept() -> list[Record | Baseline]:
    wrong = {"houlsby": (40, 30, 22), "full": (50, 28, 20), "lora": (44, 33, 24)}
    return [
        run(method, seed, found + seed, spec={"budget": Budget(amount=amount, unit="seconds")})
        for method, each in wrong.items()
        for amount, found in zip((15, 60, 240), each, strict=True)
        for seed in range(2)
    ] + [baseline(22404)]


def one_of_each(records: list[Record | Baseline]) -> list[Drawing]:
    """The last drawing of each figure."""
    return list({drawing.figure: drawing for drawing in drawings(groups(*records)).values()}.values())
