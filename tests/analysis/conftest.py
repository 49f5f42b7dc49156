"""Reviews that tests of statistics share."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def some() -> np.ndarray:
    """Right or wrong of three methods, [methods, 4 seeds, 200 reviews]; the second a little and the third much worse."""
    rng = np.random.default_rng(0)
    level = np.array([0.85, 0.83, 0.7])[:, None, None] + rng.normal(0, 0.005, (3, 4, 1))
    easy = rng.random(200) < 0.6
    return (easy | (rng.random((3, 4, 200)) < (level - 0.6) / 0.4)).astype(np.uint8)
