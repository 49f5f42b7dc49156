"""The commands: parse, call, print. Slow imports are inside the commands."""

from __future__ import annotations

import errno
import io
import re
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.exceptions import TyperException

from bench import __version__
from bench.cli.export import card, convert, export
from bench.cli.options import RUNS, Command, Device, Out
from bench.cli.run import calibrate, run, watch
from bench.report.options import Figure, Format, View
from bench.system.errors import BenchError, SpecError
from bench.system.files import write_out
from bench.system.signals import INTERRUPTED

__all__ = ["app", "main"]

app = typer.Typer(rich_markup_mode=None)
command = partial(app.command, cls=Command)

REFERENCE_RESULTS = Path("results/reference")

for function in (run, calibrate, watch, export, convert, card):
    command()(function)


@command()
def suites() -> None:
    """List the suites of the project: purpose, methods and number of runs."""
    from bench.runs.suite import suites_text

    print(suites_text())


@command()
def report(
    records: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders and records, joined. [results/runs, else results/reference]", show_default=False),
    ] = None,
    reference: Annotated[str, typer.Option(help="The method that others are compared with.")] = "houlsby",
    results: Annotated[list[Path] | None, typer.Option(help="The same as an option, repeatable.")] = None,
    format_: Annotated[
        Format, typer.Option("--format", help="Format. html: a page of all tables and figures; svg, png: figures.")
    ] = "table",
    view: Annotated[list[View] | None, typer.Option("--view", help="Tables to show, repeatable; json, html hold all.")] = None,
    wide: Annotated[bool, typer.Option("--wide", help="Every column of the comparison: precision, recall, p, counts.")] = False,
    margin: Annotated[float, typer.Option(help="Accuracies within this many points of each other are equivalent.")] = 0.5,
    figure: Annotated[
        Figure | None,
        typer.Option(help="With svg, png: which. [accuracy-parameters; all where --out is a folder]", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write to this file instead of the terminal; pictures: a file of one or a folder."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if a file was left out.")] = False,
) -> None:
    """Compare records, the reference method first. Damaged files are named and left out."""
    from bench.records.store import Damaged
    from bench.report.render import FILE_WIDTH, render

    if not 0 < margin <= 100:
        raise SpecError(f"--margin {margin:g}: name points of accuracy above 0 and up to 100, such as 0.5")
    sources = [*(records or ()), *(results or ())] or [RUNS if any(RUNS.glob("*.json")) else REFERENCE_RESULTS]
    left_out: list[Damaged] = []
    drawn = format_ in ("svg", "png")
    if drawn and view:
        raise SpecError(f"--view chooses tables; with --format {format_} choose a figure with --figure")
    if drawn and wide:
        raise SpecError(f"--wide is for tables; --format {format_} draws none")
    if figure is not None and not drawn:
        raise SpecError(f"--figure needs --format svg or png; --format {format_} has no single figures")
    if format_ == "html" and out is None and sys.stdout.isatty():
        raise SpecError("a page cannot be read in a terminal; name a file for it with --out")
    text = render(
        sources, reference=reference, style=format_, view=view, left_out=left_out,
        margin=margin / 100, wide=wide, width=None if out is None else FILE_WIDTH, figure=figure, out=out,
    )  # fmt: skip
    if out is None or drawn:
        print(text)
    else:
        write_out(out, text.encode() + b"\n", "the report")
    if strict and left_out:
        raise typer.Exit(1)


@command()
def predict(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN] [TEXT]...",
            help="A saved run (its id or the first digits, its record, its folder), then texts; '-' or a pipe: a text a line.",
            show_default=False,
        ),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(help="In place of RUN, repeatable: NAME=RUN, or the name of its reviews. All share one encoder."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="A table: CSV, TSV, JSON lines, parquet; predictions are two more columns.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Its column of texts. [text]", show_default=False)] = None,
    test: Annotated[
        bool, typer.Option("--test", help="Repeat the run's own test instead; exit code 1 unless its logits are the same.")
    ] = False,
    format_: Annotated[
        Literal["text", "csv", "json"] | None,
        typer.Option("--format", help="Format. [text; with --csv csv]", show_default=False),
    ] = None,
    out: Out = None,
    results: Annotated[Path, typer.Option(help="Folder of records beside which runs were saved.")] = RUNS,
    encoder: Annotated[str | None, typer.Option(help="Where the encoder is now, if it was a folder.")] = None,
    data: Annotated[str | None, typer.Option(help="With --test: where the reviews are now, if they were a folder.")] = None,
    device: Annotated[Device, typer.Option(help="auto: the device of the run, where there is one.")] = "auto",
) -> None:
    """Classify texts with a saved run: label, probability (of positive; of more classes, the label's), text."""
    from bench.inference.predictions import PredictRequest, predict_texts, repeat_tests

    request = PredictRequest(words or [], adapter or [], csv, column, format_, results, encoder, data, device)
    if test:
        outcomes = repeat_tests(request)
        text, same = "\n".join(line for line, _ in outcomes), all(identical for _, identical in outcomes)
    else:
        text, same = predict_texts(request), True
    if out is None:
        print(text)
    else:
        write_out(out, text.encode() + b"\n", "the predictions")
    if not same:
        raise typer.Exit(1)


@command()
def audit(
    records: Annotated[list[Path] | None, typer.Argument(help="Records, and folders of them.", show_default=False)] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print each check with its figure.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Print the checks, and audit nothing.")] = False,
) -> None:
    """Derive every figure of records again from their raw fields.

    Exit code 0: all hold. 1: a figure does not hold, or a record is damaged. 2: no record was given. 3: all hold, but other
    files lie among them.
    """
    from bench.records.audit import audit as audited
    from bench.records.audit import listing

    if list_:
        print(listing())
        return
    if not records:
        raise SpecError("name at least one record or folder of records, such as results/reference")
    outcomes = audited(records)
    for outcome in outcomes:
        print(outcome.text(verbose=verbose))
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(1)
    if any(outcome.foreign for outcome in outcomes):
        raise typer.Exit(3)


@command()
def methods(
    encoder: Annotated[str, typer.Option(help="Count parameters for this encoder.")] = "minilm",
) -> None:
    """List the methods and their groups: papers, hyperparameters, trainable parameters, and which attach to the encoder."""
    from bench.models.pretrained import find
    from bench.report.methods import methods_text

    pretrained = find(encoder)
    print(methods_text(pretrained.name, pretrained.shape))


@command()
def schema() -> None:
    """Print the JSON schema of a record, with the meaning of every field."""
    from bench.records.store import schema as text

    print(text())


@command()
def doctor() -> None:
    """Show what this machine can run, what is missing and how to get it; exit code 1 if runs cannot work."""
    from bench.cli.doctor import diagnose

    text, can_run = diagnose()
    print(text)
    if not can_run:
        raise typer.Exit(1)


def _version(value: bool) -> None:
    if value:
        print(f"adapter-bench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Compare ways to fine-tune an encoder under one device budget, centred on the adapter."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command; bad input is one line on the error stream and exit code 2."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # An escape stands for a character that a terminal lacks, or that makes a path no text.
            stream.reconfigure(errors="backslashreplace")
    # The command is named as it was called: shells complete the console script by its name.
    program = "adapter-bench" if Path(sys.argv[0]).name == "adapter-bench" else "python -m bench"
    try:
        words = sys.argv[1:] if arguments is None else arguments
        code = app(args=words or ["--help"], prog_name=program, standalone_mode=False)
        if code == INTERRUPTED:
            print("stopped; finished records are kept, and the same command resumes the others", file=sys.stderr)
        sys.exit(code if isinstance(code, int) else 0)
    except TyperException as error:
        # Usage errors name their option only in format_message.
        line = " ".join(str(getattr(error, "format_message", error.__str__)()).split())
    except BenchError as error:
        line = str(error)
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):  # from the first look at a path, wherever one is named
            line = f"{str(error.filename)!r} cannot be a path ({error.strerror}); name another"
        elif error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            line = f"the output cannot be written ({error.strerror})"
            # Flushing it when the interpreter ends would fail again.
            sys.stdout = None
        else:
            raise
    print(f"error: {_visible(line)}", file=sys.stderr)
    sys.exit(2)


def _visible(line: str) -> str:
    """Escape control characters, since names may hold terminal commands, and cut words that are longer than a path."""
    line = re.sub(r"\S{400,}", lambda word: f"{word[0][:100]}…{word[0][-100:]}", line)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
