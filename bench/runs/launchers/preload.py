"""Everything that a run imports, imported once in the server that runs are forked from.

Importing takes over ten seconds, a fork milliseconds. No tensor operation happens here: a thread pool would not
survive the fork.
"""

import logging
import warnings

import adapters
import adapters.composition
import peft
import transformers.models.auto.modeling_auto

import bench.training.baseline
import bench.training.run
import bench.training.timed_slice

__all__ = ["adapters", "bench", "peft", "transformers"]

warnings.simplefilter("ignore")
logging.getLogger("adapters").setLevel(logging.ERROR)
logging.getLogger("transformers").setLevel(logging.ERROR)
