"""Hyperparameters that differ from a method's defaults: checked against its fields, and what is built is what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import methods
from bench.models.classifier import load_classifier
from bench.models.pretrained import PretrainedModel
from methods import EncoderShape, Method, MethodError
from methods._settings import with_settings
from methods.houlsby import Houlsby
from tests.classifiers import body


@pytest.mark.parametrize("name", ["houlsby", "pfeiffer", "pfeiffer-matched"])
@pytest.mark.parametrize("bottleneck", [1, 5, 31, 32])
def test_a_bottleneck_is_as_wide_as_it_says(tiny: PretrainedModel, name: str, bottleneck: int) -> None:
    method = methods.configured(name, {"bottleneck": bottleneck, "non_linearity": "gelu"})
    modules = 4 if name == "houlsby" else 2
    assert method.trainable_parameters(tiny.shape) == modules * (2 * 32 * bottleneck + bottleneck + 32)
    encoder = load_classifier(tiny, seed=0, dropout=0.0, attention_dropout=0.0).encoder
    assert body(method.attach(encoder)) == method.trainable_parameters(tiny.shape)


def test_no_width_is_lost_to_rounding() -> None:
    for width in (312, 384, 768, 1024):
        for bottleneck in range(1, width + 1):
            assert int(width // Houlsby(bottleneck=bottleneck).factor(width)) == bottleneck


def test_defaults_are_told_as_before_and_settings_make_the_method_again() -> None:
    rest = {"learning_rate": methods.get("houlsby").learning_rate, "non_linearity": "swish"}
    assert methods.get("houlsby").hyperparameters() == {**rest, "reduction_factor": 16}
    changed = methods.configured("houlsby", {"bottleneck": 64})
    assert changed.hyperparameters() == {**rest, "bottleneck": 64}
    assert type(changed)(**changed.hyperparameters()) == changed
    for name in methods.names():
        method = methods.get(name)
        assert methods.configured(name, method.hyperparameters()) == method


def test_one_number_written_in_two_ways_is_one_setting() -> None:
    for value in (16, 16.0):
        settings = methods.configured("houlsby", {"reduction_factor": value}).hyperparameters()
        assert settings == methods.get("houlsby").hyperparameters()
        assert type(settings["reduction_factor"]) is int
    assert type(methods.configured("lora", {"alpha": 32.0}).hyperparameters()["alpha"]) is int


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("lora", {"rank": 2.5}, "lora: rank must be a whole number more than 0, not '2.5'"),
        ("lora", {"rank": True}, "lora: rank must be"),
        ("lora", {"learning_rate": float("nan")}, "lora: learning_rate must be a number more than 0"),
        ("lora", {"learning_rate": -1e-3}, "lora: learning_rate must be a number more than 0"),
        ("lora", {"learning_rate": "fast"}, "lora: learning_rate must be a number"),
        ("lora", {"rank": None}, "lora: rank must be"),
        ("lora", {"rank": 10**400}, "lora: rank must be a whole number"),
        ("lora", {"alpha": float("inf")}, "lora: alpha must be a number"),
        ("lora", {"alpha": [8]}, "lora: alpha must be a number more than 0, not '[8]'"),
        ("lora", {"name": "x"}, "lora has no hyperparameter 'name'; it has learning_rate, rank, alpha"),
        ("houlsby", {"non_linearity": 3}, "houlsby: non_linearity must be a text, not '3'"),
        ("houlsby", {"bottleneck": 0}, "houlsby: bottleneck must be a whole number more than 0"),
        ("houlsby", {"bottleneck": 2.5}, "houlsby: bottleneck must be a whole number"),
        ("houlsby", {"bottlenek": 2}, "did you mean 'bottleneck'?"),
        ("houlsby", {"bottleneck": 2, "reduction_factor": 16}, "reduction_factor does not count beside bottleneck"),
        ("head-only", {"rank": 2}, "head-only has no hyperparameter 'rank'"),
        ("nothing", {}, "unknown method 'nothing'"),
    ],
)
def test_settings_that_are_refused(name: str, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(MethodError) as caught:
        methods.configured(name, settings)
    assert says in str(caught.value)


@dataclass(frozen=True)
class Foreign(Method):
    name = "foreign"

    learning_rate: float = 1e-3
    warm: bool = False
    shift: float = 0.0
    label: str | None = None

    def __post_init__(self) -> None:
        if self.shift > 9:
            raise ValueError("shift is too far")

    def attach(self, encoder: Any) -> Any:
        return encoder

    def trainable_parameters(self, shape: EncoderShape) -> int:
        return 0


def test_a_method_of_another_package() -> None:
    assert with_settings(Foreign(), {"warm": True, "shift": -2, "label": "x"}) == Foreign(warm=True, shift=-2, label="x")
    for settings, says in (({"warm": 1}, "true or false"), ({"shift": "x"}, "a number, not"), ({"shift": 10}, "too far")):
        with pytest.raises(MethodError, match=says):
            with_settings(Foreign(), settings)
