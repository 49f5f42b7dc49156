"""Reviews from elsewhere: the Rotten Tomatoes sentences of the package of the embedded reviews.

They test what a method learnt on IMDB on other films, in other words and at a tenth of the length. No method that is tested
so trains on them, and nothing is chosen by them.
"""

from __future__ import annotations

from bench.data.sources import read_sentences
from bench.data.tokenization import Split, open_tokenizer, tokenised
from bench.models.pretrained import PretrainedModel
from bench.system.cache import Arrays, cached_arrays
from bench.system.files import sha256_bytes

__all__ = ["sentences"]

VERSION = 1


def sentences(pretrained: PretrainedModel) -> Split:
    """All 8,530 sentences (Pang and Lee, ACL 2005), tokenised; from the cache where they are there.

    Raises:
        BenchError: if the package of the embedded reviews is not installed, or the tokenizer cannot be used.
    """
    key = sha256_bytes(f"{VERSION} rotten-tomatoes {pretrained.tokenizer_sha256}".encode())

    def make() -> Arrays:
        return vars(tokenised(open_tokenizer(pretrained.folder / "tokenizer.json"), read_sentences()))

    return Split(**cached_arrays(f"sentences/{key}.npz", ("ids", "starts", "labels"), make))
