"""Suites: files that say what to run. Encoders, data, methods, budgets and seeds are crossed, under one set of settings."""

from __future__ import annotations

import difflib
import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import bench
import methods
from bench.analysis.tuning import rates
from bench.records.spec import Budget, Truncation, parse_seeds, parse_size
from bench.rules import Kernels
from bench.runs.plan import Matrix, plan
from bench.runs.request import SHORTEST, Request, option_of
from bench.system.errors import BenchError, SpecError
from bench.system.files import expanded
from bench.system.strict_yaml import read_yaml

__all__ = ["Suite", "load_suite", "matrices", "overridden", "shipped", "suites_text"]

_PLACES = (Path(bench.__file__).resolve().parents[1] / "suites", Path(sys.prefix) / "share" / "adapter-bench" / "suites")
"""Where shipped suites lie: in a checkout, and where an installation without one puts them."""

Texts = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]


class Suite(BaseModel):
    """What to run. Every encoder meets every data source, method, budget and seed; the rest is the same for all runs.

    suites/README.md describes the fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    description: str = Field(min_length=1, max_length=500, examples=["What it answers, and what it takes."])
    encoders: Texts = Field(examples=[["minilm"]])
    data: Texts = Field(examples=[["embedded"]])
    methods: list[str | dict[str, dict[str, Any]]] = Field(
        min_length=1, examples=[["all", {"houlsby": {"bottleneck": 64, "learning_rate": 3e-4}}]]
    )
    budgets: Texts = Field(examples=[["60s"]])
    seeds: int | list[int] = Field(default=1, examples=[3, [0, 1, 5]])
    max_length: int = Field(default=Request.max_length, ge=SHORTEST, le=8192, examples=[256])
    truncation: Truncation = Field(default="head+tail", examples=["head"])
    batch_size: int = Field(default=Request.batch_size, ge=1, le=4096, examples=[32])
    dropout: float = Field(default=Request.dropout, ge=0, lt=1, examples=[0.1])
    attention_dropout: float = Field(default=Request.attention_dropout, ge=0, lt=1, examples=[0.1])
    precision: Literal["auto", "fp32", "bf16"] = Field(default=Request.precision, examples=["fp32"])
    kernels: Kernels = Field(default=Request.kernels, examples=["graphs"])
    memory: str | None = Field(default=None, examples=["2GiB"])
    test_limit: int | None = Field(default=None, ge=2, examples=[400])
    train_limit: int | list[int] | None = Field(default=None, examples=[1000, [100, 1000]])
    text_column: str | None = Field(default=None, examples=["review"])
    label_column: str | None = Field(default=None, examples=["sentiment"])
    tune: int | None = Field(default=None, ge=2, examples=[3])
    tune_seeds: int = Field(default=Request.tune_seeds, ge=1, le=100, examples=[2])
    calibration: str | None = Field(default=None, examples=["results/study/calibration-mpnet-cuda-0123456789abcdef.json"])

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Method → its hyperparameters that are not at their defaults, in the order of the file."""
        by_method: dict[str, dict[str, Any]] = {}
        for entry in self.methods:
            if isinstance(entry, str):
                for name in methods.expand(entry):
                    by_method.setdefault(name, {})
            else:
                by_method.update(entry)
        return by_method

    @property
    def entries(self) -> list[str]:
        """The names and groups of the file, in its order."""
        return [name for entry in self.methods for name in ([entry] if isinstance(entry, str) else entry)]

    @property
    def seeds_text(self) -> str:
        """The seeds as `--seeds` takes them."""
        return str(self.seeds) if isinstance(self.seeds, int) else ",".join(map(str, self.seeds)) + ","

    def requests(self, device: str = "auto") -> list[Request]:
        """Cross encoders and data sources, in the order of the file."""
        same = {field.name for field in fields(Request)} & Suite.model_fields.keys() - {"methods", "data", "seeds"}
        shared = {name: getattr(self, name) for name in same}
        if isinstance(self.train_limit, list):
            shared["train_limit"] = ",".join(map(str, self.train_limit))
        return [
            Request(
                self.entries, encoder, data, ",".join(self.budgets), self.seeds_text, device=device,
                hyperparameters=self.settings, **shared,
            )
            for encoder in self.encoders
            for data in self.data
        ]  # fmt: skip


def overridden(requests: list[Request], changes: Mapping[str, Any]) -> list[Request]:
    """Replace fields of a suite's requests; hyperparameters are merged, and kept for those methods that still run."""
    settings = changes.get("hyperparameters", {})
    requests_: list[Request] = []
    for request in requests:
        changed = replace(request, **changes)
        runs = {name for entry in changed.methods for name in methods.expand(entry)}
        own = {name: values for name, values in request.hyperparameters.items() if name in runs}
        own |= {name: {**own.get(name, {}), **values} for name, values in settings.items()}
        changed = replace(changed, hyperparameters=own)
        if changed not in requests_:
            requests_.append(changed)
    return requests_


def _overrides(requests: list[Request], changes: Mapping[str, Any]) -> Iterator[str]:
    """List each change with the value that it overrides."""
    for name, value in changes.items():
        if name == "hyperparameters":
            for method, own in value.items():
                file = requests[0].hyperparameters.get(method, {})
                yield from (_override(f"--set {method}.{key}={new}", _text(file.get(key))) for key, new in own.items())
        else:
            before = "; ".join(dict.fromkeys(_text(getattr(request, name)) for request in requests))
            yield _override(f"{option_of(name)} {_text(value)}".rstrip(), before)


def _override(option: str, before: str) -> str:
    return f"{option} overrides the suite's {before}" if before else f"{option} is added to the suite"


def _text(value: Any) -> str:
    """Write a value as an option takes it; nothing for a flag or none."""
    return ", ".join(value) if isinstance(value, list) else "" if value is None or isinstance(value, bool) else str(value)


def shipped() -> dict[str, Path]:
    """List the suites that come with the project, by name."""
    folder = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
    return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}


def load_suite(name: str) -> Suite:
    """Load the suite called `name`: a shipped one, or, where the name has a slash, the file at that path.

    Raises:
        SpecError: naming the file, the field and what to write.
    """
    known = shipped()
    if "/" not in name and name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}."
        raise SpecError(f"no suite is called {name!r}; {hint} A file is given by a path with a slash, such as ./mine.yaml")
    path = known[name] if "/" not in name else expanded(name)
    where = f"suite {path.name if '/' not in name else name}"
    fields = read_yaml(path, where)
    try:
        suite = Suite.model_validate(fields)
    except ValidationError as error:
        raise SpecError(f"{where}: {_message(error)}") from None
    _check(suite, where)
    return suite


def _message(error: ValidationError) -> str:
    """Describe the first error, its place, and an example of a right value."""
    errors = error.errors()
    # An entry of methods that is neither a name nor a mapping is two errors, of which the deeper says more.
    first = max(
        (detail for detail in errors if detail["loc"][:2] == errors[0]["loc"][:2]), key=lambda detail: len(detail["loc"])
    )
    field, *rest = first["loc"]
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(field), Suite.model_fields, n=1)
        return f"no field {str(field)[:40]!r}" + (
            f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(Suite.model_fields)}"
        )
    path = f"{field}[{rest[0]}]" if rest and isinstance(rest[0], int) else str(field)
    if first["type"] == "missing":
        return f"{path} is missing; {_example(str(field))}"
    return f"{path} {repr(first['input'])[:60]}: {first['msg'].lower()}; {_example(str(field))}"


def _example(field: str) -> str:
    """Write an example of a field; JSON on one line is YAML too."""
    examples = Suite.model_fields[field].examples or []
    return f"write it like {field}: {json.dumps(examples[0])}"


def _check(suite: Suite, where: str) -> None:
    """Check what can be checked without encoders and reviews."""
    checks: list[tuple[str, Callable[[], object]]] = [
        ("encoders", lambda: _once(suite.encoders)),
        ("data", lambda: _once(suite.data)),
        ("budgets", lambda: _once(suite.budgets)),
        ("budgets", lambda: [Budget.parse(budget) for budget in suite.budgets]),
        ("seeds", lambda: parse_seeds(suite.seeds_text)),
        ("memory", lambda: None if suite.memory is None else parse_size(suite.memory)),
        ("methods", lambda: _once(suite.entries)),
        ("methods", lambda: [methods.configured(name, settings) for name, settings in suite.settings.items()]),
        ("tune", lambda: [] if suite.tune is None else [rates(name, suite.tune) for name in suite.settings]),
    ]
    for field, check in checks:
        try:
            check()
        except BenchError as error:
            raise SpecError(f"{where}: {field}: {error}") from None


def _once(items: list[str]) -> None:
    twice = next((item for i, item in enumerate(items) if item in items[:i]), None)
    if twice is not None:
        raise SpecError(f"{twice!r} is repeated; name each once")


def matrices(
    name: str,
    device: str = "auto",
    *,
    overrides: Mapping[str, Any] | None = None,
    elsewhere: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[Matrix]:
    """Plan the matrices of a suite, each checked as far as possible before time is spent on the first.

    `overrides` are fields of `Request` that replace those of the file; `say` is called with one line that names them.
    `elsewhere` is as for `plan`.

    Raises:
        SpecError: if the suite, or anything that it names, is invalid.
    """
    requests = load_suite(name).requests(device)
    try:
        planned = [plan(request, elsewhere=elsewhere) for request in overridden(requests, overrides or {})]
    except BenchError as error:
        raise SpecError(f"suite {name}: {error}") from None
    if overrides:
        say("; ".join(_overrides(requests, overrides)))
    return planned


def suites_text() -> str:
    """Describe the shipped suites: purpose and number of runs."""
    return "\n\n".join(_entry(name, load_suite(name)) for name in shipped())


def _entry(name: str, suite: Suite) -> str:
    cells = len(suite.encoders) * len(suite.data) * len(suite.settings)
    seeds = len(parse_seeds(suite.seeds_text))
    budgets = [Budget.parse(budget) for budget in suite.budgets]
    trials_each = (suite.tune or 0) * suite.tune_seeds
    runs, each = cells * len(budgets) * seeds, seeds + trials_each
    trials = f" and {cells * len(budgets) * trials_each} trials" if suite.tune else ""
    own = {name: _text([f"{field} {value}" for field, value in own.items()]) for name, own in suite.settings.items()}
    named = [f"{name} ({values})" if values else name for name, values in own.items()]
    lines = [
        *textwrap.wrap(f"{name}: {suite.description}", 110, subsequent_indent="  "),
        f"  {_text(suite.encoders)} on {_text(suite.data)}; {_text(named)}; budget {_text(suite.budgets)}",
        f"  {runs} run{'s' * (runs > 1)}{trials}",
    ]
    if all(budget.unit == "seconds" for budget in budgets):
        minutes = cells * each * sum(budget.amount for budget in budgets) / 60
        lines[-1] += f", {minutes:,.0f} minutes of device time and what loading and testing take"
    return "\n".join(lines)
