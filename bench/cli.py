"""The commands: parse, call, print. Whatever takes long to import is imported by the command that needs it."""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from bench import __version__
from bench.errors import UserError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Compare ways to fine-tune an encoder under one device budget, centred on the adapter.",
    rich_markup_mode=None,
    add_completion=False,
)

INTERRUPTED = 130
"""The exit code that typer gives an interrupt: 128 and the number of SIGINT."""
RUNS, REFERENCE_RESULTS = Path("results/runs"), Path("results/reference")


class Truncation(StrEnum):
    head = "head"
    tail = "tail"
    both = "head+tail"


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Precision(StrEnum):
    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


class Format(StrEnum):
    table = "table"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    json = "json"


class View(StrEnum):
    comparison = "comparison"
    curves = "curves"
    budgets = "budgets"
    costs = "costs"
    tuning = "tuning"
    all = "all"


@app.command()
def run(
    method: Annotated[list[str], typer.Option("--method", help="A method, several, or 'all' for the five compared.")],
    encoder: Annotated[str, typer.Option(help="minilm, a local folder, or a hub id.")] = "minilm",
    data: Annotated[str, typer.Option(help="embedded, imdb (the hub's), or a folder with train and test.")] = "embedded",
    budget: Annotated[
        str, typer.Option(help='For each run: "60s", "10m", "500 steps", "3 epochs", "2M tokens"; several: "15s,60s".')
    ] = "60s",
    seeds: Annotated[str, typer.Option(help='How many seeds ("3"), or which ("0,1,5"; "7," for one).')] = "1",
    max_length: Annotated[int, typer.Option(min=8, max=8192, help="Tokens kept of a review.")] = 128,
    truncation: Annotated[Truncation, typer.Option(help="Which part of a longer review is kept.")] = Truncation.both,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Reviews an optimizer step.")] = 16,
    precision: Annotated[Precision, typer.Option(help="auto: bf16 on CUDA, fp32 on a CPU.")] = Precision.auto,
    device: Annotated[Device, typer.Option(help="Where runs execute.")] = Device.auto,
    memory: Annotated[str | None, typer.Option(help='Most that training may use: "2GiB". Beyond it a run ends.')] = None,
    test_limit: Annotated[int | None, typer.Option(help="Test on so many reviews only, half of each class.")] = None,
    tune: Annotated[
        int | None, typer.Option(help="First choose each method's learning rate by so many trials, on validation only.")
    ] = None,
    trials_only: Annotated[bool, typer.Option("--trials-only", help="With --tune: the trials, and no runs.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the records.")] = RUNS,
    force: Annotated[bool, typer.Option("--force", help="Run again what is finished.")] = False,
) -> None:
    """Train and test methods, each with the same budget, and write a record of each run."""
    from bench.matrix import Request, plan
    from bench.record import Floor, Record
    from bench.report.rows import choice_line, floor_line, run_line

    request = Request(
        method, encoder, data, budget, seeds, max_length, str(truncation), batch_size, str(precision), str(device),
        memory, test_limit, tune, trials_only,
    )  # fmt: skip
    matrix = plan(request)
    from bench.execution import carry_out

    def tell(record: Record | Floor, path: Path, new: bool) -> None:
        print(run_line(record) if isinstance(record, Record) else floor_line(record), flush=True)
        print(f"  {'record' if new else 'finished before; --force runs it again'}: {path}", flush=True)

    if not carry_out(matrix, out, force=force, tell=tell, announce=lambda choice: print(choice_line(choice), flush=True)):
        raise typer.Exit(1)


@app.command()
def report(
    reference: Annotated[str, typer.Option(help="The method in the centre.")] = "houlsby",
    results: Annotated[Path | None, typer.Option(help="Folder of records. [results/runs, else results/reference]")] = None,
    format_: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.table,
    view: Annotated[list[View] | None, typer.Option("--view", help="What to show, repeatable; json holds all.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the terminal.")] = None,
) -> None:
    """Compare the records of a folder, the reference method first."""
    from bench.report import render

    folder = results
    if folder is None:
        folder = RUNS if any(RUNS.glob("*.json")) else REFERENCE_RESULTS
    text = render(folder, reference=reference, style=str(format_), view=[str(name) for name in view or ()])
    if out is None:
        print(text)
        return
    from bench.files import atomic_write

    try:
        with atomic_write(out) as file:
            file.write(text.encode() + b"\n")
    except OSError as error:
        raise UserError(f"the report cannot be written to {str(out)!r} ({error.strerror}); choose another --out") from None


@app.command()
def audit(
    records: Annotated[list[Path] | None, typer.Argument(help="Records, and folders of them.", show_default=False)] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print each check with its figure.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Print what each check asks, and audit nothing.")] = False,
) -> None:
    """Derive every figure of records again from their raw fields; exit code 1 if one does not hold."""
    from bench.audit import audit as audited
    from bench.audit import listing

    if list_:
        print(listing())
        return
    if not records:
        raise UserError("name at least one record or folder of records, such as results/reference")
    outcomes = audited(records)
    for outcome in outcomes:
        print(outcome.text(verbose=verbose))
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def methods(
    encoder: Annotated[str, typer.Option(help="The encoder that parameters are counted for.")] = "minilm",
) -> None:
    """List the methods with their papers, hyperparameters and trainable parameters."""
    from bench.checkpoint import find
    from bench.report.registry import methods_text

    checkpoint = find(encoder)
    print(methods_text(checkpoint.name, checkpoint.shape))


@app.command()
def schema() -> None:
    """Print the JSON schema of a record, with the meaning of every field."""
    from bench.store import schema as text

    print(text())


@app.command()
def doctor() -> None:
    """Show what this machine can run, what is missing and how to get it; exit code 1 if runs cannot work."""
    from bench.doctor import diagnose

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


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> None:
    """Run a command; bad input is one line on the error stream and exit code 2."""
    from methods import MethodError

    signal.signal(signal.SIGTERM, _interrupt)
    try:
        given = sys.argv[1:] if arguments is None else arguments
        code = app(args=given or ["--help"], prog_name="python -m bench", standalone_mode=False)
        if code == INTERRUPTED:
            print("stopped; what was measured so far is kept, and the same command goes on", file=sys.stderr)
        sys.exit(code if isinstance(code, int) else 0)
    except TyperException as error:
        # Usage errors say which option they speak of only in format_message.
        line = " ".join(str(getattr(error, "format_message", error.__str__)()).split())
    except (UserError, MethodError) as error:
        line = str(error)
    print(f"error: {_visible(line)}", file=sys.stderr)
    sys.exit(2)


def _visible(line: str) -> str:
    """The line with control characters escaped: names from the command line may hold terminal commands."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
