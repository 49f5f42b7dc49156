"""The constants of RULES.md that the code obeys."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "ALL_SENTENCES", "ALPHA", "CLIP", "COLLAPSE", "FEW_TEXTS", "HETEROGENEITY", "LARGE_TRAIN", "LARGE_VALIDATION_A_CLASS",
    "LEAST_SEEDS", "MARGIN", "MARKS", "PASSES", "POWER", "RULES_VERSION", "SENTENCES", "TEST_A_CLASS", "TUNING_SEED",
    "VALIDATION_AT_MARKS", "VALIDATION_A_CLASS", "WARM_UP", "Kernels", "Precision",
]  # fmt: skip

RULES_VERSION = 3
"""Version of RULES.md: records of different versions are never compared."""
Precision = Literal["fp32", "bf16"]
Kernels = Literal["plain", "graphs"]
SENTENCES = "rotten-tomatoes"
"""Name of the sentences as a data source; a run on them has no out-of-domain test."""
ALL_SENTENCES, FEW_TEXTS = 8530, 1000
"""Sentences, and how many of them a run is tested on that trained on fewer texts (rules, section 5)."""

PASSES = 20
"""Passes over the cached features of a method that leaves the encoder as it is (rules, section 4)."""

WARM_UP = 0.06
"""Share of the budget over which the learning rate rises: RoBERTa's 6 % (Liu et al. 2019, table 10; rules, section 5)."""
CLIP = 1.0
"""Gradient norm at which all methods clip (rules, section 5)."""
MARKS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the budget at which validation is read (rules, section 5)."""
VALIDATION_AT_MARKS = 500
"""Validation texts that are read at a mark, all marks together no more than the limit of the test; at the end of a tuning trial
all are."""

TUNING_SEED = 2**32 - 1
"""The first seed of tuning trials (rules, section 6), others count down from it: no run of a tuned comparison may have one."""

COLLAPSE = 0.001
"""Level of the test that a run is better than always answering the most frequent class (rules, section 9)."""

ALPHA = 0.05
"""Share of tables with a false verdict where no method differs; an interval covers 1 - ALPHA (rules, section 10)."""
POWER = 0.8
"""Share of experiments in which a difference of the minimum detectable size gets a verdict."""
MARGIN = 0.005
"""Differences within it, a share of 1, are equivalent, where nothing else was planned."""
HETEROGENEITY = 0.05
"""Level at which the check rejects that the methods share one seed variance."""
LEAST_SEEDS = 3
"""Shared seeds that a verdict takes. With two, nothing but the texts would be known well."""

LARGE_TRAIN = 10_000
"""Different train reviews beyond which validation is the large one (rules, "Splits")."""
VALIDATION_A_CLASS, LARGE_VALIDATION_A_CLASS, TEST_A_CLASS = 250, 1000, 1000
"""Reviews of each class that are held out of a source without such a split of its own."""
