"""What is held against each other: the published row's way, the libraries' own trainers, and the loop of this suite.

All train the same encoder, MiniLM with its own pooler and sequence-classification head, since that is the model which the
libraries' trainers take without any code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bench.data.batches import MULTIPLE
from bench.rules import Kernels, Precision
from bench.system.device import resolve_precision

__all__ = [
    "GROUPED",
    "GROUPED_BF16",
    "GRAPHS",
    "IN_FP32",
    "ABLATIONS",
    "LIBRARY",
    "METHODS",
    "OURS",
    "PEERS",
    "PLAIN",
    "PUBLISHED",
    "Recipe",
    "recipes",
]

METHODS = ("houlsby", "pfeiffer", "lora", "full", "head-only")

Padding = Literal["to the maximum", "longest of a batch", "like lengths together"]
Batches = Literal["length buckets", "random"]


@dataclass(frozen=True)
class Recipe:
    """One way to train a method. What is not said is the same for all: reviews, batch size, learning rate, threads."""

    name: str
    by: Literal["library", "suite"]
    """The library's trainer (Trainer, AdapterTrainer, Trainer with peft), or the loop of this suite."""
    padding: Padding = "longest of a batch"
    """For a library: how a batch becomes a rectangle. "like lengths together" is its `group_by_length`."""
    dropout: float = 0.0
    """Hidden dropout."""
    attention_dropout: float = 0.0
    precision: Precision | None = None
    """Arithmetic. Where it is not said the suite takes its `auto`, and a library fp32 on a CPU, which is its own default."""
    batches: Batches = "length buckets"
    """For the suite: which reviews share a batch."""
    like_lengths: int = 0
    """For the suite: into how many pieces of like length a batch is cut. Its gradient stays that of the batch."""
    multiple: int = MULTIPLE
    """For the suite: tokens of which the width of a batch is a multiple."""
    whole: bool = False
    """For the suite: batches are not cut into pieces, however long their reviews are."""
    fused: bool = True
    """For the suite: AdamW in one kernel."""
    torch_attention: bool = False
    """For the suite: torch's own attention instead of that of `bench.models.attention`."""
    kernels: Kernels = "plain"
    """For the suite: whether a step is one CUDA graph."""
    gives_back: bool = False
    """For the suite: what is freed goes back to the kernel as the C library would have it."""

    def arithmetic(self, device: str) -> Precision:
        """Precision on a device."""
        own = resolve_precision("auto", device) if self.by == "suite" or device == "cuda" else "fp32"
        return self.precision or own

    @property
    def groups(self) -> bool:
        """Whether reviews of like length share a batch."""
        return self.padding == "like lengths together" or (self.by == "suite" and self.batches == "length buckets")


OURS = Recipe("this suite", "suite")
GRAPHS = replace(OURS, name=f"{OURS.name}, a CUDA graph a step", kernels="graphs")
PUBLISHED = Recipe("as the published row: padded to the maximum", "library", "to the maximum", 0.1, 0.1)
LIBRARY = Recipe("library's trainer", "library", "longest of a batch", 0.1, 0.1)
PLAIN = Recipe("library's trainer, dropout 0", "library")
GROUPED = Recipe("library's trainer, dropout 0, group_by_length", "library", "like lengths together")
GROUPED_BF16 = replace(GROUPED, name=f"{GROUPED.name}, bf16", precision="bf16")
IN_FP32 = replace(OURS, name=f"{OURS.name} in fp32", precision="fp32")
IN_BF16 = replace(OURS, name=f"{OURS.name} in bf16", precision="bf16")
PEERS = (
    PUBLISHED,
    LIBRARY,
    Recipe("library's trainer, group_by_length", "library", "like lengths together", 0.1, 0.1),
    PLAIN,
    GROUPED,
    OURS,
)
"""Where it does not say dropout 0, both dropouts are 0.1, as the encoder's configuration has them."""
ABLATIONS = (
    OURS,
    Recipe("random batches", "suite", batches="random"),
    Recipe("random batches, each in four pieces of like length", "suite", batches="random", like_lengths=4),
    Recipe("as wide as the longest review", "suite", multiple=1),
    Recipe("batches in one piece", "suite", whole=True),
    Recipe("torch's attention", "suite", torch_attention=True),
    Recipe("AdamW not fused", "suite", fused=False),
    Recipe("freed memory goes back to the kernel", "suite", gives_back=True),
    Recipe("freed memory goes back, batches in one piece", "suite", gives_back=True, whole=True),
    Recipe("hidden dropout 0.1, attention dropout 0", "suite", dropout=0.1),
    Recipe("both dropouts 0.1", "suite", dropout=0.1, attention_dropout=0.1),
)


def recipes(ablations: bool, device: str) -> tuple[Recipe, ...]:
    """What is measured on a device: the suite beside its peers, or beside itself with one ablation moved at a time.

    Where the suite takes bf16 and a library by itself does not, both are also measured in what the other takes.
    """
    if ablations:
        return (*ABLATIONS, IN_BF16 if OURS.arithmetic(device) == "fp32" else IN_FP32)
    if OURS.arithmetic(device) != PLAIN.arithmetic(device):
        return (*PEERS[:-1], GROUPED_BF16, OURS, IN_FP32)
    return (*PEERS, GRAPHS) if device == "cuda" else PEERS
