"""How fast the parts of a run are, each beside a kernel timed in between. `make bench` measures; a test run does each once."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import methods
from bench.data.batches import collate
from bench.data.sources import Reviews, Source
from bench.data.task import Task, _tokenised, cut, prepare
from bench.inference.predict import predict
from bench.models.pretrained import Checkpoint
from bench.report.render import render
from bench.training.trainer import Loop
from tests.benchmarks.measuring import Work, benchmark_against, matrix_products, python_loop
from tests.benchmarks.records import BUDGETS, write_records
from tests.test_methods import loop_for

BATCH, LENGTH, EVALUATED, TOKENISED = 16, 128, 64, 500
REPORT_SECONDS = 2.0
"""A warm report on 1,000 records takes no longer."""


@pytest.fixture(scope="module")
def task(minilm: Checkpoint, small_source: Source) -> Task:
    return prepare(minilm, small_source.sha256, lambda: cut(small_source))


def step_of(loop: Loop) -> Work:
    """A training step on the first reviews that fill the length. The rate stays 0, so that every round does the same."""
    full = np.flatnonzero(loop.lengths == loop.spec.max_length)[: loop.spec.batch_size]
    ids, mask, labels = collate(loop.task, loop.task.train, full, loop.spec.max_length, loop.spec.truncation)
    assert ids.shape == (loop.spec.batch_size, loop.spec.max_length)
    return lambda: loop._step(full, ids, mask, labels)


@pytest.mark.parametrize("name", methods.names())
def test_step(benchmark: BenchmarkFixture, minilm: Checkpoint, task: Task, name: str) -> None:
    """Where the encoder never changes this is the step on new reviews, which encodes them: the one that takes time."""
    loop = loop_for(minilm, task, name, batch_size=BATCH, max_length=LENGTH)
    step = step_of(loop)
    loss = benchmark_against(benchmark, matrix_products, step, rounds=9, prepare=lambda: loop.known.fill(False))
    assert 0 < loss < 5


def test_evaluation(benchmark: BenchmarkFixture, minilm: Checkpoint, task: Task) -> None:
    loop = loop_for(minilm, task, "houlsby", max_length=LENGTH)
    rows = np.arange(EVALUATED)
    logits = benchmark_against(
        benchmark, matrix_products, lambda: predict(loop.classifier, task, task.test, loop.spec, rows), rounds=9
    )
    assert logits.shape == (EVALUATED, 2)


def test_tokenisation(benchmark: BenchmarkFixture, minilm: Checkpoint, small_source: Source) -> None:
    """The file of the tokenizer is read anew each time, as in a run."""
    half = TOKENISED // 2
    rows = [*range(half), *range(300, 300 + half)]
    texts, labels = small_source.train.texts, small_source.train.labels
    made = cut(Source("500", Reviews([texts[i] for i in rows], [labels[i] for i in rows]), None))
    arrays = benchmark_against(
        benchmark,
        python_loop,
        lambda: _tokenised(minilm.folder / "tokenizer.json", made, lambda done, total: None),
        rounds=9,
    )
    assert len(arrays["test_labels"]) == len(made.test)


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_report(
    benchmark: BenchmarkFixture, minilm: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    folder = write_records(tmp_path / "results", minilm, count)

    def report() -> str:
        return render(folder, reference="houlsby", style="table")

    text = benchmark_against(benchmark, python_loop, report, rounds=5)
    assert capsys.readouterr().err == "", "a synthetic record is no record"
    assert text.count("houlsby") >= BUDGETS
    if count == 1000:
        began = time.process_time()  # the processor's, which other work on the machine hardly lengthens
        report()
        assert time.process_time() - began <= REPORT_SECONDS
