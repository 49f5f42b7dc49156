"""Hold benchmark results against the committed baseline: `python -m tests.benchmarks.compare RESULTS.json [--update]`.

Compared are times relative to a kernel that ran in between, never seconds. On the processor, threads and library versions
of a baseline the comparison is binding: exit 1 if anything is slower than the margin allows or was not measured. Elsewhere
it is advisory: the table is printed, exit 0. Bad input is one line and exit 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasPath, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from tabulate import tabulate

from bench.system.errors import RecordError
from tests.measurements.keeping import in_one_line

LIBRARIES = ("torch", "transformers", "adapters", "peft")
BASELINE = Path(__file__).with_name("baseline.json")
MARGIN = 1.5
"""Two measurements in a row with nothing else running came back at 0.85 to 1.19 of each other on a shared two-core machine.
With other work on both cores a ratio doubled, which no useful margin covers: a failure on a busy machine calls for another
measurement on a quiet one. Half as much again is beyond the first, and below what a step that works twice would show."""

Ratio = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Key(BaseModel):
    """Where relative times can be compared."""

    model_config = ConfigDict(frozen=True)
    cpu: str
    threads: int
    versions: dict[str, str]

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return f"{self.cpu}, {self.threads} thread{'s' if self.threads > 1 else ''}, {versions}"

    def likeness(self, other: Key) -> tuple[bool, bool, bool]:
        """Sorts baselines by what they have in common with another machine, the processor first."""
        return self.cpu == other.cpu, self.threads == other.threads, self.versions == other.versions


class Baseline(BaseModel):
    """What one kind of machine measured."""

    key: Key
    relative: dict[str, Ratio]


class _Benchmark(BaseModel):
    name: str
    relative: Ratio = Field(validation_alias=AliasPath("extra_info", "relative"))


class _Results(BaseModel):
    """The part of pytest-benchmark's JSON that is read here."""

    key: Key = Field(validation_alias=AliasPath("machine_info", "baseline_key"))
    benchmarks: list[_Benchmark] = Field(min_length=1)


_RESULTS = TypeAdapter(_Results)
_BASELINES = TypeAdapter(list[Baseline])


def _read(path: Path, kind: TypeAdapter[Any], advice: str) -> Any:
    try:
        return kind.validate_json(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path.name} cannot be read ({error.strerror}); {advice}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise RecordError(f"{path.name} cannot be used ({where}: {first['msg']}); {advice}") from None


def measured(path: Path) -> Baseline:
    """The relative times in a file of results."""
    results = _read(path, _RESULTS, "make it with: make bench")
    return Baseline(key=results.key, relative={benchmark.name: benchmark.relative for benchmark in results.benchmarks})


def update(new: Baseline, path: Path) -> None:
    """Put a machine's times in the place of its old ones. Those of other library versions go: nothing can match them."""
    known: list[Baseline] = _read(path, _BASELINES, "delete it to begin anew") if path.exists() else []
    kept = [old for old in known if old.key != new.key and old.key.versions == new.key.versions]
    rounded = {name: float(f"{ratio:.4g}") for name, ratio in new.relative.items()}
    path.write_bytes(_BASELINES.dump_json([*kept, Baseline(key=new.key, relative=rounded)], indent=1) + b"\n")


def table(now: Baseline, before: Baseline) -> tuple[str, bool]:
    """Both as a table, and whether anything is too slow or missing."""
    rows: list[tuple[str, ...]] = []
    bad = False
    for name in [*before.relative, *(name for name in now.relative if name not in before.relative)]:
        old, new = before.relative.get(name), now.relative.get(name)
        change, verdict = "–", "new" if old is None else "MISSING"
        if old is not None and new is not None:
            change, verdict = f"{new / old:.2f}", "SLOWER" if new / old > MARGIN else "ok"
        bad |= verdict in {"MISSING", "SLOWER"}
        rows.append((name, *("–" if value is None else f"{value:.4g}" for value in (old, new)), change, verdict))
    headers = ("time / kernel", "baseline", "now", "now / baseline", f"margin {MARGIN:g}")
    align = ("left", "right", "right", "right", "left")
    return tabulate(rows, headers=headers, disable_numparse=True, colalign=align), bad


def compare(now: Baseline, path: Path) -> int:
    """Print how the times stand beside the baseline in `path`; returns the exit code."""
    known: list[Baseline] = _read(path, _BASELINES, "make it with: make bench-update")
    if not known:
        raise RecordError(f"{path.name} is empty; make it with: make bench-update")
    before = max(known, key=lambda baseline: baseline.key.likeness(now.key))
    text, bad = table(now, before)
    print(text)
    if before.key != now.key:
        print(f"\nAdvisory: measured on {now.key}; the nearest baseline is of {before.key}.")
        return 0
    advice = "Beyond the margin or missing. Was the machine quiet? If it was and this is meant: make bench-update"
    print(f"\n{advice if bad else 'All within the margin.'}")
    return int(bad)


def main(arguments: Sequence[str] | None = None, baseline: Path = BASELINE) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compare", description="Compare with the baseline.")
    parser.add_argument("results", type=Path, help="what pytest wrote with --benchmark-json")
    parser.add_argument("--update", action="store_true", help="make these results the baseline of this kind of machine")
    options = parser.parse_args(arguments)
    with in_one_line():
        now = measured(options.results)
        if not options.update:
            return compare(now, baseline)
        update(now, baseline)
    print(f"{baseline.name} now holds {len(now.relative)} benchmarks of {now.key}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
