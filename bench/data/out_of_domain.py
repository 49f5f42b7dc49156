"""The out-of-domain test: the Rotten Tomatoes sentences of the package of the embedded reviews.

Other films, another style, a tenth of the length. Nothing is trained on them or chosen by them.
"""

from __future__ import annotations

from bench.data.sources import read_sentences
from bench.data.tokenization import Split, open_tokenizer, tokenize
from bench.models.pretrained import PretrainedModel
from bench.system.cache import Arrays, cached_arrays
from bench.system.files import sha256_bytes

__all__ = ["sentences"]

VERSION = 1


def sentences(pretrained: PretrainedModel) -> Split:
    """Return all 8,530 sentences (Pang and Lee, ACL 2005), tokenized; from the cache if they are there.

    Raises:
        BenchError: if the package of the embedded reviews is not installed, or the tokenizer cannot be used.
    """
    key = sha256_bytes(f"{VERSION} rotten-tomatoes {pretrained.tokenizer_sha256}".encode())

    def make() -> Arrays:
        return vars(tokenize(open_tokenizer(pretrained.folder / "tokenizer.json"), read_sentences()))

    return Split(**cached_arrays(f"sentences/{key}.npz", ("ids", "starts", "labels"), make))
