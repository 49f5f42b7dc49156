"""What the library `adapters` is made to do: sizes, precision, padding, files that it loads alone, adapters side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

import methods
from bench.data.task import Task
from bench.inference.predict import predict
from bench.models.classifier import Classifier, load_classifier
from bench.models.pretrained import PretrainedModel
from methods._adapters import FromLibrary
from tests.classifiers import attached, body, loop_for
from tests.conftest import PLAIN, family_config

SAVED = [name for name in methods.names() if isinstance(methods.get(name), FromLibrary) and methods.get(name).backend]
NEW = ("parallel", "compacter", "loreft", "prefix", "mam", "adapterdrop", "houlsby-ln", "top-layers")
IDS = torch.tensor([[101, 2023, 2003, 2307, 102], [101, 9643, 3185, 102, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])


def stirred(pretrained: PretrainedModel, name: str) -> Classifier:
    """A classifier on which the method does something, also where it starts as the identity."""
    classifier = attached(pretrained, name)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in classifier.encoder.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator) * (parameter != -1)
    return classifier


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("parallel", {"bottleneck": 5, "scaling": 1}),
        ("compacter", {"bottleneck": 8}),
        ("compacter", {"reduction_factor": 4}),
        ("loreft", {"rank": 3, "positions": 1}),
        ("prefix", {"prefix_length": 7}),
        ("mam", {"prefix_length": 7, "bottleneck": 5}),
        ("adapterdrop", {"dropped": 0.1, "bottleneck": 5}),
        ("top-layers", {"share": 1}),
    ],
)
def test_counts_follow_the_hyperparameters(tiny: PretrainedModel, name: str, settings: dict[str, float]) -> None:
    method = methods.configured(name, settings)
    encoder = load_classifier(tiny, seed=0, dropout=0.0, attention_dropout=0.0).encoder
    assert body(method.attach(encoder)) == method.trainable_parameters(tiny.shape)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("compacter", {"bottleneck": 6}, "widths that are multiples of 4"),
        ("adapterdrop", {"dropped": 1}, "dropped 1 must be between 0 and 1"),
        ("top-layers", {"share": 1.5}, "share 1.5 must be more than 0 and at most 1"),
    ],
)
def test_what_cannot_be_built_is_said(tiny: PretrainedModel, name: str, settings: dict[str, float], says: str) -> None:
    with pytest.raises(methods.MethodError, match=says):
        methods.configured(name, settings).trainable_parameters(tiny.shape)


def pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """Each of these methods with each family that it attaches to."""
    types = {kind: family_config(kind).model_type for kind in PLAIN}
    return [(name, kind) for name in names for kind in PLAIN if methods.get(name).supports(types[kind])]


@pytest.mark.parametrize(("name", "kind"), pairs(NEW))
def test_padding_changes_nothing(family: Callable[[str], PretrainedModel], kind: str, name: str) -> None:
    classifier = stirred(family(kind), name).eval()
    plain = attached(family(kind), "head-only").eval()
    with torch.no_grad():
        logits = classifier(IDS, MASK)
        assert not torch.allclose(logits, plain(IDS, MASK), atol=1e-4), "the method must show"
        assert torch.allclose(logits[1:], classifier(IDS[1:, :4], MASK[1:, :4]), atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NEW)
def test_some_steps_learn_a_batch_by_heart(tiny: PretrainedModel, small_task: Task, name: str, precision: str) -> None:
    settings = methods.configured(name, {"learning_rate": 1e-2}).hyperparameters()
    trainer = loop_for(tiny, small_task, name, hyperparameters=settings, precision=precision)
    for parameter in trainer.classifier.head.parameters():
        parameter.data *= 100
    trainer.warm_up()
    trainer.trained = [p for p in trainer.classifier.encoder.parameters() if p.requires_grad]  # the head stays
    trainer.optimizer = torch.optim.AdamW(trainer.trained, weight_decay=0.0)
    labels = small_task.train.labels
    rows = np.concatenate([np.flatnonzero(labels == label)[:4] for label in (0, 1)])

    def loss() -> float:
        logits = torch.from_numpy(predict(trainer.classifier, small_task, small_task.train, trainer.spec, rows))
        return float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[rows]).long()))

    before = loss()
    trainer.train_steps([rows] * 40)
    assert loss() < 0.95 * before


@pytest.mark.parametrize(("name", "kind"), pairs(SAVED))
def test_the_library_alone_loads_what_is_saved(
    family: Callable[[str], PretrainedModel], tmp_path: Path, kind: str, name: str
) -> None:
    import adapters

    method, first = methods.get(name), stirred(family(kind), name).eval()
    method.save(first.encoder, tmp_path / "saved")
    second = load_classifier(family(kind), seed=0, dropout=0.0, attention_dropout=0.0)
    interface = adapters.AdapterModelInterface._load(str(tmp_path / "saved")) if kind == "MPNet" else None
    adapters.init(second.encoder, interface=interface)
    named = second.encoder.load_adapter(str(tmp_path / "saved"), load_as="other", use_safetensors=True)  # type: ignore[operator]
    second.encoder.set_active_adapters(named)  # type: ignore[operator]
    with torch.no_grad():
        assert torch.equal(second.eval()(IDS, MASK), first(IDS, MASK))
    assert sum(file.stat().st_size for file in (tmp_path / "saved").glob("*.safetensors")) < 4 * body(first.encoder) + 2**14


def test_adapters_of_all_kinds_stand_on_one_encoder(family: Callable[[str], PretrainedModel], tmp_path: Path) -> None:
    pretrained = family("Roberta")
    holder = load_classifier(pretrained, seed=0, dropout=0.0, attention_dropout=0.0).eval()
    saved = {name: stirred(pretrained, name).eval() for name in SAVED}
    for i, (name, one) in enumerate(saved.items()):
        methods.get(name).save(one.encoder, tmp_path / name)
        holder.encoder = methods.get(name).join(holder.encoder, tmp_path / name, f"a{i}").eval()
    with torch.no_grad():
        for i, (name, one) in enumerate(saved.items()):
            methods.get(name).switch(holder.encoder, f"a{i}")
            assert torch.equal(holder(IDS, MASK), one(IDS, MASK)), name


def test_on_mpnet_pfeiffer_and_parallel_adapters_do_not_stand_together(
    family: Callable[[str], PretrainedModel], tmp_path: Path
) -> None:
    pretrained, names = family("MPNet"), ("pfeiffer", "parallel")
    for name in names:
        methods.get(name).save(attached(pretrained, name).encoder, tmp_path / name)
    for first, second in (names, names[::-1]):
        encoder = load_classifier(pretrained, seed=0, dropout=0.0, attention_dropout=0.0).encoder
        encoder = methods.get(first).join(encoder, tmp_path / first, "a0")
        with pytest.raises(methods.MethodError, match=f"{second} cannot share an MPNet encoder"):
            methods.get(second).join(encoder, tmp_path / second, "a1")
