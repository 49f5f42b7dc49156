"""Figures as files of their own, SVG or PNG, by the same grammar as those of the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Literal

import vl_convert

from bench.report.figures import LACKING
from bench.report.figures.figure import PICTURE, Drawing, Spec, vl_version
from bench.report.options import Figure
from bench.system.errors import RecordError, SpecError
from bench.system.files import sha256_bytes, write_out

__all__ = ["Kind", "mark", "picture", "write_figures"]

Kind = Literal["svg", "png"]
_SCALE = 2
"""Pixels of a PNG to one of the canvas: sharp on a projector and in print."""


def write_figures(drawings: Mapping[str, Drawing], *, figure: Figure | None, kind: Kind, out: Path | None) -> str:
    """Draw the requested figures. Returns the text to print: the names of the files, one a line, or the SVG itself where
    no file is named.

    A file gets one figure, by default accuracy against parameters, and a folder a file for each figure, by default all.
    A path that ends in .svg or .png is a file.

    Raises:
        BenchError: if there is no such figure, if one file is to hold several, and if a file cannot be written.
    """
    whole = out is not None and _is_folder(out, kind)
    requested = figure or ("all" if whole else "accuracy-parameters")
    selected = {name: drawing for name, drawing in drawings.items() if requested in ("all", drawing.figure)}
    if not selected:
        why = "" if requested == "all" else f" as --figure {requested}: {LACKING[requested]}"
        raise RecordError(f"there is nothing to draw here{why}")
    if len(selected) > 1 and not whole:
        raise SpecError(
            f"--figure {requested} is {len(selected)} pictures here ({', '.join(selected)}); name a folder for them with --out"
        )
    if out is None:
        if kind == "png":
            raise SpecError("a PNG is not text: name a file or a folder for it with --out")
        (drawing,) = selected.values()
        return picture(drawing, kind).decode().rstrip("\n")
    paths = {out / f"{name}.{kind}" if whole else out: drawing for name, drawing in selected.items()}
    for path, drawing in paths.items():
        write_out(path, picture(drawing, kind), "the picture")
    return "\n".join(map(str, paths))


def _is_folder(out: Path, kind: Kind) -> bool:
    if out.is_dir() or not out.suffix:
        return True
    if out.suffix.lower() != f".{kind}":
        raise SpecError(f"--out {str(out)!r} is no name for --format {kind}: a picture ends in .{kind}, a folder in nothing")
    return False


def picture(drawing: Drawing, kind: Kind) -> bytes:
    """Write a figure as PNG, or as SVG with a description and, at the end, a hash of its data."""
    spec, version = drawing.spec(PICTURE), vl_version()
    if kind == "png":
        return vl_convert.vegalite_to_png(spec, vl_version=version, scale=_SCALE, allowed_base_urls=[])
    svg = vl_convert.vegalite_to_svg(spec, vl_version=version, allowed_base_urls=[])
    root, content = svg.rstrip().split(">", 1)
    words = f"<title>{escape(drawing.title)}</title><desc>{escape(f'{drawing.caption} {drawing.shared}')}</desc>"
    return f"{root}>{words}{content}\n{mark(spec)}\n".encode()


def mark(spec: Spec) -> str:
    """Write the last line of an SVG, by which a test checks that its records have not changed."""
    return f"<!-- drawn from a specification with SHA-256 {sha256_bytes(json.dumps(spec, sort_keys=True).encode())} -->"
