"""What every run imports, imported once in the server that runs are forked from. A run imports the library of its method.

Importing takes seconds, a fork milliseconds. No tensor operation happens here: a thread pool would not survive the fork.
"""

import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["bench", "transformers"]


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Import as if these libraries were not installed."""
    there = {name: sys.modules[name] for name in names if name in sys.modules}
    stops: dict[str, Any] = dict.fromkeys(names)  # None in the place of a module stops its import
    sys.modules.update(stops)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(there)


# transformers and evaluate take two to three seconds to load these, for work that no run has. Once imported, transformers
# knows that they are installed.
with hidden(*(() if "transformers" in sys.modules else ("scipy", "sklearn"))):
    import transformers.models.auto.modeling_auto

    import bench.training.baseline
    import bench.training.run
    import bench.training.timed_slice

gc.freeze()  # every meter of memory starts with a collection, which would go through the libraries
warnings.simplefilter("ignore")
logging.getLogger("adapters").setLevel(logging.ERROR)
logging.getLogger("transformers").setLevel(logging.ERROR)
