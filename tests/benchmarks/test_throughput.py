"""How fast the parts of a run are, each beside a kernel timed in between. `make bench` measures; a test run does each once."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import methods
from bench.data.sources import Reviews, Source
from bench.data.task import Task, _tokenize, prepare, split
from bench.inference.predict import predict
from bench.models.pretrained import PretrainedModel
from bench.report.render import render
from tests.classifiers import loop_for
from tests.measurements.measuring import Work, benchmark_against, matrix_products, python_loop
from tests.measurements.records import BUDGETS, write_records

BATCH, LENGTH, EVALUATED, TOKENISED = 16, 128, 64, 500
REPORT_LOOPS = 60
"""A warm report on 1,000 records takes the processor no longer than so many loops of the kernel it is measured beside."""


def processor_time(work: Work) -> float:
    """Return the processor's seconds of one call, which other work on the machine hardly lengthens."""
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.fixture(scope="module")
def task(minilm: PretrainedModel, small_source: Source) -> Task:
    return prepare(minilm, small_source.sha256, lambda: split(small_source))


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in methods.names() if name not in methods.names(core=True)]


@pytest.mark.parametrize("name", [*methods.names(core=True), *OTHERS])
def test_step(benchmark: BenchmarkFixture, minilm: PretrainedModel, task: Task, name: str) -> None:
    """On the first reviews that fill the length, at a rate of 0, so that every round does the same.

    Where the encoder never changes this is the step on new reviews, which encodes them: the one that takes time.
    """
    trainer = loop_for(minilm, task, name, batch_size=BATCH, max_length=LENGTH)
    full = np.flatnonzero(trainer.lengths == LENGTH)[:BATCH]
    assert len(full) == BATCH
    step = partial(trainer._step, full)
    loss = benchmark_against(benchmark, matrix_products, step, rounds=9, prepare=lambda: trainer.known.fill(False))
    assert 0 < loss < 5


def test_evaluation(benchmark: BenchmarkFixture, minilm: PretrainedModel, task: Task) -> None:
    trainer = loop_for(minilm, task, "houlsby", max_length=LENGTH)
    rows = np.arange(EVALUATED)
    logits = benchmark_against(
        benchmark, matrix_products, lambda: predict(trainer.classifier, task, task.test, trainer.spec, rows), rounds=9
    )
    assert logits.shape == (EVALUATED, 2)


def test_tokenisation(benchmark: BenchmarkFixture, minilm: PretrainedModel, small_source: Source) -> None:
    """The file of the tokenizer is read anew each time, as in a run."""
    half = TOKENISED // 2
    rows = [*range(half), *range(300, 300 + half)]
    texts, labels = small_source.train.texts, small_source.train.labels
    made = split(Source("500", Reviews([texts[i] for i in rows], [labels[i] for i in rows]), None))
    arrays = benchmark_against(
        benchmark,
        python_loop,
        lambda: _tokenize(minilm.folder / "tokenizer.json", made, lambda done, total: None),
        rounds=9,
    )
    assert len(arrays["test_labels"]) == len(made.test)


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_report(benchmark: BenchmarkFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int) -> None:
    folder = write_records(tmp_path / "results", count)

    def report() -> str:
        return render(folder, reference="houlsby", style="table")

    text = benchmark_against(benchmark, python_loop, report, rounds=5)
    assert capsys.readouterr().err == "", "a synthetic record is no record"
    assert text.count("houlsby") >= BUDGETS
    if count == 1000:
        assert processor_time(report) <= REPORT_LOOPS * min(processor_time(python_loop) for _ in range(5))
