"""Options that several commands share, and the runs that they select: those of a suite, or those they spell out."""

from __future__ import annotations

import errno
import inspect
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

from bench.rules import Kernels
from bench.runs.request import SHORTEST, Request, parse_settings
from bench.system.errors import SpecError
from bench.system.files import RUNS, expanded
from bench.system.text import harmless

if TYPE_CHECKING:
    from bench.runs.plan import Matrix

__all__ = ["RUNS", "Command", "Device", "Out", "Selection", "say", "selects_runs"]

Device = Literal["auto", "cpu", "cuda"]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead of the terminal.")]


def _methods() -> list[str]:
    import methods

    return [*methods.names(), *methods.groups()]


def _suites() -> list[str]:
    from bench.runs.suite import shipped

    return list(shipped())


def _option(kind: Any, text: str, *names: str, **settings: Any) -> Any:
    return Annotated[kind, typer.Option(*names, help=text, **settings)]


_BUDGETS = 'For each run: "60s", "1M reference tokens", "500 steps", "3 epochs", "2M tokens"; several: "15s,60s".'
_METHODS = "A method, several, 'all' for the five compared, 'every', or a group that `methods` lists."
_OPTIONS: dict[str, Any] = {
    "methods": _option(list[str] | None, _METHODS, "--method", "-m", autocompletion=_methods),
    "suite": _option(
        str | None,
        "Run a suite that `suites` lists, or a file (./mine.yaml); other options override it.",
        autocompletion=_suites,
    ),
    "hyperparameters": _option(
        list[str] | None, "A hyperparameter, repeatable: houlsby.learning_rate=5e-4.", "--set", metavar="METHOD.NAME=VALUE"
    ),
    "encoder": _option(str, "minilm, mpnet, a local folder, or a hub id."),
    "data": _option(str, "embedded, imdb (the hub's), rotten-tomatoes, a folder, a file, or a hub id."),
    "text_column": _option(str | None, "Column of texts. [text, review, sentence, content, comment, message, tweet]"),
    "label_column": _option(str | None, "Column of labels. [label, sentiment, target, class, category]"),
    "budget": _option(str, _BUDGETS),
    "seeds": _option(str, 'How many seeds ("3"), or which ("0,1,5"; "7," for one).'),
    "max_length": _option(int, "Tokens kept of a review.", min=SHORTEST, max=8192),
    "truncation": _option(Literal["head", "tail", "head+tail"], "Which part of a longer review is kept."),
    "batch_size": _option(int, "Reviews an optimizer step.", min=1, max=4096),
    "dropout": _option(float, "Hidden dropout of encoder and head.", min=0, max=0.99),
    "attention_dropout": _option(float, "Dropout of attention weights.", min=0, max=0.99),
    "precision": _option(Literal["auto", "fp32", "bf16"], "auto: bf16 where the device has instructions for it, else fp32."),
    "device": _option(Device, "Where runs execute."),
    "kernels": _option(Kernels, "graphs: each training step is one CUDA graph, for small batches on a GPU."),
    "memory": _option(str | None, 'Most that training may use: "2GiB". Beyond it a run ends.'),
    "test_limit": _option(int | None, "Test on so many texts only, as many of each class."),
    "train_limit": _option(str | None, "Train on so many texts only, the first of each seed's order; several: 100,1000."),
    "tune": _option(int | None, "First choose each method's learning rate among so many, on validation only."),
    "tune_seeds": _option(int, "With --tune: seeds each learning rate is tried with.", min=1, max=100),
    "trials_only": _option(bool, "With --tune: the trials, and no runs.", "--trials-only"),
    "calibration": _option(str | None, "Convert budgets by this calibration's record, of any machine."),
}
"""Field of `Request`, and the suite → its option."""


@dataclass(frozen=True)
class Selection:
    """What options select."""

    suite: str | None
    request: Request
    explicit: dict[str, Any]
    """The fields of `request` that the command line sets, without the device."""

    def matrices(self, device: str | None = None, *, elsewhere: bool = False) -> list[Matrix]:
        """Plan the matrices; `device` replaces that of the request, and `elsewhere` is as for `plan`.

        Raises:
            BenchError: if neither a suite nor a method is named, or as `plan`.
        """
        request = replace(self.request, device=device or self.request.device)
        if self.suite is not None:
            from bench.runs.suite import matrices

            planned = matrices(self.suite, request.device, overrides=self.explicit, elsewhere=elsewhere, say=say)
        elif not request.methods:
            raise SpecError("Missing option '--method': name a method, several, or all; or name a suite with --suite")
        else:
            from bench.runs.plan import plan

            planned = [plan(request, elsewhere=elsewhere)]
        for note in dict.fromkeys(matrix.note for matrix in planned if matrix.note):
            say(harmless(note))
        return planned


def say(line: str) -> None:
    """Print a line on the error stream."""
    print(line, file=sys.stderr, flush=True)


def selects_runs(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the shared options, but `without` some, in the place of its first parameter, a `Selection`."""
    options = {name: hint for name, hint in _OPTIONS.items() if name not in without}
    defaults = {**asdict(Request()), "methods": None, "hyperparameters": None}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()

        def wrapper(context: typer.Context, suite: str | None, **values: Any) -> None:
            fields = {name: values.pop(name) for name in options if name != "suite"}
            fields |= {"methods": fields["methods"] or [], "hyperparameters": parse_settings(fields["hyperparameters"] or ())}
            sources = {name: context.get_parameter_source(name) for name in fields.keys() - {"device"}}
            given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
            explicit = {name: value for name, value in fields.items() if name in given}
            command(Selection(suite, Request(**fields), explicit), **values)

        kind = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            inspect.Parameter("context", kind, annotation=typer.Context),
            *(inspect.Parameter(name, kind, default=defaults.get(name), annotation=hint) for name, hint in options.items()),
            *(parameter.replace(kind=kind) for parameter in own),
        ]
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapper

    return decorate


class Command(TyperCommand):
    """Refuse a repeated option of one value, whose first would be lost, and an empty path: it would be the folder here.

    Paths reach the command with `~` expanded.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        values: dict[str, Any] = {}
        if not ctx.resilient_parsing:
            values, _, order = self.make_parser(ctx).parse_args(args=list(args))
            for option in order:
                given = values[option.name]
                empty = "" in given if isinstance(given, list | tuple) else given == ""
                if empty and _takes_paths(option):
                    name = option.opts[0] if isinstance(option, TyperOption) else "a path"
                    raise SpecError(f"{name} is empty; give it a path, or leave it out")
            for option, times in Counter(order).items():
                if times > 1 and isinstance(option, TyperOption) and not (option.multiple or option.is_flag):
                    raise SpecError(f"{option.opts[0]} is given {times} times but takes one value; give it once")
        rest = super().parse_args(ctx, args)
        for option in () if ctx.resilient_parsing else self.params:
            given = values.get(option.name)
            if isinstance(given, str | list | tuple) and _takes_paths(option):
                paths = [_path(option, text) for text in ([given] if isinstance(given, str) else given)]
                ctx.params[option.name or ""] = paths[0] if isinstance(given, str) else paths
        return rest


def _takes_paths(option: Any) -> bool:
    return isinstance(option, TyperArgument | TyperOption) and option.type_descriptor.annotation in (Path, list[Path])


def _path(option: Any, given: str) -> Path:
    """Expand a path, and refuse as an option a link that leads to itself: to `exists` it is a folder not yet made.

    Raises:
        SpecError: if it is such a link, or begins with `~` of an unknown user.
    """
    path = expanded(given)
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP and isinstance(option, TyperOption):
            name = option.opts[0]
            raise SpecError(f"{name} {str(path)!r} cannot be a path ({error.strerror}); choose another {name}") from None
    return path
