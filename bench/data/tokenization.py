"""From texts to token ids, concatenated in one array. Truncation is left to batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.sources import Reviews, plain
from bench.system.errors import ModelError

__all__ = ["Ints", "Split", "open_tokenizer", "special_tokens", "tokenize"]

Ints = npt.NDArray[np.int64]

CHUNK = 500
"""Texts that the tokenizer gets at once: enough for its threads, few enough for a smooth progress bar."""


@dataclass(frozen=True)
class Split:
    """Tokenized texts: the ids of all, end to end, and where each begins."""

    ids: npt.NDArray[np.int32]
    starts: Ints
    """[n + 1]; text i is ids[starts[i]:starts[i + 1]], without special tokens."""
    labels: Ints
    """[n], classes from 0; of reviews 0 negative, 1 positive."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Ints) -> Split:
        """Return the texts at these positions [n], in their order."""
        parts = [self.ids[self.starts[row] : self.starts[row + 1]] for row in rows]
        starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        return Split(np.concatenate(parts), starts, self.labels[rows])


@contextmanager
def _refused() -> Iterator[None]:
    """Turn errors of the library into one line: on a damaged file it raises bare Exception, or panics."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"the encoder's tokenizer.json cannot be read: {' '.join(str(error).split())[:300]}") from None


def open_tokenizer(tokenizer_json: Path) -> Any:
    """Open the fast tokenizer of a pretrained model, without truncation and padding.

    Raises:
        ModelError: if the file cannot be read.
    """
    from tokenizers import Tokenizer

    with _refused():
        # Read here: the library takes no path that is not text.
        tokenizer = Tokenizer.from_buffer(tokenizer_json.read_bytes())
    # MiniLM's file has a truncation of 128 and padding baked in.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def special_tokens(tokenizer: Any) -> tuple[Ints, Ints]:
    """Return the ids [1] before a text and those after it.

    Raises:
        ModelError: unless there is one of each.
    """
    with _refused():
        frame = tokenizer.encode("").ids
    if len(frame) != 2:
        raise ModelError(
            f"the encoder's tokenizer frames a text with {len(frame)} special tokens; one before and one after are needed"
        )
    return np.array(frame[:1], dtype=np.int64), np.array(frame[1:], dtype=np.int64)


def tokenize(tokenizer: Any, reviews: Reviews, on_chunk: Callable[[int], None] = lambda reviews: None) -> Split:
    """Tokenize texts, without special tokens; `on_chunk` is called with the number of each chunk."""
    ids: list[npt.NDArray[np.int32]] = []
    for start in range(0, len(reviews), CHUNK):
        texts = [plain(text) for text in reviews.texts[start : start + CHUNK]]
        with _refused():
            batch = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ids += [np.array(encoding.ids, dtype=np.int32) for encoding in batch]
        on_chunk(len(batch))
    starts = np.concatenate([[0], np.cumsum([len(i) for i in ids])]).astype(np.int64)
    return Split(np.concatenate(ids), starts, np.array(reviews.labels, dtype=np.int64))
