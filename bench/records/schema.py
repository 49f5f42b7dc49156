"""The record: everything a run leaves behind, documented field by field and versioned.

`python -m bench schema` prints the JSON schema of this file. A field that is null was not measured; a later version of
the suite may add such fields without changing `schema_version`, which changes when a field's meaning does. Records of older
schema versions are still read.
"""

from __future__ import annotations

import base64
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from bench.records.metrics import Confusion, Scores
from bench.records.spec import Part, RunSpec, Truncation
from bench.rules import RULES_VERSION, Kernels, Precision
from bench.system.files import sha256_bytes

__all__ = [
    "FINAL", "SCHEMA_VERSION", "AnyRecord", "Baseline", "BaselineSpec",
    "BaselineTrial", "Calibration", "CalibrationSetting", "Choice", "Classes", "Compute", "Conversion", "CurvePoint", "DataCut",
    "Encoder", "Energy", "Environment", "Evaluation", "Latency", "Memory", "MemorySplit", "MethodSpeed", "Parameters",
    "Record", "SENTIMENT", "Seconds", "Slice", "State", "Timeline", "Training", "Trial", "baseline_id", "pack_bits",
    "pack_classes", "unpack_bits", "unpack_classes",
]  # fmt: skip

SCHEMA_VERSION = 5
"""Version 1 had no checksum, and another meaning of `memory.ru_maxrss`; version 2 had rates of the machine in `compute`;
version 3 had tests of two classes only; up to version 4 `memory.cuda_reserved` had what evaluation left, too.
bench/records/migrate.py reads all."""
SENTIMENT = ("negative", "positive")
"""Names of the classes of reviews, by label."""
State = Literal["complete", "out-of-memory", "diverged", "cancelled", "failed"]
FINAL: tuple[State, ...] = ("complete", "out-of-memory", "diverged")
"""States that are final: a run that ended in any other is repeated by the same command."""


class Encoder(Part):
    """The encoder, by content."""

    sha256: str
    """Hash of weights, tokenizer, configuration and pooling."""
    model_type: str
    """Architecture, as config.json names it."""
    pooling: Literal["mean", "cls", "own head"]
    """Pooling of token vectors: mean, the first token, or the first token through the checkpoint's own head."""
    revision: str | None = None
    """Commit on the hub, if it came from there."""


class DataCut(Part):
    """The data set, by content, and its split."""

    sha256: str
    """Hash of all texts and labels in order."""
    cut: str
    """Name and version of the split."""
    train: int
    """Different reviews to train on."""
    validation: int
    """Reviews held out of train, for curves and tuning."""
    test: int
    """Reviews of the whole test, before any `test_limit`."""
    duplicates_removed: int
    """Training texts removed as duplicates of an earlier one."""
    leaked: int
    """Test reviews whose text is also in train."""
    revision: str | None = None
    """Commit on the hub, if they came from there."""
    labels: list[str] = Field(default=list(SENTIMENT))
    """Names of the classes, in the order of the logits."""
    columns: list[str] | None = None
    """Names of the columns of texts and labels, if they came from tables."""


class Conversion(Part):
    """Conversion of the requested budget into tokens of this run by a calibration (rules, section 1)."""

    calibration: str
    """Id of the calibration's record."""
    device: str
    """Model of the processor or GPU that was calibrated."""
    threads: int
    """Threads it was calibrated with."""
    asked: str
    """The budget as requested: `60 s`, `1,000,000 reference tokens`."""
    ratio: float
    """Time per token under this method over that under the reference method; median over rounds."""
    low: float
    """95 % interval of the ratio."""
    high: float
    expected_seconds: float
    """Expected seconds on the machine of the calibration: reference tokens over the reference's speed."""


class Trial(Part):
    """Result of one learning rate over all tuning seeds."""

    learning_rate: float
    accuracies: list[float]
    """Validation accuracy at the end of the budget, one value per tuning seed; fewer where a trial did not finish."""
    collapsed: bool
    """Whether any seed ended at chance, diverged or ran out of memory, which excludes the rate."""


class Choice(Part):
    """Selection of the learning rate of this run, frozen before its test (rules, section 6)."""

    trials: list[Trial]
    """Every learning rate tried, ascending."""
    seeds: list[int]
    """The tuning seeds."""
    budget: str
    """The budget of the trials, as requested."""
    extended: bool
    """Whether the grids of all methods were extended by one rate because the best of one lay at an edge."""
    at_edge: bool
    """Whether the chosen rate is the smallest or largest of those tried."""
    seconds: float
    """Device seconds of all trials."""


class Parameters(Part):
    """Parameter counts of encoder (`body`) and head."""

    body: int
    """Trainable parameters of the encoder."""
    head: int
    """Parameters of the head, all trainable under every method; a BERT pooler counts as head."""
    total: int
    """All parameters, frozen ones and added modules included."""
    closed_form: int
    """Value of `body` by the method's formula."""


class CurvePoint(Part):
    """Validation at one point of the budget."""

    fraction: float
    """Share of the budget spent."""
    seconds: float
    """Device seconds charged."""
    step: int
    """Optimizer steps taken."""
    reviews: int
    """Reviews passed through the encoder, counted each time."""
    tokens: int
    """Their tokens, padding excluded."""
    loss: float
    """Mean training loss since the point before."""
    accuracy: float
    """On the validation reviews."""


class Training(Part):
    """Counts, loss and validation curve of training."""

    steps: int
    """Optimizer steps."""
    reviews_seen: int
    """Reviews passed through the encoder, counted each time; each is charged."""
    reviews_distinct: int
    """Different reviews among them."""
    reviews_trained: int
    """Reviews in optimizer steps, counted each time; more than `reviews_seen` where encoder output is cached."""
    tokens_seen: int
    """Tokens passed through the encoder, padding excluded."""
    tokens_padded: int
    """The same with padding."""
    spent: float
    """Budget spent, in the budget's unit."""
    overshoot: float
    """Amount spent beyond the budget, in its unit: at most one step."""
    longest_step_seconds: float
    """Device seconds of the longest step; for a head on cached features, of the longest step or encoded batch."""
    loss_first: float
    """Loss of the first step."""
    loss_last: float
    """Loss of the last step."""
    curve: list[CurvePoint]
    """Validation at 25, 50, 75 and 100 % of the budget."""
    frozen_sha256_before: str
    """Hash of all weights that must not change, before training."""
    frozen_sha256_after: str
    """The same after training; equal, or the run failed."""


class Seconds(Part):
    """Wall seconds of the run by phase."""

    setup: float
    """Loading, tokenising, attaching and the untimed dummy step."""
    charged: float
    """Training, which a time budget counts."""
    paused: float
    """Validation and checkpoints within training, not charged."""
    test: float
    """The test after training, not charged."""
    total: float
    """From start to end of the process, by its own clock."""
    outside: float | None = None
    """The same by the clock of the process that started it."""
    before: float = 0.0
    """Part of `charged` and `paused` that passed in earlier processes of this run; the other fields and the timeline are of the
    last process only.
    """
    outside_training: float | None = None
    """Training with its pauses, `charged` and `paused` together without `before`, by the clock of the process that started it.
    """


class Timeline(Part):
    """Seconds since the start of the process, to show the order of phases."""

    training_started: float
    training_ended: float
    test_started: float
    test_ended: float


class MemorySplit(Part):
    """The peak above the baseline by purpose, in bytes. The first three are sums over tensors."""

    weights: int
    """Parameters and buffers, frozen ones included."""
    gradients: int
    """Gradients of the trainable parameters."""
    optimizer: int
    """AdamW's two moments and its counters."""
    activations: int
    """The rest of the peak: activations, work space of kernels, cached encoder output, the allocator's slack."""


class Memory(Part):
    """Bytes. The process holds one run, and the high-water mark is reset before it."""

    baseline: int
    """Resident memory before the encoder was loaded."""
    peak: int
    """Peak resident memory in training, evaluation excluded."""
    peak_above_baseline: int
    """Peak minus baseline: the memory of training itself."""
    cuda_allocated: int | None = None
    """Most bytes of the GPU in tensors at once."""
    cuda_reserved: int | None = None
    """Most bytes of the GPU that torch's allocator had reserved: tensors, what it keeps of freed ones, and CUDA graphs. Up to
    schema version 4 also what it kept of evaluation.
    """
    ru_maxrss: int | None = None
    """Peak resident memory of the whole process by getrusage, set-up and evaluation included. Resetting the high-water mark
    resets the kernel's own figure too, so it is read before every reset.
    """
    split: MemorySplit | None = None
    """The peak by purpose."""

    @property
    def training_bytes(self) -> int:
        """Memory of training in tables and figures: of a GPU in tensors, else resident above the baseline."""
        return self.peak_above_baseline if self.cuda_allocated is None else self.cuda_allocated


class Compute(Part):
    """Processor time and utilisation."""

    cpu_seconds: float
    """Processor seconds of all threads while the clock charged."""
    flop_utilisation: float | None = None
    """Model FLOPs a second over the device's peak."""


class Energy(Part):
    """Energy by the device's own counter while the clock charged."""

    joules: float
    source: str


class Latency(Part):
    """Inference latency in milliseconds, ids to logits: medians over interleaved calls on reviews of full length."""

    batch: int
    """Reviews per call."""
    milliseconds: float
    """The trained classifier."""
    bare_milliseconds: float
    """The same encoder without the method's additions, under the same head."""
    merged_milliseconds: float | None = None
    """The trained classifier with its updates merged into the encoder's weights; null where a method has none."""


class Evaluation(Part):
    """A test: the confusion matrix, its metrics, and the prediction for every review."""

    reviews: int
    """Reviews tested."""
    tp: int | None = None
    fp: int | None = None
    fn: int | None = None
    tn: int | None = None
    matrix: list[list[int]] | None = None
    """Counts [true class][predicted class] of more than two classes; null for two, which have tp, fp, fn and tn."""
    accuracy: float
    precision: float
    """Of class 1 (positive); of more than two classes the mean over the classes (macro), as recall and F1."""
    recall: float
    f1: float
    weighted: Scores | None = None
    """Means weighted by the classes' numbers of texts; null for two classes."""
    accuracy_without_leaked: float
    """Accuracy on the reviews whose text is not in train."""
    leaked: list[int]
    """Positions of the leaked reviews among those tested."""
    predictions: str
    """The predicted class of each review, in one bit (1 positive), of k > 2 classes in as many as k - 1 takes; packed
    big-endian, base64."""
    labels: str | None = None
    """The true classes, packed likewise; null for two classes, where `predictions` and `correct` give them."""
    correct: str
    """One bit a review, 1 where the prediction is the label."""
    logits_sha256: str | None = None
    """Names the sidecar `logits/<sha256>.npy`, float32 [reviews, classes]."""

    @model_validator(mode="after")
    def _two_or_more(self) -> Self:
        four, more = (self.tp, self.fp, self.fn, self.tn), (self.matrix, self.weighted, self.labels)
        if None in four if self.matrix is None else any(count is not None for count in four) or None in more:
            raise ValueError("a test has tp, fp, fn and tn, or matrix, weighted and labels")
        if self.matrix is not None and {len(row) for row in self.matrix} != {max(3, len(self.matrix))}:
            raise ValueError("matrix must be square, for more than two classes")
        return self

    @property
    def counts(self) -> Confusion:
        """The confusion matrix."""
        if self.matrix is not None:
            return Confusion(tuple(tuple(row) for row in self.matrix))
        return Confusion(((self.tn or 0, self.fp or 0), (self.fn or 0, self.tp or 0)))

    @property
    def classes(self) -> int:
        """Number of classes, k."""
        return 2 if self.matrix is None else len(self.matrix)

    def unpack(self) -> tuple[Classes, Classes]:
        """Return labels and predictions, [reviews] each.

        Raises:
            ValueError: if the packed fields do not hold as many.
        """
        predictions = unpack_classes(self.predictions, self.reviews, self.classes)
        if self.labels is not None:
            return unpack_classes(self.labels, self.reviews, self.classes), predictions
        return np.where(unpack_bits(self.correct, self.reviews) == 1, predictions, 1 - predictions), predictions


class Environment(Part):
    """Machine and software, without names of persons, hosts or paths."""

    device: str
    """Model of the processor or GPU that the run was charged on."""
    cpu: str
    """Model of the processor."""
    cores: int
    """Processor cores available to the process."""
    threads: int
    """Threads of torch's operators."""
    python: str
    platform: str
    """Operating system and architecture."""
    versions: dict[str, str]
    """Versions of the libraries that a result can depend on."""
    commit: str | None
    """Commit of the suite; null outside a git checkout."""
    dirty: bool | None
    """Whether tracked files differed from the commit."""
    engine: str = "local"
    """The launcher that executed the run."""


class _File(Part):
    # The fields that every file of results begins with, in their order.
    checksum: str | None = Field(default=None, exclude=True)
    """SHA-256 of the file without the line that holds this: `grep -v '^ "checksum"' FILE | sha256sum`. It shows that a file
    was changed, not its origin. Null once the file is read.
    """
    schema_version: Literal[5] = 5
    kind: str
    run_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    """Hash of a run's spec, data, encoder and rules version; of a baseline's spec, data and rules version; of a calibration's
    setting, methods, device and the time of its end.
    """
    rules_version: int
    """Version of RULES.md that was followed."""


class Record(_File):
    """One run, whole. Written once, by the process that started the run."""

    kind: Literal["run"] = "run"
    state: State
    """How the run ended."""
    reason: str | None = None
    """Reason in one line, where the state is not `complete`."""
    finished: str
    """UTC time of the end, ISO 8601."""
    spec: RunSpec
    """The specification of the run."""
    environment: Environment
    encoder: Encoder
    data: DataCut
    conversion: Conversion | None = None
    """Null: the budget was counted as requested."""
    choice: Choice | None = None
    """Null: the learning rate is the method's default, or was given."""
    replaced: str | None = None
    """Checksum of the earlier record of the same run, which is kept as an attempt. Null: none."""
    resumed: int = 0
    """Number of times that the run resumed from its checkpoint."""
    parameters: Parameters | None = None
    training: Training | None = None
    seconds: Seconds | None = None
    timeline: Timeline | None = None
    memory: Memory | None = None
    compute: Compute | None = None
    energy: Energy | None = None
    """Null: not measured."""
    latency: list[Latency] | None = None
    """Null: not measured."""
    bytes_to_ship: int | None = None
    """Bytes of the trained files that inference needs beside the encoder, head included."""
    test: Evaluation | None = None
    """The test, evaluated once, after training."""
    out_of_domain: Evaluation | None = None
    """The test on sentences of Rotten Tomatoes reviews, which no training saw. Null: not measured."""


class BaselineSpec(Part):
    """Specification of a baseline: TF-IDF features and a linear classifier, without an encoder."""

    train_reviews: int
    """Reviews it was fitted on: all, or those that the reference method saw."""
    rows_sha256: str
    """Hash of their positions in the train split."""
    test_limit: int | None
    """Test limit, as in the runs that it is compared with."""
    vectorizer: str
    classifier: str

    @property
    def model(self) -> str:
        """Name in tables. Up to rules version 2 the classifier was a logistic regression."""
        return f"TF-IDF + {'linear SVM' if self.classifier.startswith('LinearSVC') else 'logistic regression'}"


class BaselineTrial(Part):
    """One value of C on validation."""

    c: float
    """Inverse strength of regularisation."""
    accuracy: float
    """On the validation reviews, between 0 and 1."""


def baseline_id(spec: BaselineSpec, *, data_sha256: str, rules_version: int = RULES_VERSION) -> str:
    """Sixteen hex digits that identify a baseline by its spec, the reviews' content and the version of the rules."""
    return sha256_bytes(f"{spec.model_dump_json()} {data_sha256} {rules_version}".encode())[:16]


class Baseline(_File):
    """The baseline that every method is compared with: a linear model on the same reviews, without an encoder."""

    kind: Literal["floor"] = "floor"
    """`floor`, the name of a baseline up to rules version 2, in files of every version."""
    finished: str
    """UTC time of the end, ISO 8601."""
    spec: BaselineSpec
    environment: Environment
    data: DataCut
    fit_seconds: float
    """Wall seconds of vectorising, and of fitting every C."""
    trials: list[BaselineTrial] | None = None
    """The values of C tried; the best on validation was tested, the smallest in a tie. Null: not tuned (rules 1 and 2)."""
    test: Evaluation


class CalibrationSetting(Part):
    """Conditions of a calibration, which is valid for runs under equal ones."""

    encoder_sha256: str
    data_sha256: str
    cut: str
    max_length: int
    truncation: Truncation
    batch_size: int
    dropout: float
    attention_dropout: float
    precision: Precision
    device: Literal["cpu", "cuda"]
    threads: int
    memory_cap: int | None = None
    kernels: Kernels = "plain"


class Slice(Part):
    """One timed slice: the batches of a round under one method."""

    round: int
    seconds: float
    """Device seconds."""
    tokens: int
    """Tokens passed through the encoder, padding excluded; for head-only its passes over their features are in the seconds."""


class MethodSpeed(Part):
    """Speed of one method in a calibration."""

    method: str
    hyperparameters: dict[str, float | int | str | bool | None]
    """Hyperparameters except the learning rate, which does not affect speed."""
    state: Literal["complete", "out-of-memory", "failed"] = "complete"
    reason: str | None = None
    slices: list[Slice] = Field(default=[])
    ratio: float | None = None
    """Time of a token over the reference's in the same round, median over the rounds that count; null unless complete."""
    low: float | None = None
    """95 % interval of the ratio."""
    high: float | None = None


class Calibration(_File):
    """Speeds of methods beside the reference, from interleaved slices (rules, section 1). Written once."""

    kind: Literal["calibration"] = "calibration"
    finished: str
    """UTC time of the end, ISO 8601."""
    encoder: str
    """The encoder as requested, for display."""
    data: str
    """The data set as requested, for display."""
    setting: CalibrationSetting
    environment: Environment
    reference: str
    """The reference method of the ratios, at its default hyperparameters."""
    seconds_asked: float
    """Wall seconds requested for the calibration."""
    seconds: float
    """Wall seconds that its rounds took."""
    rounds: int
    rounds_rule: Literal["reference", "both"] = "reference"
    """Which rounds enter a median: those in which the reference was within 15 % of its fastest slice, or those in which method
    and reference both were within 15 % of the lower quartile of their own."""
    rounds_counted: int
    """Rounds that enter a median by that rule."""
    tokens_per_second: float
    """90th percentile of the reference's slices."""
    methods: list[MethodSpeed]
    """The reference first."""


AnyRecord = Annotated[Record | Baseline | Calibration, Field(discriminator="kind")]
"""A file of results: a run, a baseline or a calibration."""


Classes = npt.NDArray[np.int64]
"""Classes [n], whole numbers from 0."""


def pack_classes(values: npt.ArrayLike, classes: int) -> str:
    """Pack classes [n] into base64: as many bits each as the last class takes, the highest first."""
    bits = np.arange((classes - 1).bit_length())[::-1]
    return pack_bits((np.asarray(values, dtype=np.int64)[:, None] >> bits & 1).ravel())


def unpack_classes(packed: str, count: int, classes: int) -> Classes:
    """Return the `count` classes that `pack_classes` packed.

    Raises:
        ValueError: if there are not as many, one is beyond the last class, or the text is not base64.
    """
    width = (classes - 1).bit_length()
    bits = unpack_bits(packed, count * width).reshape(count, width)
    values = bits.astype(np.int64) @ (1 << np.arange(width, dtype=np.int64)[::-1])
    if (values >= classes).any():
        raise ValueError(f"a class beyond the {classes}")
    return values


def pack_bits(bits: npt.ArrayLike) -> str:
    """Base64 of an array [n] of zeros and ones, eight to a byte, the first in the highest bit."""
    return base64.b64encode(np.packbits(np.asarray(bits, dtype=bool)).tobytes()).decode()


def unpack_bits(packed: str, count: int) -> npt.NDArray[np.uint8]:
    """Unpack the first `count` bits of what `pack_bits` made.

    Raises:
        ValueError: if there are not enough for that, or the text is not base64.
    """
    data = np.frombuffer(base64.b64decode(packed, validate=True), dtype=np.uint8)
    if not len(data) == (count + 7) // 8:
        raise ValueError(f"{len(data)} bytes do not hold {count} bits")
    return np.unpackbits(data, count=count)
