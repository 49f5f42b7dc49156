"""What many tests need: the packaged encoder, a two-layer encoder of every family, and a small task of real reviews."""

from __future__ import annotations

import gc
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from bench.cli.app import main
from bench.data.sources import Reviews, Source, read
from bench.data.task import Ints, Split, Task, prepare, split
from bench.models.pretrained import PretrainedModel, find
from bench.records.schema import DataCut, Record, baseline_id
from bench.records.spec import Budget, RunSpec
from bench.records.store import Damaged, load
from bench.system.device import resolve_device
from bench.training.baseline import BaselineJob, baseline_spec
from bench.training.job import Job, job_of

settings.register_profile("loaded", deadline=None)
settings.load_profile("loaded")  # an example takes long where the machine is busy

TINY = {"vocab_size": 30522, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}
FAMILIES: dict[str, dict[str, Any]] = {
    "Bert": {}, "Roberta": {"max_position_embeddings": 514}, "XLMRoberta": {"max_position_embeddings": 514}, "DistilBert": {},
    "MPNet": {"max_position_embeddings": 514}, "Electra": {"embedding_size": 16}, "Albert": {"embedding_size": 16},
    # As in DeBERTa-v3: positions are relative alone, their projections those of the content.
    "DebertaV2": {
        "relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "type_vocab_size": 0,
    },
    "ModernBert": {
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2, "local_attention": 4,
        "max_position_embeddings": 512,
    },
}  # fmt: skip
"""Families of encoders, as transformers' classes begin, and what their configurations need beside `TINY`."""
PLAIN = ["Bert", "Roberta", "XLMRoberta", "DistilBert", "MPNet"]
MEAN = '{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}'
"""Mean pooling as sentence-transformers before 5.4 writes it."""

LONG = (
    "test_ray_cluster", "test_ray", "test_kills", "test_tuned_runs", "test_predict", "test_card", "test_run", "test_faults",
    "test_disk", "test_resume", "test_page_in_browser", "test_page_points", "test_page",
)  # fmt: skip
"""Files that take longest. They come first, so that at the end no process has one left while the others are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first, and skip what needs a CUDA device where there is none."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if marked and resolve_device("auto") != "cuda":
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_collection_finish() -> None:
    """Spare the libraries, which are loaded now, from the garbage collections that every meter of memory starts with."""
    import hypothesis  # noqa: F401  it asks the collector who refers to what, which has to be before

    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def quiet_libraries() -> None:
    for name in ("adapters", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)


def call(arguments: list[str]) -> int:
    """Call the command in this process; returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def records(folder: Path) -> list[Record]:
    """The runs of a folder, whose records are all whole."""
    found = list(load(folder))
    assert not any(isinstance(item, Damaged) for item in found)
    return [item for item in found if isinstance(item, Record)]


@contextmanager
def runs_by(work: str) -> Iterator[None]:
    """What a command runs in processes of its own is this function of `tests.work` instead of `bench.training.run:execute`."""
    from bench.runs.launchers.process import LocalEngine

    whole = LocalEngine.run

    def other(engine: LocalEngine, asked: str, *arguments: Any, **named: Any) -> Any:
        return whole(engine, f"tests.work:{work}" if asked == "bench.training.run:execute" else asked, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalEngine, "run", other)
        yield


@pytest.fixture
def short_runs() -> Iterator[None]:
    """Runs measure the machine for moments only: of a run on a tiny encoder that is half."""
    with runs_by("short"):
        yield


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Tests neither read nor fill the cache of the person who runs them."""
    patch = pytest.MonkeyPatch()
    patch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def minilm() -> PretrainedModel:
    return find("minilm")


def family_config(kind: str, **sizes: Any) -> Any:
    """The configuration of a small encoder of a family, as transformers has it."""
    import transformers

    sizes = {**TINY, **FAMILIES[kind], **sizes}
    if kind == "DistilBert":
        names = {
            "hidden_size": "dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "intermediate_size": "hidden_dim",
        }
        sizes = {names.get(key, key): value for key, value in sizes.items()}
    return getattr(transformers, f"{kind}Config")(**sizes)


def write_encoder(folder: Path, kind: str = "Bert", pooling: str | None = None, **sizes: Any) -> Path:
    """A randomly initialised encoder of a family, saved as transformers saves it, with MiniLM's tokenizer.

    With `pooling`, what sentence-transformers writes beside it.
    """
    import torch
    import transformers

    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}Model")(family_config(kind, **sizes))
    model.save_pretrained(folder, safe_serialization=True)
    shutil.copy(find("minilm").folder / "tokenizer.json", folder)
    if pooling is not None:
        (folder / "modules.json").write_text("[]")
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(pooling)
    return folder


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], PretrainedModel]:
    """A two-layer encoder of a family, with that family's own head; written once."""
    return cache(lambda kind: find(str(write_encoder(tmp_path_factory.mktemp("families") / kind, kind))))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer BERT of width 32, with mean pooling as sentence-transformers writes it."""
    return write_encoder(tmp_path_factory.mktemp("encoders") / "tiny", pooling=MEAN)


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> PretrainedModel:
    return find(str(tiny_folder))


@pytest.fixture(scope="session")
def embedded() -> Source:
    return read("embedded")


@pytest.fixture(scope="session")
def small_source(embedded: Source) -> Source:
    """600 real reviews, 300 of each class."""
    half = len(embedded.train) // 2
    rows = [*range(300), *range(half, half + 300)]
    return Source("small", Reviews([embedded.train.texts[i] for i in rows], [embedded.train.labels[i] for i in rows]), None)


@pytest.fixture(scope="session")
def small_folder(small_source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small source as a folder with its own test split: 400 reviews to train on, 200 to test on."""
    import pandas as pd

    folder = tmp_path_factory.mktemp("reviews")
    labels = [small_source.labels[label] for label in small_source.train.labels]
    table = pd.DataFrame({"text": small_source.train.texts, "label": labels})
    held_out = np.arange(len(table)) % 3 == 0
    table[~held_out].to_csv(folder / "train.csv", index=False)
    table[held_out].to_parquet(folder / "test.parquet")
    return folder


@pytest.fixture(scope="session")
def easy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts that any encoder tells apart in a few steps, as a folder of 400 to train on and 40 to test on."""
    import pandas as pd

    words = ("awful dreadful terrible boring poor", "superb wonderful great moving rich")
    labels = ("negative", "positive")
    table = pd.DataFrame(
        {"text": [f"{words[i % 2]} film {i}" for i in range(440)], "label": [labels[i % 2] for i in range(440)]}
    )
    folder = tmp_path_factory.mktemp("easy")
    table[:400].to_csv(folder / "train.csv", index=False)
    table[400:].to_csv(folder / "test.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def small_task(tiny: PretrainedModel, small_source: Source) -> Task:
    return prepare(tiny, small_source.sha256, lambda: split(small_source))


def cut_of(source: Source) -> DataCut:
    made = split(source)
    return DataCut(
        sha256=source.sha256, cut=made.name, train=len(made.train), validation=len(made.validation), test=len(made.test),
        duplicates_removed=made.duplicates_removed, leaked=len(made.leaked), labels=source.labels,
    )  # fmt: skip


def make_job(spec: RunSpec, pretrained: PretrainedModel, folder: Path) -> Job:
    """The job of a spec on the reviews of a folder."""
    return job_of(spec, pretrained, str(folder), cut_of(read(str(folder))), "a processor")


def make_spec(method: str = "houlsby", **fields: Any) -> RunSpec:
    """A spec with short defaults; the method's own hyperparameters unless others are given."""
    import methods

    defaults: dict[str, Any] = {
        "method": method, "hyperparameters": methods.get(method).hyperparameters(), "encoder": "tiny", "data": "small",
        "budget": Budget(amount=4, unit="steps"), "seed": 0, "max_length": 32, "truncation": "head+tail", "batch_size": 8,
        "precision": "fp32", "device": "cpu", "threads": 2,
    }  # fmt: skip
    return RunSpec(**{**defaults, **fields})


def baseline_job(source: Source, rows: Ints | None = None) -> BaselineJob:
    """The baseline on these rows of a source, or on all; it needs no tokens."""
    made = split(source)

    def labels(reviews: Reviews) -> Split:
        return Split(np.array([], dtype=np.int32), np.zeros(len(reviews) + 1, dtype=np.int64), np.array(reviews.labels))

    none = np.array([], dtype=np.int64)
    task = Task(labels(made.train), labels(made.validation), labels(made.test), made.leaked, none, none, 0)
    rows = np.arange(len(made.train)) if rows is None else rows
    spec = baseline_spec(rows, None)
    return BaselineJob(baseline_id(spec, data_sha256=source.sha256), spec, rows, made, task, cut_of(source), 1)


def only(folder: Path) -> Record:
    (record,) = load(folder)
    return record


def left(out: Path, but: str = "logits") -> list[str]:
    """What lies in a results folder beside records, and but for these."""
    return sorted(path.name for path in out.iterdir() if path.suffix != ".json" and path.name != but)
