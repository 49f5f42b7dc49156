"""The base-size encoder: joined from pieces once and whole, and every method fits its family as it fits the others."""

from __future__ import annotations

import hashlib
import shutil
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

import bench.models.split_archive
import methods
from bench.cli.doctor import diagnose
from bench.data.sources import Source
from bench.models.classifier import load_classifier
from bench.models.pretrained import PretrainedModel, find
from bench.models.split_archive import installed, unpack
from bench.system.files import TEMPORARY
from tests.classifiers import IDS, MASK
from tests.conftest import write_encoder
from tests.encoder_folders import refused

FILES = ["config.json", "tokenizer.json", "model.safetensors", "modules.json", "1_Pooling/config.json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer MPNet of width 32 with mean pooling, as the packaged one is laid out."""
    return write_encoder(tmp_path_factory.mktemp("encoders") / "tiny-mpnet", "MPNet", '{"pooling_mode_mean_tokens": true}')


@pytest.fixture(scope="module")
def mpnet(folder: Path) -> PretrainedModel:
    return find(str(folder))


@pytest.mark.parametrize(("name", "modules"), [("houlsby", 4), ("pfeiffer", 2)])
def test_adapters_sit_where_they_do_in_the_other_families(mpnet: PretrainedModel, name: str, modules: int) -> None:
    """After the attention's and after the feed-forward block's output; each is passed through, and nothing below trains."""
    from adapters.methods.modeling import Adapter

    encoder = load_classifier(mpnet, seed=0, dropout=0.0, attention_dropout=0.0).encoder
    encoder = methods.get(name).attach(encoder)
    found = {path: module for path, module in encoder.named_modules() if isinstance(module, Adapter)}
    places = [path.split(".adapters.")[0] for path in found]
    assert len(found) == modules
    assert sum("attention" in place for place in places) == (2 if name == "houlsby" else 0)
    passed: set[str] = set()
    for path, module in found.items():
        module.register_forward_hook(lambda *_, path=path: passed.add(path))
    embedded: list[torch.Tensor] = []
    encoder.embeddings.register_forward_hook(lambda module, given, out: embedded.append(out))
    out = encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
    assert passed == set(found)
    assert not embedded[0].requires_grad
    out.sum().backward()
    assert {p for p, q in encoder.named_parameters() if q.grad is not None} == {
        p for p, q in encoder.named_parameters() if q.requires_grad
    }


def test_dropout_reaches_attention_and_the_rest(mpnet: PretrainedModel, tiny: PretrainedModel) -> None:
    bert = load_classifier(tiny, seed=0, dropout=0.2, attention_dropout=0.3).encoder
    assert (bert.config.attention_probs_dropout_prob, bert.embeddings.dropout.p) == (0.3, 0.2)
    encoder = load_classifier(mpnet, seed=0, dropout=0.25, attention_dropout=0.5).encoder
    rates = {path: module.p for path, module in encoder.named_modules() if isinstance(module, nn.Dropout)}
    assert {rate for path, rate in rates.items() if path.endswith("attn.dropout")} == {0.5}
    assert {rate for path, rate in rates.items() if not path.endswith("attn.dropout")} == {0.25}


# The pieces


@pytest.fixture
def packaged(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The tiny encoder as three installed packages that hold a zip in pieces, under the name `mpnet`; returns the pieces."""
    archive = tmp_path / "whole.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("../../escaped.txt", "a member that would lie outside")
        zipped.writestr("/absolute.txt", "another")
        for name in FILES:
            zipped.write(folder / name, f"tiny/{name}")
        zipped.writestr("tiny/README.md", "not wanted")
    data = archive.read_bytes()
    archive.unlink()
    site, size, pieces = tmp_path / "site", len(data) // 3 + 1, {}
    for i in range(3):
        info = site / f"tiny_part_{i}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tiny-part-{i}\nVersion: 1.0\n")
        piece = site / f"tiny-part_{i}" / f"tiny.zip.{i}"
        piece.parent.mkdir()
        piece.write_bytes(data[i * size : (i + 1) * size])
        pieces[f"tiny-part-{i}"] = f"tiny-part_{i}/tiny.zip.{i}"
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    monkeypatch.syspath_prepend(site)
    for name, value in {"PARTS": pieces, "FOLDER": "tiny", "FILES": files, "GET": "run: make it"}.items():
        monkeypatch.setattr(bench.models.split_archive, name, value)
    monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path / "cache"))
    return [site / inside for inside in pieces.values()]


def held(cache: Path) -> set[str]:
    found = {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()}
    return {path for path in found if path.startswith("encoders/")}


def test_joined_from_its_pieces_it_is_the_encoder_that_was_cut_and_unpacked_once(
    packaged: list[Path], mpnet: PretrainedModel, tmp_path: Path
) -> None:
    found = find("mpnet")
    assert (found.name, found.sha256, found.pooling) == ("mpnet", mpnet.sha256, "mean")
    assert held(tmp_path / "cache") == {f"encoders/tiny/{name}" for name in FILES}
    assert not list(tmp_path.rglob("escaped.txt"))
    assert not Path("/absolute.txt").exists()
    first = unpack()
    times = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    for piece in packaged:
        piece.unlink()
    assert unpack() == first
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == times


def test_a_damaged_copy_is_made_again_and_what_a_killed_process_left_is_removed(
    packaged: list[Path], mpnet: PretrainedModel, tmp_path: Path
) -> None:
    left = tmp_path / "cache" / "encoders" / f".tiny.abc{TEMPORARY}" / "tiny"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    weights = unpack() / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    (weights.parent / "tokenizer.json").unlink()
    assert find("mpnet").sha256 == mpnet.sha256
    assert held(tmp_path / "cache") == {f"encoders/tiny/{name}" for name in FILES}


def test_of_several_at_once_one_unpacks(packaged: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    replaced: list[Path] = []
    replace = bench.models.split_archive._replace

    def counted(folder: Path, *rest: object) -> None:
        replaced.append(folder)
        replace(folder, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.models.split_archive, "_replace", counted)
    together = threading.Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(lambda _: (together.wait(), unpack())[1], range(3)))
    assert len(set(folders)) == len(replaced) == 1


def test_without_its_packages_a_line_says_how_to_get_it(packaged: list[Path], tmp_path: Path) -> None:
    packaged[1].unlink()
    assert refused("mpnet") == "encoder 'mpnet' is not installed whole (2 of its 3 packages); run: make it"
    for piece in (packaged[0], packaged[2]):
        piece.unlink()
    assert refused("mpnet") == "encoder 'mpnet' is not installed; run: make it"
    assert not held(tmp_path / "cache")


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_damaged_piece_is_refused_and_leaves_nothing(packaged: list[Path], tmp_path: Path, which: int) -> None:
    data = bytearray(packaged[which].read_bytes())
    data[len(data) // 2] ^= 255
    packaged[which].write_bytes(data if which < 2 else data[:100])
    assert "packages are damaged" in refused("mpnet")
    assert not held(tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob(f"*{TEMPORARY}"))


def test_another_content_or_a_cache_that_is_missing_or_no_folder_is_refused(
    packaged: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(bench.models.split_archive.FILES, "model.safetensors", "0" * 64)
        assert "tiny/model.safetensors has another content" in refused("mpnet")
    with monkeypatch.context() as patch:
        patch.setenv("ADAPTER_BENCH_CACHE", "/proc/no-cache-here")
        assert "set ADAPTER_BENCH_CACHE" in refused("mpnet")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "encoders").write_text("in the way")
    assert "cannot be unpacked into" in refused("mpnet")


def test_the_doctor_offers_it_and_unpacks_nothing(packaged: list[Path], tmp_path: Path) -> None:
    def line() -> str:
        return next(line for line in diagnose()[0].splitlines() if " mpnet: " in line)

    assert "mpnet: installed, unpacked into the cache when first used (packages tiny-part-0 to -003)" in line()
    assert not held(tmp_path / "cache")
    unpack()
    assert "parameters (unpacked in the cache)" in line()
    packaged[0].unlink()
    assert "parameters (unpacked in the cache)" in line()
    (tmp_path / "cache" / "encoders" / "tiny" / "config.json").unlink()
    assert "mpnet: not installed, and optional; run: make it" in line()


# The real one


@pytest.mark.slow
def test_the_packaged_mpnet(embedded: Source) -> None:
    if len(installed()) < 5:
        pytest.skip("the optional packages of all-mpnet-base-v2 are not installed (make mpnet)")
    pretrained = find("mpnet")
    assert (pretrained.pooling, pretrained.longest) == ("mean", 512)
    assert pretrained.shape.parameters == 108_895_872
    # Two plain sentences of praise lie closer to each other than to one of blame.
    classifier = load_classifier(pretrained, seed=0, dropout=0.0, attention_dropout=0.0).eval()
    from bench.data.tokenization import open_tokenizer

    texts = ["A wonderful, moving film.", "I loved this touching movie.", "Dull, badly acted rubbish."]
    batch = [open_tokenizer(pretrained.folder / "tokenizer.json").encode(text).ids for text in texts]
    with torch.no_grad():
        vectors = [classifier.features(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))[0] for ids in batch]
    near, far = (torch.cosine_similarity(vectors[0], vectors[i], dim=0).item() for i in (1, 2))
    assert near > 0.6 > far
    houlsby = methods.configured("houlsby", {"bottleneck": 64, "non_linearity": "relu"})
    encoder = houlsby.attach(classifier.encoder)
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == 2_379_264
