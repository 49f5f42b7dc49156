"""Whatever is given to a parser, it answers or says in one line what is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.sources import Reviews, read
from bench.models.check_tokenizer import _ids, _wrong
from bench.models.pretrained import allowed
from bench.models.weight_files import check_weights
from bench.records.schema import Baseline, Record
from bench.records.spec import Budget, parse_seeds, parse_size
from bench.records.store import Damaged, _record, load, save
from bench.report.render import render
from bench.system.errors import BenchError
from methods import EncoderShape
from tests.factories import baseline, ended, run

IN_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
NUMBERS = st.sampled_from(["60", "1.5", ".5", "0", "-1", "1e3", "9" * 40, "nan", "inf", "٣", ""])
UNITS = st.sampled_from(["s", "sec", "m", "h", "steps", "k steps", "M tokens", "epochs", "GiB", "MB", "TiB", "B", ""])
WRITTEN = st.text(max_size=70) | st.builds("{}{}{}".format, NUMBERS, st.sampled_from(["", " ", "\t", "\x00"]), UNITS)


@contextmanager
def one_line() -> Iterator[None]:
    """Bad input may be refused, in a line that is not too long."""
    said = ""
    try:
        yield
    except BenchError as error:
        said = str(error)
    assert len(said) < 1000
    assert "\n" not in said  # what a person wrote is quoted with repr


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(BenchError) as caught:
        call()
    assert 0 < len(str(caught.value)) < 1000


@given(WRITTEN)
def test_budgets(text: str) -> None:
    with one_line():
        budget = Budget.parse(text)
        assert 0 < budget.amount < 1e14
        assert str(budget)
        assert not set("/ ,") & set(budget.slug)


@given(WRITTEN | st.lists(st.integers(-1, 2**33).map(str), max_size=5).map(",".join))
def test_seeds(text: str) -> None:
    with one_line():
        seeds = parse_seeds(text)
        assert 1 <= len(seeds) == len(set(seeds)) <= 1000 or "," in text
        assert all(0 <= seed < 2**32 for seed in seeds)


@given(WRITTEN)
def test_sizes(text: str) -> None:
    with one_line():
        assert 2**20 <= parse_size(text) <= 2**50


@pytest.mark.parametrize("text", ["9" * 500 + "TiB", "1" + "0" * 5000], ids=len)
def test_a_number_that_python_does_not_convert_is_refused(text: str) -> None:
    for parse in (Budget.parse, parse_seeds, parse_size):
        with pytest.raises(BenchError, match=r"\A.*\Z"):
            parse(text)


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*here, key)
        yield from places(inner, (*here, key))


def mutated(draw: Callable[..., Any], record: dict[str, Any]) -> dict[str, Any]:
    """The record with one to three values replaced, left out or added."""
    made: dict[str, Any] = json.loads(json.dumps(record))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(sorted(places(made), key=str)))
        inside = made
        for key in path[:-1]:
            inside = inside[key]
        kind = draw(st.sampled_from(["replace", "number", "remove", "add"]))
        if kind == "remove":
            del inside[path[-1]]
        elif kind == "add" and isinstance(inside, dict):
            inside[draw(st.text(max_size=10))] = draw(JSON)
        elif kind == "number":
            inside[path[-1]] = draw(st.sampled_from([0, -1, 1, 10**18, 10**30, 1e-300, 1e300, math.inf, math.nan, True]))
        else:
            inside[path[-1]] = draw(JSON)
    return made


RECORDS: list[Record | Baseline] = [
    run(), run("lora", 1, 30), ended("full", "failed"), baseline(22404), run(spec={"purpose": "trial", "seed": 5}, test=None),
]  # fmt: skip


@IN_A_FOLDER
@given(st.data())
def test_a_mutated_record_is_read_or_named_and_never_stops_a_report(tmp_path: Path, data: st.DataObject) -> None:
    """Written as schema version 1, where no checksum keeps a changed record out; the rest is reported in any case."""
    for path in tmp_path.glob("*.json"):
        path.unlink()
    whole = [save(tmp_path, record) for record in (run(seed=7), run("lora", 7), baseline(1600))]
    chosen = data.draw(st.sampled_from(RECORDS)).model_dump(mode="json")
    odd = tmp_path / "odd.json"
    odd.write_text(json.dumps(mutated(data.draw, {**chosen, "schema_version": 1})))
    before = odd.read_bytes()
    found = list(load(tmp_path))
    assert sum(not isinstance(item, Damaged) for item in found) >= len(whole)
    for item in found:
        if isinstance(item, Damaged):
            assert item.path == odd
            assert 0 < len(item.reason) < 400
    for style in ("table", "markdown", "latex", "csv", "json"):
        assert render(tmp_path, reference="houlsby", style=style, view="all" if style == "table" else None)
    assert odd.read_bytes() == before


@IN_A_FOLDER
@given(st.data())
def test_bytes_of_a_record_changed_at_random_are_read_or_named(tmp_path: Path, data: st.DataObject) -> None:
    path = save(tmp_path, run())
    content = bytearray(path.read_bytes())
    at, to = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 255))
    changed = content[at] != to
    content[at] = to
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), at]))])
    (found,) = load(tmp_path)
    assert isinstance(found, Damaged) == (changed or len(path.read_bytes()) < len(content))


@given(JSON)
def test_what_is_no_record_is_refused_as_a_value(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        _record(value)


CONFIG = {
    "model_type": "bert", "vocab_size": 100, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 16, "type_vocab_size": 2, "hidden_act": "gelu", "pad_token_id": 0,
    "layer_norm_eps": 1e-12, "initializer_range": 0.02, "position_embedding_type": "absolute", "auto_map": {"AutoModel": "x.Y"},
}  # fmt: skip
PLAIN = (str, int, float, bool)


@given(st.data())
def test_a_mutated_config_passes_with_plain_fields_of_the_list_alone(data: st.DataObject) -> None:
    config = mutated(data.draw, CONFIG) if data.draw(st.booleans()) else data.draw(JSON)
    with one_line():
        found = allowed("x", config)
        assert set(found) <= set(CONFIG) - {"auto_map"} | {"n_layers", "n_heads", "dim", "hidden_dim"}
        assert all(type(value) in PLAIN for value in found.values())
        assert EncoderShape.from_config(found).width == config["hidden_size"]


def test_a_long_and_nested_value_makes_a_short_message() -> None:
    nested: Any = "\x1f" * 1000
    for _ in range(10):
        nested = {f"{i}" * 1000: nested for i in range(10)}
    (why, *_) = _wrong({"model": {"type": nested, "vocab": {"a": 1}}})
    assert len(why) < 300


@given(st.data())
def test_a_mutated_tokenizer_is_judged(data: st.DataObject) -> None:
    tokenizer: dict[str, Any] = {
        "version": "1.0", "added_tokens": [{"id": 0, "content": "[PAD]"}], "normalizer": {"type": "BertNormalizer"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}]},
        "post_processor": {
            "type": "TemplateProcessing", "special_tokens": {"a": {"id": "a", "ids": [1], "tokens": ["a"]}}, "sep": ["a", 1],
        },
        "decoder": {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": ""},
        "model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1}},
    }  # fmt: skip
    assert not list(_wrong(tokenizer))
    found = mutated(data.draw, tokenizer) if data.draw(st.booleans()) else data.draw(JSON)
    reasons = list(_wrong(found))
    assert all(0 < len(why) < 400 for why in reasons)
    assert reasons or all(type(number) is int for _, number in _ids(found))


def header(content: Any, data: bytes = b"") -> bytes:
    text = json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text + data


@IN_A_FOLDER
@given(st.binary(max_size=100) | JSON.map(header) | st.tuples(JSON, JSON, JSON, st.integers(0, 80)))
def test_a_header_of_weights_is_read_or_refused(tmp_path: Path, content: Any) -> None:
    if isinstance(content, tuple):
        dtype, shape, offsets, size = content
        tensor = {"dtype": dtype or "F32", "shape": shape, "data_offsets": offsets}
        content = header({"encoder.layer.0.output.dense.weight": tensor, "__metadata__": {"format": "pt"}}, bytes(size))
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    refused(lambda: check_weights("x", [path], CONFIG, EncoderShape.from_config(CONFIG)))


ODD_CELLS = ["0", "1", "1.0", "positive", "NaN", "", '"', "a,b", "x\0y", "\ufeff", "\r\n", "'"]
CELLS = st.text(max_size=30) | st.sampled_from(ODD_CELLS)


@IN_A_FOLDER
@given(
    st.lists(st.lists(CELLS, min_size=1, max_size=3), max_size=6),
    st.sampled_from(["text,label\n", "label,text\n", "text,label,text\n", "\ufefftext,label\r\n", ""]),
    st.booleans(),
)
def test_a_csv_is_read_or_refused(tmp_path: Path, rows: list[list[str]], head: str, quoted: bool) -> None:
    def cell(text: str) -> str:
        return '"{}"'.format(text.replace('"', '""')) if quoted else text

    content = head + "".join(",".join(cell(text) for text in row) + "\n" for row in rows)
    (tmp_path / "train.csv").write_bytes(content.encode("utf-8", "surrogatepass"))
    (tmp_path / "test.csv").write_text("text,label\ngood,1\nbad,0\n")
    with one_line():
        source = read(str(tmp_path))
        assert isinstance(source.train, Reviews)
        assert set(source.train.labels) == {0, 1}
        assert all(text.strip() and "\0" not in text for text in source.train.texts)
        assert len(source.sha256) == 64


@IN_A_FOLDER
@given(st.binary(max_size=200))
def test_bytes_called_a_table_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("train.csv", "train.parquet"):
        for old in tmp_path.iterdir():
            old.unlink()
        (tmp_path / name).write_bytes(content)
        refused(lambda: read(str(tmp_path)))
