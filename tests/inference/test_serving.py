"""Several adapters on one encoder: each answers as if it were alone, in whatever order they are asked, and nothing changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.inference.serving import Server
from bench.models.classifier import Classifier, load_classifier
from bench.models.pretrained import PretrainedModel
from bench.records.artifacts import Saved
from bench.system.errors import SpecError
from tests.classifiers import attached, keep
from tests.conftest import make_spec
from tests.measurements.sharing import tensors

TEXTS = ["A warm and funny film.", "Dull.", "It never finds its feet, and neither does anyone who has to watch it. " * 9]


def stirred(pretrained: PretrainedModel, name: str, seed: int) -> Classifier:
    """A classifier with a method attached, whose trainable weights are far from where they began (LoRA's B is 0 at first)."""
    classifier = attached(pretrained, name, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in classifier.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return classifier


def saved_pair(out: Path, pretrained: PretrainedModel, names: tuple[str, str]) -> dict[str, Saved]:
    """Two saved runs, which differ in their weights and in how long a text may be."""
    return {
        label: keep(out, pretrained, stirred(pretrained, name, seed), make_spec(name, seed=seed, max_length=length))
        for label, name, seed, length in zip(("imdb", "rotten-tomatoes"), names, (1, 2), (32, 16), strict=True)
    }


def all_weights(server: Server) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(server._classifier.encoder.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def assert_plain_weights(server: Server, pretrained: PretrainedModel) -> None:
    """The encoder's own weights, under whatever names the libraries give them, are those of the checkpoint."""
    held = {
        name.removeprefix("base_model.model.").removeprefix("model.").replace(".base_layer", ""): tensor
        for name, tensor in server._classifier.encoder.state_dict().items()
    }
    plain = load_classifier(pretrained, seed=0, dropout=0.0, attention_dropout=0.0).encoder
    for name, tensor in plain.named_parameters():
        assert torch.equal(held[name], tensor), name


PAIRS = [
    ("houlsby", "houlsby"), ("houlsby", "pfeiffer"), ("houlsby", "head-only"), ("lora", "lora"), ("lora", "lora-all-linear"),
    ("lora-matched", "head-only"), ("head-only", "head-only"),
]  # fmt: skip
OWN_HEADS = [((name, name), kind) for name in ("houlsby", "lora") for kind in ("Roberta", "DistilBert", "MPNet")]


@pytest.mark.parametrize(("names", "kind"), [*((names, None) for names in PAIRS), *OWN_HEADS])
def test_each_of_two_answers_as_if_alone_in_every_order(
    names: tuple[str, str], kind: str | None, tiny: PretrainedModel, family: Callable[[str], PretrainedModel], tmp_path: Path
) -> None:
    tiny = tiny if kind is None else family(kind)
    saved = saved_pair(tmp_path, tiny, names)
    alone = {label: Server({label: one}, tiny, "cpu").logits(label, TEXTS) for label, one in saved.items()}
    assert not np.allclose(*alone.values(), atol=1e-3)
    both = Server(saved, tiny, "cpu")
    assert_plain_weights(both, tiny)
    before = all_weights(both)
    for order in product(saved, repeat=3):
        for label in order:
            assert np.array_equal(both.logits(label, TEXTS), alone[label]), order
    assert all_weights(both) == before
    other_way = Server(dict(reversed(saved.items())), tiny, "cpu")
    assert all(np.array_equal(other_way.logits(label, TEXTS), alone[label]) for label in saved)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("houlsby", "full"), "--adapter rotten-tomatoes: full changes the encoder itself and cannot share it"),
        (("bitfit", "lora"), "--adapter imdb: bitfit changes the encoder itself"),
        (("houlsby", "lora"), r"one library, but imdb \(houlsby\) by adapters and rotten-tomatoes \(lora\) by peft; use them"),
    ],
)
def test_what_cannot_share_an_encoder_is_refused(
    names: tuple[str, str], says: str, tiny: PretrainedModel, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=says):
        Server(saved_pair(tmp_path, tiny, names), tiny, "cpu")


def test_one_more_adapter_costs_its_own_bytes(tiny: PretrainedModel, tmp_path: Path) -> None:
    saved = saved_pair(tmp_path, tiny, ("houlsby", "houlsby"))
    servers = (Server(dict(list(saved.items())[:k]), tiny, "cpu") for k in (1, 2))
    one, two = (sum(tensor.nbytes for tensor in tensors(server)) for server in servers)
    body = sum(p.nbytes for p in attached(tiny, "houlsby").encoder.parameters() if p.requires_grad)
    head = 4 * (2 * 32 + 2)
    assert two - one == body + head


def test_a_text_is_cut_as_in_its_run(tiny: PretrainedModel, tmp_path: Path) -> None:
    """What lies between the kept head and tail makes no difference, and what is kept does."""
    saved = keep(tmp_path, tiny, stirred(tiny, "houlsby", 1), make_spec("houlsby", max_length=18))
    server = Server({"one": saved}, tiny, "cpu")
    sentence = "the film is a long and slow one but it has a heart and some fine songs in it too now"
    words = [f"{word} " for word in sentence.split()]
    whole, middle, end = words[:], words[:], words[:]
    middle[6], end[-1] = "bad ", "bad "
    logits = server.logits("one", ["".join(text) for text in (whole, middle, end)])
    assert np.allclose(logits[0], logits[1], atol=1e-6)
    assert not np.allclose(logits[0], logits[2], atol=1e-3)
