"""The official IMDB splits from a folder, where one lies beside the project: all 25,000 test reviews, leaked ones known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bench.data.sources import Source, read
from bench.data.task import split
from bench.data.tokenization import Split
from bench.inference.evaluation import evaluation_of, rows_to_test
from tests.measurements.readme import ROOT

FOLDER = ROOT.parent / "shared" / "imdb"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the official splits are not at ../shared/imdb")
def test_the_whole_official_test_with_and_without_the_leaked_reviews(embedded: Source) -> None:
    source = read(str(FOLDER))
    # The same reviews as the package's, in another order.
    ours, theirs = (Counter(zip(reviews.texts, reviews.labels, strict=True)) for reviews in (source.train, embedded.train))
    assert ours == theirs
    made = split(source)
    assert (made.name, len(made.train), len(made.validation), len(made.test)) == ("imdb-v2", 22_904, 2_000, 25_000)
    assert (made.duplicates_removed, len(made.leaked)) == (96, 123)
    assert not set(made.train.texts) & set(made.validation.texts)
    test = Split(np.zeros(0, dtype=np.int32), np.zeros(25_001, dtype=np.int64), np.array(made.test.labels))
    rows = rows_to_test(test, None)
    predictions = np.array(made.test.labels)
    predictions[made.leaked[:23]] ^= 1
    predictions[np.setdiff1d(rows, made.leaked)[:77]] ^= 1
    found = evaluation_of(test, rows, predictions, leaked=made.leaked)
    assert (found.reviews, len(found.leaked)) == (25_000, 123)
    assert found.accuracy == 1 - 100 / 25_000
    assert found.accuracy_without_leaked == pytest.approx(1 - 77 / 24_877, abs=1e-12)
