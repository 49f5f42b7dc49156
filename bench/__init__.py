"""A comparison of parameter-efficient fine-tuning methods under one device budget."""

import os

from bench.openmp import limit_spinning

__version__ = "0.1.0"
RULES_VERSION = 3
"""Version of RULES.md: records of different versions are never compared."""

limit_spinning(os.environ)  # here, since it must come before every import of torch
