"""All that determines a run: a budget, a spec, and the id that follows from them."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.rules import RULES_VERSION, TUNING_SEED, Kernels, Precision
from bench.system.errors import SpecError

__all__ = ["Budget", "Part", "RunSpec", "Truncation", "spec_from_fields", "parse_seeds", "parse_size", "run_id", "tuning_seeds"]

Truncation = Literal["head", "tail", "head+tail"]

_SECONDS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_COUNTED = {"step": "steps", "epoch": "epochs", "token": "tokens", "referencetoken": "reference tokens"}
_THOUSANDS = {"": 1, "k": 10**3, "m": 10**6}
_MOST = {"seconds": 30 * 86400, "steps": 10**9, "epochs": 1000, "tokens": 10**13, "reference tokens": 10**13}
_BUDGETS = 'write it as "60s", "10m", "1M reference tokens", "500 steps", "3 epochs" or "2M tokens"'


def _match(pattern: str, text: str) -> re.Match[str] | None:
    """Match the whole text, of at most sixty letters: no amount needs more, and patterns are slow on very long ones."""
    return re.fullmatch(pattern, text, flags=re.ASCII) if len(text) <= 60 else None


class Part(BaseModel):
    """Base of all that a file of results holds."""

    # A NaN would make the file something that JSON cannot say.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Budget(Part):
    """Amount of one resource that a run may spend on training.

    A run counts tokens, steps or epochs. Seconds and reference tokens are what a person asks for: a calibration converts
    them, once, into tokens of each method (rules, section 1).
    """

    amount: float = Field(gt=0)
    """Device seconds, reference tokens, optimizer steps, epochs, or tokens that are not padding."""
    unit: Literal["seconds", "reference tokens", "steps", "epochs", "tokens"]
    """Unit of the amount."""

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read what a person writes: "60s", "10m", "1.5h", "1M reference tokens", "500 steps", "3 epochs", "2M tokens"; and
        what `str` makes of a budget: "5,000 tokens".

        Raises:
            SpecError: if it is malformed, not positive, or beyond any use (30 days, a thousand epochs).
        """
        match = _match(r"\s*([-+]?[0-9]*\.?[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)\s*([a-zA-Z ]+?)\s*", text)
        if match is None:
            raise SpecError(f"budget {text!r} is not understood; {_BUDGETS}")
        number, word = float(match[1].replace(",", "")), match[2].replace(" ", "")
        # Only a word has a plural: "ms" is not minutes.
        singular = word.lower().removesuffix("s") if len(word) > 2 else word.lower()
        if singular in _SECONDS:
            amount, unit = number * _SECONDS[singular], "seconds"
        else:
            counted = re.fullmatch(r"(k?|m?)(step|epoch|token|referencetoken)", singular)
            if counted is None:
                raise SpecError(f"budget {text!r} has no known unit; {_BUDGETS}")
            amount, unit = number * _THOUSANDS[counted[1]], _COUNTED[counted[2]]
        if amount <= 0:
            raise SpecError(f"budget {text!r} must be more than zero")
        if amount > _MOST[unit]:
            raise SpecError(f"budget {text!r} is more than the most that can be asked for, {_MOST[unit]:,} {unit}")
        if unit in {"steps", "tokens", "reference tokens"} and amount != int(amount):
            raise SpecError(f"budget {text!r} must be a whole number of {unit}")
        return cls(amount=amount, unit=unit)  # type: ignore[arg-type]

    def __str__(self) -> str:
        if self.unit == "seconds":
            return f"{self.amount:.15g} s"
        number = f"{int(self.amount):,}" if self.amount == int(self.amount) else f"{self.amount:g}"
        return f"{number} {self.unit[:-1] if self.amount == 1 else self.unit}"

    @property
    def calibrated(self) -> bool:
        """Whether a calibration must convert it into tokens before a run can count it."""
        return self.unit in {"seconds", "reference tokens"}

    @property
    def slug(self) -> str:
        """The budget as a part of a file name: `60s`, `500steps`."""
        return str(self).replace(",", "").replace(" ", "")


class RunSpec(Part):
    """Everything that is decided before a run starts. Two runs with equal specs, data and encoder are the same run."""

    method: str
    """Name of the method in the registry."""
    hyperparameters: dict[str, float | int | str | bool | None]
    """The method's own hyperparameters, the peak learning rate among them."""
    encoder: str
    """The encoder as requested, for display; a folder by its last part. Its content hash identifies it."""
    data: str
    """The data set as requested, for display; a folder by its last part. Its content hash identifies it."""
    budget: Budget
    """What training may spend. Rules 3: this method's own share, in tokens, of a budget in seconds or reference tokens."""
    reference_tokens: int | None = Field(default=None, ge=1)
    """Tokens that the reference method gets of a calibrated budget; None: the budget is counted as requested."""
    seed: int = Field(ge=0, lt=2**32)
    """Seeds the head's first weights, the order of reviews and the method's own weights, each by its own generator."""
    max_length: int = Field(ge=4)
    """Tokens kept of a review, special tokens included."""
    truncation: Truncation
    """Which part of a longer review is kept: its head, its tail, or a quarter head and three quarters tail."""
    batch_size: int = Field(ge=1)
    """Reviews per optimizer step."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Hidden dropout of encoder and head, the same for every method."""
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of attention weights, the same for every method; above 0 it takes a path several times slower."""
    precision: Precision
    """fp32, or bf16 from the embeddings' output to the pooled features, around weights kept in fp32."""
    device: Literal["cpu", "cuda"]
    """Where training and evaluation run."""
    threads: int = Field(ge=1)
    """Threads of torch's operators."""
    memory_cap: int | None = None
    """Bytes that training may use above the process's baseline; None: no cap."""
    test_limit: int | None = None
    """Test on this many reviews only, the last of each class; None: on all."""
    train_limit: int | None = Field(default=None, ge=2)
    """Train on this many reviews only, the first of the seed's order, so that samples of one seed are nested; None: on all."""
    classes: int = Field(default=2, ge=2)
    """Number of classes, k."""
    kernels: Kernels = "plain"
    """How a step of training is launched: kernel by kernel, or as one CUDA graph of the same kernels."""
    purpose: Literal["run", "trial"] = "run"
    """A run of the comparison, or a tuning trial, which is never tested."""
    tuning: int | None = None
    """Learning rates tried per method to choose that of this run; None: the method's default."""
    tuning_seeds: int | None = None
    """Seeds per learning rate (rules, section 6); None: one under rules 2, or no tuning."""

    @property
    def requested_budget(self) -> Budget:
        """The budget that all methods of a table share: reference tokens where it was calibrated, else the run's own."""
        if self.reference_tokens is None:
            return self.budget
        return Budget(amount=self.reference_tokens, unit="reference tokens")


def tuning_seeds(count: int) -> list[int]:
    """Return the seeds of `count` trials of one learning rate."""
    return [TUNING_SEED - i for i in range(count)]


def run_id(spec: RunSpec, *, encoder_sha256: str, data_sha256: str, rules_version: int = RULES_VERSION) -> str:
    """Sixteen hex digits that identify a run by what determines it: the spec (without the names that people gave to
    encoder and data), the contents of both, and the version of the rules.
    """
    # Fields at their defaults stay out, so that a later field whose default is the earlier behaviour changes no id.
    determined = spec.model_dump(mode="json", exclude={"encoder", "data"}, exclude_defaults=True)
    if rules_version < 2:  # every field of that version was in its ids, and `tuning` was none
        determined = spec.model_dump(mode="json", exclude={"encoder", "data", "tuning"}) | determined
    determined |= {"encoder": encoder_sha256, "data": data_sha256, "rules": rules_version}
    return hashlib.sha256(json.dumps(determined, sort_keys=True).encode()).hexdigest()[:16]


def parse_seeds(text: str) -> list[int]:
    """Seeds as a person writes them: "3" is 0, 1, 2; "4,7" is 4 and 7; "4," is 4 alone.

    Raises:
        SpecError: if there is none, one twice, or one that is no whole number from 0 to 2**32 - 1.
    """
    what = 'write a number of seeds ("3") or a list ("0,1,5"; "7," for seed 7 alone)'
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(re.fullmatch(r"[0-9]{1,10}", part, flags=re.ASCII) for part in parts):
        raise SpecError(f"seeds {text!r} are not understood; {what}")
    numbers = [int(part) for part in parts]
    if "," not in text:
        if not 1 <= numbers[0] <= 1000:
            raise SpecError(f"seeds {text!r}: between 1 and 1000 seeds can be run; {what}")
        return list(range(numbers[0]))
    if len(set(numbers)) < len(numbers):
        raise SpecError(f"seeds {text!r} name a seed twice; name each once")
    if max(numbers) >= 2**32:
        raise SpecError(f"seeds {text!r}: a seed must be below 2**32")
    return numbers


def parse_size(text: str) -> int:
    """Bytes from "2GiB", "512 MiB" or "1.5GB".

    Raises:
        SpecError: if it is malformed, or not between 1 MiB and 1 PiB.
    """
    match = _match(r"\s*([0-9]*\.?[0-9]+)\s*([kKMGT])(i?)B\s*", text)
    if match is None:
        raise SpecError(f'memory {text!r} is not understood; write it as "2GiB" or "512MiB"')
    size = float(match[1]) * (1024 if match[3] else 1000) ** ("KMGT".index(match[2].upper()) + 1)
    if not 2**20 <= size <= 2**50:
        raise SpecError(f"memory {text!r} must be between 1MiB and 1024TiB")
    return int(size)


def spec_from_fields(**fields: Any) -> RunSpec:
    """Make a spec from fields that a person chose.

    Raises:
        SpecError: naming the first field that is out of range.
    """
    try:
        return RunSpec(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{first['loc'][0]}".replace("_", "-")
        raise SpecError(f"{option} {first['input']!r}: {first['msg'].lower()}") from None
