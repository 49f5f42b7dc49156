"""Reviews from elsewhere: the Rotten Tomatoes sentences of the package of the embedded reviews.

They test what a method learnt on IMDB on other films, in other words and at a tenth of the length. No method that is tested
so trains on them, and nothing is chosen by them.
"""

from __future__ import annotations

from zipfile import BadZipFile

import numpy as np

from bench.checkpoint import Checkpoint
from bench.files import atomic_write, cache_dir, sha256_bytes
from bench.reviews import read_sentences
from bench.tokens import Split, open_tokenizer, tokenised

__all__ = ["sentences"]

VERSION = 1


def sentences(checkpoint: Checkpoint) -> Split:
    """All 8,530 sentences (Pang and Lee, ACL 2005), tokenised; from the cache where they are there.

    Raises:
        UserError: if the package of the embedded reviews is not installed, or the tokenizer cannot be used.
    """
    cache = cache_dir()
    key = sha256_bytes(f"{VERSION} rotten-tomatoes {checkpoint.tokenizer_sha256}".encode())
    path = cache / "sentences" / f"{key}.npz" if cache else None
    if path is not None:
        try:
            with path.open("rb") as archive, np.load(archive, allow_pickle=False) as stored:
                return Split(stored["ids"], stored["starts"], stored["labels"])
        except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, BadZipFile):
            pass  # absent or damaged: made again below
    made = tokenised(open_tokenizer(checkpoint.folder / "tokenizer.json"), read_sentences())
    if path is not None:
        try:
            with atomic_write(path) as file:
                np.savez(file, allow_pickle=False, ids=made.ids, starts=made.starts, labels=made.labels)
        except OSError:
            pass  # a cache that cannot be written costs time, not a run
    return made
