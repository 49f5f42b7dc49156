"""Write the model card of a saved run: README.md in the hub's format, with numbers and how to load it without this suite."""

from __future__ import annotations

import json
import re
from pathlib import Path

import methods
from bench.models.families import FAMILIES
from bench.records.artifacts import HEAD, Saved
from bench.records.schema import Record
from bench.system.errors import RecordError
from bench.system.text import harmless, percent

__all__ = ["README", "model_card", "snippet"]

README = "README.md"
_HUB = {
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "mpnet": "sentence-transformers/all-mpnet-base-v2",
}
"""Packaged encoders → the checkpoint on the hub that they are."""
_DATA = {"imdb": "stanfordnlp/imdb"}
"""Sources of reviews → the data set on the hub that they are."""


def model_card(saved: Saved, record: Record, interval: tuple[float, float]) -> str:
    """Write the text of a model card, metadata first; `interval` is the 95 % interval of the accuracy.

    Raises:
        RecordError: unless the record is that of the saved run, with a test.
    """
    card, test = saved.card, record.test
    if test is None or record.run_id != card.run_id or test.logits_sha256 != card.logits_sha256:
        raise RecordError(f"{saved.name}: {card.record} is the record of another execution; --force --save runs it again")
    spec, counts = card.spec, record.parameters
    data, encoder = (_plain(name) for name in (spec.data, _encoder(saved)))
    method = methods.get(spec.method)
    low, high = interval
    trained = f", {counts.body + counts.head:,} trained parameters" if counts is not None else ""
    return f"""---
{_metadata(saved, test.accuracy, test.f1)}
---

# {spec.method} on {encoder}, trained on {data}

A classifier of texts: {_plain(", ".join(card.labels))}. {method.citation}{trained}.

| | |
|---|---|
| accuracy on {test.reviews:,} test texts | {percent(test.accuracy)} % (95 % interval {percent(low)} to {percent(high)} %) |
| F1{", mean over classes" * (len(card.labels) > 2)} | {percent(test.f1)} % |
| encoder | {encoder}, SHA-256 `{card.encoder.sha256[:16]}…` with its tokenizer and configuration |
| budget, seed | {spec.budget}, seed {spec.seed} |
| settings | {", ".join(f"{name} {value}" for name, value in spec.hyperparameters.items())} |
| texts | up to {spec.max_length} tokens, of longer ones {spec.truncation} |

The interval (Clopper and Pearson) is for other texts of the same kind. It does not cover other seeds: to compare methods, use
several.

## Use

{_use(saved)}

The tokenizer of the library keeps the beginning of a text that is longer than {spec.max_length} tokens, and the suite replaces
`<br />` by a space. With the suite itself: `python -m bench predict {card.run_id} "A text"`.

## Upload

`hf upload USER/NAME FOLDER`, where FOLDER is the one that this file is in.
"""


def _plain(name: str) -> str:
    """Escape a name for a cell of Markdown."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", harmless(name))


def _metadata(saved: Saved, accuracy: float, f1: float) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    spec = saved.card.spec
    data = _DATA.get(spec.data, spec.data)
    encoder = _encoder(saved)
    library = {"adapters": "adapter-transformers", "peft": "peft"}.get(str(_library(saved.folder)), "transformers")
    results = [
        EvalResult(
            task_type="text-classification", dataset_type=data, dataset_name=spec.data, dataset_split="test",
            metric_type=kind, metric_value=value,
        )
        for kind, value in (("accuracy", accuracy), ("f1", f1))
    ]  # fmt: skip
    metadata = ModelCardData(
        base_model=encoder if "/" in encoder else None,
        datasets=[data] if "/" in data else None,
        eval_results=results,
        library_name=library,
        metrics=["accuracy", "f1"],
        model_name=f"{spec.method}-{saved.card.run_id}",
        pipeline_tag="text-classification",
        tags=[spec.method, "parameter-efficient-fine-tuning"],
    )
    return str(metadata.to_yaml())


def _encoder(saved: Saved) -> str:
    return _HUB.get(saved.card.spec.encoder, saved.card.spec.encoder)


def _library(folder: Path) -> str | None:
    """Find the library in whose layout a folder is saved; None where weights stand under their own names."""
    return next((name for file, name in _LAYOUTS.items() if (folder / file).is_file()), None)


_LAYOUTS = {"adapter.safetensors": "adapters", "adapter_model.safetensors": "peft"}


def _use(saved: Saved) -> str:
    code = snippet(saved)
    if code is None:
        return "The method adds modules that no other library has: it is loaded by this suite."
    place = "" if "/" in _encoder(saved) else " `ENCODER` is the folder of the encoder, wherever it is."
    needs = f" and {library}" if (library := _library(saved.folder)) else ""
    return f"With transformers{needs} alone:{place}\n\n```python\n{code}```"


def snippet(saved: Saved) -> str | None:
    """Write Python that loads and asks the saved run with its library alone, to be run in its folder; None where none can."""
    from jinja2 import Environment
    from safetensors import safe_open

    card, folder, library = saved.card, saved.folder, _library(saved.folder)
    weights = folder / "model.safetensors" if library is None and (folder / "model.safetensors").is_file() else None
    if weights is not None:
        with safe_open(weights, framework="numpy") as file:
            if any(".adapters." in name for name in file.keys()):  # noqa: SIM118  no mapping
                return None  # it needs modules of the suite
    family, whole = FAMILIES[card.encoder.model_type], card.encoder.pooling == "own head"
    bare = ", add_pooling_layer=False" if family.has_pooler else ""
    # A checkpoint may bring a head with other labels, which the saved one replaces.
    options = f", num_labels={len(card.labels)}, ignore_mismatched_sizes=True" if whole else bare
    # Python, not HTML: nothing is escaped.
    template = Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False).from_string(_CODE)  # noqa: S701
    return template.render(
        library=library, interface=(folder / "adapter_interface.json").is_file(), weights=weights and weights.name, whole=whole,
        auto="AutoModelForSequenceClassification" if whole else "AutoModel", body="model.base_model" if whole else "model",
        encoder=json.dumps(_encoder(saved)), labels=json.dumps(list(card.labels)), names=json.dumps(dict(family.head)),
        pinned=f", revision={json.dumps(card.encoder.revision)}" if card.encoder.revision else "", options=options,
        head=HEAD, pooled=_POOLED.get(card.encoder.pooling), length=card.spec.max_length,
    )  # fmt: skip


_POOLED = {
    "mean": "(hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)",
    "cls": "hidden[:, 0]",
}
_CODE = """\
{% if library == "adapters" and interface %}
import json

{% endif %}
{% if library == "adapters" %}
import adapters
{% elif library == "peft" %}
from peft import PeftModel
{% endif %}
import torch
from safetensors.torch import load_file
from transformers import {{ auto }}, AutoTokenizer

ENCODER = {{ encoder }}
FOLDER = "."
LABELS = {{ labels }}

tokenizer = AutoTokenizer.from_pretrained(ENCODER{{ pinned }})
model = {{ auto }}.from_pretrained(ENCODER{{ pinned }}{{ options }})
{% if whole %}
names = {{ names }}
head = load_file(f"{FOLDER}/{{ head }}")
head = {new + key.removeprefix(old): head[key] for key in head for old, new in names.items() if key.startswith(old)}
model.load_state_dict(head, strict=False)
{% endif %}
{% if library == "adapters" and interface %}
with open(f"{FOLDER}/adapter_interface.json") as file:
    interface = adapters.AdapterModelInterface(**json.load(file)["interface"])
{% endif %}
{% if library == "adapters" %}
adapters.init({{ body }}{{ ", interface=interface" if interface }})
{{ body }}.load_adapter(FOLDER, load_as="trained", set_active=True, use_safetensors=True)
{% elif library == "peft" and whole %}
setattr(model, model.base_model_prefix, PeftModel.from_pretrained(model.base_model, FOLDER, use_safetensors=True))
{% elif library == "peft" %}
model = PeftModel.from_pretrained(model, FOLDER, use_safetensors=True)
{% elif weights %}
{{ body }}.load_state_dict(load_file(f"{FOLDER}/{{ weights }}"), strict=False)
{% endif %}
model.eval()

texts = ["A warm and funny film.", "Two hours that I will not get back."]
batch = tokenizer(texts, truncation=True, max_length={{ length }}, padding=True, return_tensors="pt")
ids, mask = batch["input_ids"], batch["attention_mask"]
with torch.no_grad():
{% if whole %}
    logits = model(input_ids=ids, attention_mask=mask).logits
{% else %}
    hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    pooled = {{ pooled }}
head = load_file(f"{FOLDER}/{{ head }}")
logits = pooled @ head["weight"].T + head["bias"]
{% endif %}
print([LABELS[label] for label in logits.argmax(-1).tolist()])
"""
