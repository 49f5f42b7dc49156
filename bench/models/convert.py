"""Convert an encoder saved in another format into a usable folder: the only code that opens a pickle.

`torch.load` with `weights_only=True` builds tensors and plain containers and calls nothing else that a file names. It has had
holes (CVE-2025-32434, before torch 2.6), so only the command `convert` uses it and no run does. The result passes the same
checks as any other encoder.
"""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from bench.models.json_files import read_json
from bench.models.pretrained import PretrainedModel, allowed, configuration, find, layout
from bench.models.weight_files import INDEX, WEIGHTS, names_of, weight_files
from bench.system.errors import ModelError
from bench.system.files import existing, name_of, temporary_folder
from bench.system.hub import fetch
from methods import EncoderShape

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["convert"]

_PICKLE = "pytorch_model.bin"
_WORDS = {
    "bert": ("vocab.txt",), "distilbert": ("vocab.txt",), "electra": ("vocab.txt",), "mpnet": ("vocab.txt",),
    "roberta": ("vocab.json", "merges.txt"), "xlm-roberta": ("sentencepiece.bpe.model",), "albert": ("spiece.model",),
    "deberta-v2": ("spm.model",),
}  # fmt: skip
"""Files that the tokenizer of a family is made from; ModernBERT has only ever had tokenizer.json."""
_CLASSES = {"mpnet": "MPNetTokenizerFast", "roberta": "RobertaTokenizerFast"}
_FLAGS = ("do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space", "keep_accents", "split_by_punct")
"""Fields that are read from tokenizer_config.json."""


def convert(source: str, target: Path) -> tuple[PretrainedModel, list[str]]:
    """Make the folder `target` of an encoder in a folder or on the hub.

    Returns:
        The encoder as it is found in the new folder, and what was made of what, one line each.

    Raises:
        ModelError: if files are missing or damaged, the encoder fails a check, or the folder exists or cannot be written.
    """
    if target.exists() or target.is_symlink():
        raise ModelError(f"{str(target)!r} exists; name a folder that does not")
    name, folder, root = _source(source)
    config, pooling, shape = configuration(name, folder, root)
    weights, from_weights = _weights(name, folder, shape)
    tokenizer, from_words = _tokenizer(name, folder, shape.model_type)
    try:
        with temporary_folder(target.parent, target.name) as temporary:
            _write(temporary / target.name, config, weights, tokenizer, pooling)
            find(str(temporary / target.name))
            (temporary / target.name).rename(target)
    except OSError as error:
        raise ModelError(f"{str(target)!r} cannot be written ({error.strerror}); name another folder") from None
    return find(str(target)), [f"{WEIGHTS}: from {from_weights}", f"tokenizer.json: from {from_words}"]


def _source(source: str) -> tuple[str, Path, Path]:
    """Find the name of what is to be converted, the folder of its files and that of modules.json."""
    path = existing(source)
    if path is not None and path.is_dir():
        folder, root = layout(path)
        return name_of(root), folder, root
    if path is not None or source.count("/") != 1:
        raise ModelError(f"{source!r} is neither a folder nor a hub id; name one that holds config.json and weights")
    # One pattern for weights of either kind: what is cached is taken for whole where every needed one is met.
    needed, words = ["config.json", "[mp]*model[.-]*[bs]*"], ["tokenizer.json"]
    optional = ["tokenizer_config.json", "modules.json", "1_Pooling/config.json"]
    folder = fetch(source, "model", patterns=needed, optional=[*words, *optional], instead="name a folder")
    if not (folder / words[0]).is_file():
        words = list(_WORDS.get(allowed(source, read_json(source, folder, "config.json"))["model_type"], words))
        folder = fetch(source, "model", patterns=[*needed, *words], optional=optional, instead="name a folder")
    return source, folder, folder


def _weights(name: str, folder: Path, shape: EncoderShape) -> tuple[dict[str, Tensor], str]:
    """Read the weights that are used; return them and a description of their source."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if (folder / WEIGHTS).is_file() or (folder / INDEX).is_file():
        files, load = weight_files(name, folder), load_file
    elif (folder / _PICKLE).is_file() or (folder / f"{_PICKLE}.index.json").is_file():
        files, load = weight_files(name, folder, "pytorch_model", "bin"), _unpickled
    else:
        raise ModelError(f"encoder {name!r} has neither {WEIGHTS} nor {_PICKLE}; name a folder with the weights")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= load(file)
        except (SafetensorError, OSError, BadZipFile, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(f"encoder {name!r}: {file.name} cannot be read as tensors alone ({first[:200]})") from None
    body = {new: tensors[old].clone().contiguous() for old, new in names_of(tensors, shape).items()}
    return body, files[0].name if len(files) == 1 else f"{len(files)} shards such as {files[0].name}"


def _unpickled(file: Path) -> dict[str, Tensor]:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old kinds of pickles, which are read or refused
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(tensors, dict) or not all(isinstance(key, str) for key in tensors):
        raise ValueError("it holds no tensors by name")
    return {key: tensor for key, tensor in tensors.items() if isinstance(tensor, torch.Tensor)}


def _tokenizer(name: str, folder: Path, family: str) -> tuple[str, str]:
    """Read or make the content of tokenizer.json; return it and a description of its source."""
    if (folder / "tokenizer.json").is_file():
        return (folder / "tokenizer.json").read_text(encoding="utf-8"), "tokenizer.json"
    words = _WORDS.get(family, ())
    if not words or not all((folder / file).is_file() for file in words):
        raise ModelError(f"encoder {name!r} has no {' and no '.join(('tokenizer.json', *words))}; name a folder that has one")
    settings: dict[str, bool] = {}
    if (folder / "tokenizer_config.json").is_file():
        declared = read_json(name, folder, "tokenizer_config.json")
        settings = {
            flag: declared[flag] for flag in _FLAGS if isinstance(declared, dict) and isinstance(declared.get(flag), bool)
        }
    make: Callable[..., Any] = _from_sentencepiece if words[0].endswith(".model") else _from_vocabulary
    try:
        tokenizer = make(family, [str(folder / file) for file in words], settings)
    except Exception as error:
        # Two libraries raise whatever they meet in a damaged file, bare Exception among it.
        first = next(iter(str(error).split("\n")), "")
        raise ModelError(
            f"encoder {name!r}: no tokenizer can be made from {' and '.join(words)} ({type(error).__name__}: {first[:200]})"
        ) from None
    summary = ", ".join(f"{flag} {str(value).lower()}" for flag, value in settings.items())
    summary = summary or "as the family has it: tokenizer_config.json says nothing"
    return str(tokenizer.to_str()), f"{' and '.join(words)} ({summary})"


def _from_vocabulary(family: str, files: list[str], settings: dict[str, bool]) -> Any:
    """Make a tokenizer of WordPiece or byte pairs by the library, from files that are named to it."""
    import transformers

    known = settings.items() - {(flag, settings.get(flag)) for flag in ("keep_accents", "split_by_punct")}
    files_by_name = dict(zip(("vocab_file", "merges_file"), files, strict=False))
    tokenizer = getattr(transformers, _CLASSES.get(family, "BertTokenizerFast"))(**files_by_name, **dict(known))
    return tokenizer.backend_tokenizer


def _from_sentencepiece(family: str, files: list[str], settings: dict[str, bool]) -> Any:
    """Make a tokenizer of unigrams by the library's converter, which asks a slow tokenizer for these few things."""
    from tokenizers import AddedToken
    from transformers.convert_slow_tokenizer import AlbertConverter, DebertaV2Converter, XLMRobertaConverter

    converters = {"albert": AlbertConverter, "deberta-v2": DebertaV2Converter, "xlm-roberta": XLMRobertaConverter}
    lower = {"do_lower_case": family == "albert", "keep_accents": False, "split_by_punct": False}
    slow = SimpleNamespace(vocab_file=files[0], **lower | settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bytes for unknown characters, which no fast tokenizer of these families has
        converter = converters[family](slow)
    ids = {piece: number for number, (piece, _) in enumerate(converter.vocab(converter.proto))}
    slow.convert_tokens_to_ids = ids.__getitem__
    tokenizer = converter.converted()
    special = ("[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]", "<s>", "</s>", "<unk>", "<pad>", "<mask>")
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special if token in ids])
    return tokenizer


def _write(folder: Path, config: dict[str, Any], weights: dict[str, Tensor], tokenizer: str, pooling: str) -> None:
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    if pooling == "own head":
        return
    # The two files of sentence-transformers that name the pooling, as all its versions read them.
    parts = (("", "Transformer"), ("1_Pooling", "Pooling"))
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(parts)
    ]
    mode = {f"pooling_mode_{'mean_tokens' if pooling == 'mean' else 'cls_token'}": True}
    (folder / "1_Pooling").mkdir()
    for file, content in (("modules.json", modules), ("1_Pooling/config.json", mode)):
        (folder / file).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
