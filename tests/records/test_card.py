"""A model card says what a run came to, and its own snippet loads the run with its library alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import methods
from bench.models.classifier import Classifier
from bench.models.pretrained import PretrainedModel
from bench.records.artifacts import Saved
from bench.records.card import README, snippet
from bench.records.store import save
from tests.classifiers import IDS, MASK, attached, keep, record_of
from tests.conftest import call, make_spec

ALONE = """
import json, os, sys
import numpy as np
for folder in sys.argv[1:]:
    os.chdir(folder)
    code = open("README.md").read().split("```python\\n")[1].split("```")[0]
    found = {}
    exec(code, found)
    np.savez("answers.npz", **{name: found[name].numpy() for name in ("ids", "mask", "logits")})
assert not {"bench", "methods"} & set(sys.modules)
"""


def kept(out: Path, pretrained: PretrainedModel, method: str) -> tuple[Saved, Classifier]:
    """A saved run with its record, whose changes show, and its classifier. Its encoder lies where the card's snippet looks."""
    classifier, spec = attached(pretrained, method).eval(), make_spec(method)
    torch.manual_seed(1)
    with torch.no_grad():
        before = classifier.features(IDS, MASK)
        for parameter in classifier.parameters():
            parameter += 0.05 * torch.randn(parameter.shape) * parameter.requires_grad
        assert torch.allclose(classifier.features(IDS, MASK), before, atol=1e-4) == (method == "head-only")
    saved = keep(out, pretrained, classifier, spec)
    save(out, record_of(pretrained, spec))
    encoder = saved.folder / spec.encoder
    encoder.mkdir()
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        (encoder / file).symlink_to(pretrained.folder / file)
    # Every family has MiniLM's tokenizer here, to which the classes of others would add tokens.
    (encoder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}')
    return saved, classifier


def write_card(saved: Saved, results: Path) -> str:
    assert call(["card", str(saved.folder), "--results", str(results)]) == 0
    return (saved.folder / README).read_text()


def test_the_snippet_of_a_card_answers_as_the_run_does(
    tiny: PretrainedModel, family: Callable[[str], PretrainedModel], tmp_path: Path
) -> None:
    cases = [("tiny", "houlsby"), ("tiny", "lora"), ("tiny", "full"), ("tiny", "head-only"), ("MPNet", "houlsby")]
    cases += [("Bert", "lora"), ("Roberta", "pfeiffer"), ("DistilBert", "houlsby"), ("Electra", "bitfit"), ("Albert", "full")]
    cases += [("DebertaV2", "lora"), ("ModernBert", "houlsby"), *(("tiny", name) for name in methods.expand("peft")[1:])]
    runs = []
    for kind, method in cases:
        saved, classifier = kept(tmp_path / kind, tiny if kind == "tiny" else family(kind), method)
        assert "use_safetensors=True" in write_card(saved, tmp_path / kind) or not methods.get(method).backend
        saved.verified()
        runs.append((saved, classifier))
    assert "interface=interface" in (snippet(runs[4][0]) or "")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *(str(saved.folder) for saved, _ in runs)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for case, (saved, classifier) in zip(cases, runs, strict=True):
        answers = np.load(saved.folder / "answers.npz")
        with torch.no_grad():
            logits = classifier(torch.from_numpy(answers["ids"]), torch.from_numpy(answers["mask"]))
        assert np.allclose(answers["logits"], logits.numpy(), atol=1e-5), case


def test_a_card_has_metadata_of_the_hub_and_numbers_with_an_interval(tiny: PretrainedModel, tmp_path: Path) -> None:
    saved, _ = kept(tmp_path, tiny, "lora")
    text = write_card(saved, tmp_path)
    metadata = yaml.safe_load(text.split("---\n")[1])
    assert metadata["library_name"] == "peft"
    assert metadata["pipeline_tag"] == "text-classification"
    result = metadata["model-index"][0]["results"][0]
    record = record_of(tiny, make_spec("lora"))
    assert record.test is not None
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {
        "accuracy": record.test.accuracy,
        "f1": record.test.f1,
    }
    assert f"{100 * record.test.accuracy:.2f} % (95 % interval " in text
    assert "Hu et al." in text
    assert "hf upload" in text
    encoder = saved.card.encoder.model_copy(update={"revision": "a" * 40})
    pinned = snippet(Saved(saved.folder, saved.card.model_copy(update={"encoder": encoder})))
    assert (pinned or "").count(f'(ENCODER, revision="{"a" * 40}"') == 2
    assert str(tmp_path) not in text


def test_a_card_without_its_record_is_one_line_and_what_only_the_suite_can_load_is_said(
    tiny: PretrainedModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    saved, _ = kept(tmp_path, tiny, "lora")
    path = tmp_path / saved.card.record
    path.unlink()
    assert call(["card", str(saved.folder), "--results", str(tmp_path / "nowhere")]) == 2
    assert f"its record {path.name} is not there; name its folder with --results" in capfd.readouterr().err
    saved, _ = kept(tmp_path, tiny, "houlsby-ln")
    assert snippet(saved) is None
    assert "it is loaded by this suite" in write_card(saved, tmp_path)
