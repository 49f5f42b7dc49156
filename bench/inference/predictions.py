"""Predictions of saved runs for given texts, and their tests repeated."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.data.sources import DataRequest, read
from bench.data.task import Splits, prepare, split
from bench.inference.evaluation import rows_to_test
from bench.inference.inputs import Texts, from_arguments, from_lines, from_table
from bench.inference.output import as_csv, as_json, as_text
from bench.models.pretrained import PACKAGED, PretrainedModel
from bench.models.pretrained import find as find_encoder
from bench.records.artifacts import Card, Saved, find, saved_runs
from bench.records.store import load_logits, logits_sha256
from bench.system.device import resolve_device
from bench.system.errors import BenchError, DataError, ModelError, RecordError, SpecError
from bench.system.files import RUNS
from bench.system.text import harmless, percent

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bench.inference.serving import Server

__all__ = ["PredictRequest", "predict_texts", "repeat_tests"]

IMDB = ("imdb", "embedded")
"""Data of `--adapter imdb`: of the hub, and of the package, which is its train split."""


@dataclass(frozen=True)
class PredictRequest:
    """Options of a prediction, as given."""

    words: list[str] = field(default_factory=list)
    """A run, then texts; texts alone where adapters are named."""
    adapters: list[str] = field(default_factory=list)
    """NAME=RUN, or the name of the data of one saved run."""
    csv: Path | None = None
    column: str | None = None
    """Of the table; None: text."""
    style: str | None = None
    """text, csv or json; None: csv for a table, else text."""
    results: Path = RUNS
    encoder: str | None = None
    """Folder of the encoder, if it is not found by its name."""
    data: str | None = None
    """Folder of the data of a test, likewise."""
    device: str = "auto"
    """auto: the device of the runs if there is one, else the CPU."""
    piped: bool = True
    """Whether "-" alone stands for the standard input; else it is a text like any other."""


def predict_texts(request: PredictRequest) -> str:
    """Return the label of each text by each adapter, and a probability: of positive, the second class, and of more than two
    classes of the label; as CSV and JSON then those of all.

    Raises:
        BenchError: for the first thing that is wrong, before anything is computed.
    """
    if request.data is not None:
        raise SpecError("--data needs --test; texts are given as words, through a pipe or with --csv")
    selected, words = _select_runs(request)
    texts = _texts(request, words)
    style = request.style or ("csv" if request.csv is not None else "text")
    labels = {name: saved.card.labels for name, saved in selected.items()}
    server = _server(request, selected, _pretrained(request, selected))
    logits = {name: server.logits(name, texts.texts) for name in selected}
    write = {"csv": as_csv, "json": as_json, "text": as_text}[style]
    return write(texts, logits, labels, with_names=bool(request.adapters))


def repeat_tests(request: PredictRequest) -> list[tuple[str, bool]]:
    """Repeat the own test of each run, with all of them in memory; return a line for each, and whether its logits are the run's
    own, bit for bit.

    Raises:
        BenchError: if a text is given as well, or the data of a run are not found.
    """
    selected, words = _select_runs(request)
    if words or any(given is not None for given in (request.csv, request.column, request.style)):
        raise SpecError("--test takes the run's own test reviews, and no texts, --csv, --column or --format")
    pretrained = _pretrained(request, selected)
    if request.data is not None:  # what is named is checked, even where a cache has the tokens
        for saved in selected.values():
            _splits(saved.card, request.data)
    tasks = {
        name: prepare(pretrained, saved.card.data.sha256, lambda card=saved.card: _splits(card, request.data))  # type: ignore[misc]
        for name, saved in selected.items()
    }
    server = _server(request, selected, pretrained)
    repeated: list[tuple[str, bool]] = []
    for name, saved in selected.items():
        task, card = tasks[name], saved.card
        rows = rows_to_test(task.test, card.spec.test_limit)
        logits = server.logits_of_split(name, task, task.test, rows)
        accuracy = float((logits.argmax(1) == task.test.labels[rows]).mean())
        same = logits_sha256(logits) == card.logits_sha256
        label = f"{name} ({saved.name})" if request.adapters else saved.name
        how = "identical to the run's own" if same else f"not the run's own{_difference(saved, logits)}"
        line = f"{label}: {len(rows):,} reviews, accuracy {percent(accuracy)} %, logits {how}"
        repeated.append((harmless(line), same))
    return repeated


def _difference(saved: Saved, logits: npt.NDArray[np.float32]) -> str:
    """Say how far the logits are from the run's own, where these lie beside its record."""
    try:
        own = load_logits(saved.folder.parent.parent, saved.card.logits_sha256)
    except BenchError:
        return ""
    return f", by at most {float(abs(own - logits).max()):.2g}" if own.shape == logits.shape else ""


def _splits(card: Card, data: str | None) -> Splits:
    """Read and split the data of a run, where no cache has their tokens."""
    name = card.spec.data if data is None else data
    try:
        source = read(DataRequest(name, *(card.data.columns or ())))
    except BenchError as error:
        raise error if data is not None else DataError(f"the reviews {name!r} are not found; say where with --data") from None
    if source.sha256 != card.data.sha256:
        raise DataError(f"the reviews {name!r} are not those of run {card.run_id}; say where those are with --data")
    return split(source)


def _select_runs(request: PredictRequest) -> tuple[dict[str, Saved], list[str]]:
    """Return the saved runs to use, by name, and the words that are texts."""
    if not request.adapters:
        if not request.words:
            raise SpecError("name a run (its id, record or saved folder), or adapters with --adapter NAME=RUN")
        run, *words = request.words
        saved = find(run, request.results)
        return {saved.card.run_id: saved}, words
    selected: dict[str, Saved] = {}
    for argument in request.adapters:
        name, equals, run = argument.partition("=")
        if not name or not name.isprintable() or len(name) > 40 or (equals and not run):
            raise SpecError(f"--adapter {argument!r}: write it as NAME=RUN, the name with at most 40 characters")
        if name in selected:
            raise SpecError(f"--adapter {name!r} is given twice; name each once")
        selected[name] = find(run, request.results) if equals else _trained_on(name, request.results)
    return selected, request.words


def _trained_on(name: str, results: Path) -> Saved:
    """Return the one saved run on the data called `name`."""
    names = IMDB if name == "imdb" else (name,)
    matches = [saved for saved in saved_runs(results) if saved.card.spec.data in names]
    if not matches:
        raise RecordError(
            f"--adapter {name}: nothing saved in {str(results)!r} was trained on {name!r}; name a run, {name}=RUN"
        )
    if len(matches) > 1:
        several = ", ".join(saved.name for saved in matches[:4]) + (" and more" if len(matches) > 4 else "")
        raise SpecError(f"--adapter {name} could be {several}; name one, {name}={matches[0].card.run_id}")
    return matches[0]


def _texts(request: PredictRequest, words: list[str]) -> Texts:
    if request.column == "":
        raise SpecError("--column is empty; name the table's column of texts, or leave it out for 'text'")
    if request.csv is not None:
        if words:
            raise SpecError(f"texts and --csv are both given ({words[0][:40]!r}); give one or the other")
        return from_table(request.csv, "text" if request.column is None else request.column)
    if request.column is not None:
        raise SpecError(f"--column {request.column} needs --csv, the table that has it")
    if words and (words != ["-"] or not request.piped):
        return from_arguments(words)
    if not words and sys.stdin.isatty():
        raise SpecError('give a text, such as "A warm and funny film.", or --csv FILE, or a text a line through a pipe')
    return from_lines(sys.stdin.buffer)


def _pretrained(request: PredictRequest, selected: dict[str, Saved]) -> PretrainedModel:
    """Return the encoder that all runs share, by content."""
    (first, shared), *others = selected.items()
    for name, other in others:
        if other.card.encoder.sha256 != shared.card.encoder.sha256:
            raise ModelError(
                f"{first} was trained on the encoder {shared.card.spec.encoder!r} and {name} on {other.card.spec.encoder!r}; "
                "name adapters that were trained on the same encoder"
            )
    name = shared.card.spec.encoder if request.encoder is None else request.encoder
    try:
        pretrained = find_encoder(name)
    except BenchError:
        # A run on a folder keeps only the last part of its path.
        if request.encoder is not None or name in PACKAGED or "/" in name:
            raise
        raise ModelError(
            f"the encoder {name!r} of run {shared.card.run_id} is not found; say where it is with --encoder"
        ) from None
    if pretrained.sha256 != shared.card.encoder.sha256:
        raise ModelError(f"the encoder {name!r} is not the one of run {shared.card.run_id}; say where that is with --encoder")
    return pretrained


def _server(request: PredictRequest, selected: dict[str, Saved], pretrained: PretrainedModel) -> Server:
    cuda = all(saved.card.spec.device == "cuda" for saved in selected.values())
    device: Literal["cpu", "cuda"] = resolve_device(request.device) if cuda or request.device != "auto" else "cpu"
    from bench.inference.serving import Server  # which imports torch: after all else that can be wrong

    return Server(selected, pretrained, device)
