"""A comparison of parameter-efficient fine-tuning methods under one device budget."""

import os

from bench.system.openmp import limit_spinning

__version__ = "0.1.0"

limit_spinning(os.environ)  # here, since it must come before every import of torch
