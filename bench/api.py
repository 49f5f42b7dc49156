"""The Python interface: `bench.run`, `bench.load_records`, `bench.compare` and `bench.predict`.

It calls the same functions as the commands, so a run from Python has the id and record of the command line's.
"""

from __future__ import annotations

import io
import json
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.records.schema import Baseline, Record
from bench.rules import MARGIN
from bench.system.errors import RecordError, SpecError
from bench.system.files import RUNS

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.comparison import Group
    from bench.analysis.tuning import Decision

__all__ = ["Comparison", "compare", "load_records", "predict", "run"]


def run(
    methods: str | Sequence[str],
    *,
    encoder: str | Path = "minilm",
    data: str | Path = "embedded",
    budget: str = "60s",
    seeds: int | str = 1,
    hyperparameters: Mapping[str, Mapping[str, Any]] | None = None,
    out: str | Path = RUNS,
    save: bool = False,
    force: bool = False,
    **options: Any,
) -> list[Record]:
    """Train and test methods, each with the same budget, and return the records of the requested runs.

    Runs that are finished in the folder `out` are not made again. Each takes a process of its own, which imports nothing of
    the calling script: no `__main__` guard is needed. A method of which tuning chooses no rate has no runs: a warning says so.

    Args:
        methods: a name or several, as for `--method`.
        encoder: a name, hub id or folder.
        data: a name, hub id, folder or file.
        budget: "60s", "1M reference tokens", "2M tokens", "500 steps", "3 epochs", or several with commas.
        seeds: how many, or which: "0,1,5"; "7," for one.
        hyperparameters: method → its fields that differ from their defaults.
        out: folder of the records.
        save: keep what is trained, for `predict`.
        force: run again what is finished; earlier records are kept as attempts.
        **options: further fields of `bench.runs.request.Request`, such as `max_length`, `tune` or `test_limit`.

    Raises:
        BenchError: for the first thing that is wrong, before anything is spent.
        KeyboardInterrupt: when interrupted, after the record of the run in hand is written.
    """
    from pydantic import TypeAdapter, ValidationError

    from bench.report.tables.formatting import choice_line
    from bench.runs.budgets import convert_budgets
    from bench.runs.plan import plan
    from bench.runs.request import Request
    from bench.runs.scheduler import carry_out

    names, folder = [methods] if isinstance(methods, str) else methods, Path(out)
    unknown = sorted(options.keys() - Request.__dataclass_fields__.keys())
    if unknown:
        raise SpecError(f"run() has no option {unknown[0]!r}; there are {', '.join(sorted(Request.__dataclass_fields__))}")
    fields = {"methods": names, "encoder": str(encoder), "data": str(data), "budget": budget, "seeds": str(seeds)}
    try:
        request = TypeAdapter(Request).validate_python({**fields, "hyperparameters": hyperparameters or {}, **options})
    except ValidationError as error:
        first = error.errors()[0]
        raise SpecError(f"{first['loc'][0]}={first['input']!r}: {first['msg'].lower()}") from None
    records: list[Record] = []

    def keep(record: Record | Baseline, path: Path, new: bool) -> None:
        if isinstance(record, Record) and record.spec.purpose == "run":
            records.append(record)

    def warn_of_none(decision: Decision) -> None:
        if decision.rate is None:
            warnings.warn(" ".join(choice_line(decision).split()), stacklevel=5)

    matrix = convert_budgets(plan(request), folder, say=lambda line: print(line, file=sys.stderr))
    carry_out(matrix, folder, force=force, tell=keep, announce=warn_of_none, keep=save)
    return records


def load_records(*sources: str | Path) -> list[Record | Baseline]:
    """Read the records of runs, trials and baselines from folders and files; a file that is none is left out with a warning.

    Of duplicates a complete one counts, else the latest, as in a report.

    Raises:
        RecordError: if a source does not exist.
    """
    from bench.analysis.comparison import unique
    from bench.records.store import Damaged
    from bench.report.load import items

    loaded: list[Record | Baseline] = []
    for source in map(Path, sources):
        if not source.exists():
            raise RecordError(f"{str(source)!r} does not exist; name a folder of records or a record")
        for item in items(source):
            if isinstance(item, Damaged):
                warnings.warn(f"left out {item.path}: {item.reason}", stacklevel=2)
            elif isinstance(item, (Record, Baseline)):
                loaded.append(item)
    return unique(loaded)


@dataclass(frozen=True)
class Comparison:
    """Groups of runs that may be compared, the reference first in each."""

    groups: tuple[Group, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row a method and group: the columns of `python -m bench report --format csv`."""
        import pandas as pd

        from bench.report.tables.comparison import spreadsheet

        return pd.read_csv(io.StringIO(spreadsheet(self.groups)))


def compare(records: Iterable[Record | Baseline], *, reference: str = "houlsby", margin: float = 100 * MARGIN) -> Comparison:
    """Compare every method with the reference on the same seeds and texts (RULES.md, sections 8 to 10).

    Args:
        records: of runs and baselines; tuning trials among them are ignored.
        reference: the method that differences are taken from.
        margin: points of accuracy within which two methods count as equivalent.

    Raises:
        SpecError: if no run is of the reference, the margin is out of range, or what is given are no records.
    """
    from bench.report.load import compared

    loaded = list(records)
    if not all(isinstance(record, (Record, Baseline)) for record in loaded):
        raise SpecError("compare() takes records, as run() and load_records() return them")
    if not 0 < margin <= 100:
        raise SpecError(f"margin={margin}: name points of accuracy above 0 and up to 100, such as 0.5")
    return Comparison(tuple(compared(loaded, reference, margin / 100)))


def predict(
    run: str | Path,
    texts: Sequence[str],
    *,
    results: str | Path = RUNS,
    encoder: str | Path | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Classify texts with a saved run: columns text, label, probability and logits, one row a text in its order.

    Args:
        run: id or its first digits, record, or folder of a run that was made with `save=True`.
        texts: at least one, none of them empty.
        results: folder of the records beside which runs were saved.
        encoder: where the encoder is, if the run's was a folder.
        device: cpu, cuda or auto.

    Raises:
        BenchError: if the run is not found or was not saved, or a text cannot be classified.
    """
    import pandas as pd

    from bench.inference.predictions import PredictRequest, predict_texts

    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise SpecError("predict() takes a list of texts, each a str")
    if not len(texts):
        raise SpecError("predict() needs at least one text")
    where = None if encoder is None else str(encoder)
    request = PredictRequest([str(run), *texts], style="json", results=Path(results), encoder=where, device=device, piped=False)
    return pd.DataFrame(json.loads(predict_texts(request)))
