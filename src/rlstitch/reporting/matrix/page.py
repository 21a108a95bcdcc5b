"""The page of a matrix's report: one file, its own script and style, nothing fetched, all text escaped."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from rlstitch.evaluation.matrix.worlds import CELL
from rlstitch.reporting.matrix.data import MatrixData, correlations, payload, recoveries, spread
from rlstitch.reporting.matrix.latents import LatentScatter
from rlstitch.reporting.matrix.svg import Curve, curves_figure, latents_figure
from rlstitch.reporting.matrix.tables import comparison_text, headline, method_table
from rlstitch.reporting.matrix.training import training_curves
from rlstitch.reporting.rows import printable
from rlstitch.storage import read_bytes

MAX_FILM_BYTES = 32 * 2**20
_SCRIPTS = ("core", "heat", "table", "scatter", "cell")


@dataclass(frozen=True)
class Film:
    """A film of a cell that is embedded."""

    row: int
    """Place of the cell in the rows."""
    path: Path
    """An MP4 file."""
    caption: str


def render(data: MatrixData, *, films: Sequence[Film] = (), latents: Sequence[LatentScatter] = ()) -> str:
    """Return the page.

    The Content-Security-Policy names the hashes of the one script and the one style sheet, allows pictures and films
    that are embedded, and nothing else: no page of the web is reached, and no text of an agent's name can run.

    Raises:
        ArtefactError: where a film cannot be read.
    """
    script, style = _script(), _style()
    content = payload(data) | {
        "correlations": correlations(data),
        "films": [{"row": film.row, "id": f"film-{film.row}", "caption": film.caption} for film in films],
        "latents": [{"row": _row_of(data, each), "id": f"latents-{index}"} for index, each in enumerate(latents)],
    }
    return Template(_asset("page.html")).substitute(
        policy=policy(script, style),
        title=_escape(f"Stitching matrix {data.folder.resolve().name}"),
        summary=_escape(headline(data)),
        warning="" if data.complete else '<p class="warning">Cut off: cells are missing. The same command goes on.</p>',
        style=style,
        script=script,
        methods=_methods(data),
        curves=_curves(data),
        training=_training(training_curves(data)),
        latents=_latents(latents),
        facts=_facts(data),
        media="\n".join(_film(film) for film in films),
        data=embedded(content),
    )


def policy(script: str, style: str) -> str:
    """Return the Content-Security-Policy of a page with this one script and this one style sheet."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    return (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; img-src data:; "
        "media-src data:; base-uri 'none'; form-action 'none'"
    )


def embedded(content: Any) -> str:
    """Return JSON that can stand in a script element: no `<`, so that nothing in it ends the element."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _asset(name: str, package: str = "rlstitch.reporting.matrix") -> str:
    return files(package).joinpath(name).read_text("utf-8")


def _script() -> str:
    parts = [_asset(f"{name}.js") for name in _SCRIPTS]
    return '(() => {\n"use strict";\n' + "\n".join(parts) + "})();"


def _style() -> str:
    return _asset("report.css", "rlstitch.reporting") + _asset("report.css")


def _escape(text: object) -> str:
    return html.escape(printable(text), quote=True).replace(" %", "\N{NO-BREAK SPACE}%")


def _row_of(data: MatrixData, scatter: LatentScatter) -> int:
    wanted = (scatter.encoder, scatter.controller, scatter.method)
    return next(i for i, r in enumerate(data.rows) if (r["encoder"], r["controller"], r["method"]) == wanted)


def _methods(data: MatrixData) -> str:
    header, *lines = method_table(data)
    names = header.index("method") + 1  # these columns hold names, the others numbers
    heads = "".join(
        f'<th scope="col"{"" if index < names else " class=number"}>{_escape(name)}</th>'
        for index, name in enumerate(header)
    )
    rows = []
    for line in lines:
        first, figures = line[:names], line[names:]
        cells = "".join(f'<td class="number">{_escape(text).replace("-", "−")}</td>' for text in figures)
        told = "".join(f'<th scope="row">{_escape(name)}</th>' for name in first)
        rows.append(f"<tr>{told}{cells}</tr>")
    compared = "".join(f"<li>{_escape(comparison_text(entry)).replace(' -', ' −')}</li>" for entry in data.comparisons)
    note = (
        "Over the cells that count. Recovery: 0 % is random actions, 100 % the native controller in its own world. In "
        "brackets the 95 % stratified bootstrap interval over episodes; ≥ 90 %: the share of cells with as much."
    )
    return (
        '<div class="scroll" role="region" aria-label="Methods" tabindex="0">\n<table>\n<caption>Methods</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{chr(10).join(rows)}\n</tbody>\n</table>\n</div>\n"
        f'<p class="note">{_escape(note)}</p>' + (f"\n<ul>{compared}</ul>" if compared else "")
    )


def _curves(data: MatrixData) -> str:
    profiles = []
    for entry in data.summary:
        found = entry.get("profile")
        if found:
            name = _curve_name(entry["method"], entry.get("place", CELL))
            profiles.append(Curve(name, *(found[key] for key in ("levels", "share", "low", "high"))))
    levels = [float(level) for level in range(-20, 121)]
    listed = [(method, place) for place in data.places for method in data.methods]
    scores = {_curve_name(*each): recoveries(data, *each) for each in listed}
    shares = [Curve(name, levels, spread(found, levels)) for name, found in scores.items() if found]
    drawn = [
        curves_figure(
            profiles,
            "recovery in %",
            "share of episodes above",
            "Performance profiles: the share of all episodes whose recovery is above each level, with 95 % bands.",
        ),
        curves_figure(
            shares,
            "recovery in %",
            "share of cells at or above",
            "Cells: the share whose mean recovery reaches each level.",
        ),
    ]
    parts = "\n".join(filter(None, drawn))
    return f'<section>\n<h2>Profiles</h2>\n<div class="curves">\n{parts}\n</div>\n</section>' if parts else ""


def _training(curves: Sequence[Curve]) -> str:
    caption = "Training of the agents: the success rate of each evaluation, over steps."
    figure = curves_figure(curves, "steps", "success", caption)
    return f'<section>\n<h2>Training</h2>\n<div class="curves">\n{figure}\n</div>\n</section>' if figure else ""


def _curve_name(method: str, place: str) -> str:
    return method if place == CELL else f"{method}, {place}"


def _latents(latents: Sequence[LatentScatter]) -> str:
    figures = "\n".join(latents_figure(each, f"latents-{index}") for index, each in enumerate(latents))
    heading = "Matched states before and after stitching"
    return f'<section>\n<h2>{heading}</h2>\n<div class="latents">\n{figures}\n</div>\n</section>' if figures else ""


def _facts(data: MatrixData) -> str:
    options = data.options
    facts = {
        "episodes a cell": options.get("episodes"),
        "pairs, at most": options.get("pairs"),
        "seed": options.get("seed"),
        "actions": "greedy" if options.get("greedy") else "sampled",
        "methods": ", ".join(data.methods),
        "worlds": None if data.places == (CELL,) else ", ".join(data.places),
        "tables beside this file": "cells.csv, cells.json, report.md, report.json, tables/",
    }
    lines = [f"<dt>{_escape(name)}</dt><dd>{_escape(value)}</dd>" for name, value in facts.items() if value is not None]
    lines.append(f"<dt>command</dt><dd><code>{html.escape(printable(data.command, squeeze=False))}</code></dd>")
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"


def _film(film: Film) -> str:
    text = base64.b64encode(read_bytes(film.path, max_bytes=MAX_FILM_BYTES)).decode()
    return f'<script type="text/plain" id="film-{film.row}">{text}</script>'
