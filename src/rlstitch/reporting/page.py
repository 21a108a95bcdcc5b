"""A report as one HTML page: everything embedded, no script, nothing fetched, all text escaped."""

from __future__ import annotations

import base64
import html
import struct
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from rlstitch.errors import InvalidInputError
from rlstitch.evaluation.row import FAILED, RECOVERED, Row
from rlstitch.reporting.rows import (
    MISSING,
    conditions,
    number,
    percent,
    printable,
    recovery_parts,
    return_parts,
    success_parts,
)
from rlstitch.reporting.svg import chart, idea, mark, marks
from rlstitch.storage import read_bytes

if TYPE_CHECKING:
    from rlstitch.reporting.write import Report

MAX_MEDIA_BYTES = 64 * 2**20
_WIDE = 2.2  # width over height from which a film or picture takes a row of its own
_DIAGNOSTICS = {
    "pairs": "pairs fitted",
    "held_out": "held out",
    "distinct_views": "distinct views",
    "residual": "residual",
    "r2": "R²",
    "mean_cosine": "cosine",
    "condition_number": "condition number",
    "rank": "rank",
    "action_agreement": "same action %",
    "kl": "KL (nats)",
    "refitted": "then fitted on all",
}


def render(report: Report) -> str:
    """Return the page.

    Raises:
        InvalidInputError: where a panel is no MP4 or an image no PNG.
        ArtefactError: where one of them cannot be read.
    """
    data = files("rlstitch.reporting")
    sections = [
        _section("Results", _cells_table(report.cells)),
        _section("Return with 95 % interval", _chart_figure(report.cells)),
        _section("What they do", _media(report.panels, _video)),
        _section("Pictures", _media(report.images, _image)),
        _section("Diagnostics", _diagnostics(report.cells)),
        _section("What to type next", _commands(report.next_commands)),
        _section("How this was made", _facts(report.facts)),
    ]
    return Template(data.joinpath("page.html").read_text("utf-8")).substitute(
        title=_escape(report.title),
        summary=_escape(report.summary),
        style=data.joinpath("report.css").read_text("utf-8"),
        marks=marks(),
        idea=idea(),
        sections="\n".join(filter(None, sections)),
    )


def _escape(text: object) -> str:
    return html.escape(printable(text), quote=True).replace(" %", "\N{NO-BREAK SPACE}%")


def _code(text: str) -> str:
    """Escape a command: its spaces and line breaks count."""
    return "\n".join(html.escape(printable(line, squeeze=False)) for line in text.splitlines())


def _minus(text: str) -> str:
    return html.escape(text).replace("-", "−")


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{_escape(heading)}</h2>\n{content}\n</section>" if content else ""


def _table(caption: str, header: Sequence[tuple[str, str]], rows: Sequence[str]) -> str:
    """Return a table that scrolls in its own box; `header` holds names and classes."""
    heads = [f'<th scope="col"{f" class={kind!r}" if kind else ""}>{_escape(name)}</th>' for name, kind in header]
    return (
        f'<div class="scroll" role="region" aria-label="{_escape(caption)}" tabindex="0">\n<table>\n'
        f"<caption>{_escape(caption)}</caption>\n<thead><tr>{''.join(heads)}</tr></thead>\n"
        "<tbody>\n" + "\n".join(rows) + "\n</tbody>\n</table>\n</div>"
    )


def _cells_table(cells: Sequence[Row]) -> str:
    if not cells:
        return '<p class="note">No rows.</p>'
    environment = _shared_environment(cells)
    mixed = len({(cell.episodes, cell.policy) for cell in cells}) > 1
    note = (
        f"{conditions(cells)}{environment and ' in '}{environment}; in brackets the 95 % interval. Recovery: 0 % is "
        f"random actions, 100 % the native controller in its own world; from {RECOVERED:.0f} % a stitch counts as "
        f"recovered, under {FAILED:.0f} % as failed."
    )
    header = [(name, "") for name in ("result", "method", "encoder", "controller", "world")]
    header += [(name, "number") for name in ("return", "recovery %", "success %", "length")]
    header += [("episodes", "number"), ("actions", "")] if mixed else []
    rows = [_cell_row(cell, cell.world.removeprefix(f"{environment}, "), mixed) for cell in cells]
    table = _table("Results by row", header, rows)
    return f'<p class="note">{_escape(note)}</p>\n{table}'


def _shared_environment(cells: Sequence[Row]) -> str:
    """Return what all worlds start with, up to the first comma; empty where they differ or say no more than that."""
    first = {cell.world.partition(", ")[0] for cell in cells}
    return first.pop() if len(first) == 1 and all(", " in cell.world for cell in cells) else ""


def _cell_row(cell: Row, world: str, mixed: bool) -> str:
    verdict = cell.verdict
    kind = {"failed": "failed-row", "native": "baseline-row", "random": "baseline-row"}.get(verdict, "")
    word = {"native": "reference", "random": "floor", "unknown": "no figure"}.get(verdict, verdict)
    parts = [f'<td class="name">{mark(verdict)}{word}</td><th scope="row">{_escape(cell.method)}</th>']
    parts += [f'<td class="name">{_escape(text)}</td>' for text in (cell.encoder, cell.controller)]
    parts.append(f'<td class="world">{_escape(world)}</td>')
    for value, interval in (return_parts(cell), recovery_parts(cell), success_parts(cell)):
        small = f" <small>{_minus(interval)}</small>" if interval else ""
        parts.append(f'<td class="number">{_minus(value)}{small}</td>')
    parts.append(f'<td class="number">{number(cell.length_mean, like=10.0)}</td>')
    parts += [f'<td class="number">{cell.episodes:,}</td><td>{cell.policy}</td>'] if mixed else []
    return f'<tr class="{kind}">{"".join(parts)}</tr>' if kind else f"<tr>{''.join(parts)}</tr>"


def _chart_figure(cells: Sequence[Row]) -> str:
    drawing = chart(cells)
    note = (
        "Marks as in the table: mean return, its 95 % interval as a whisker. Dashed: random actions and native agents."
    )
    return f"<figure>\n{drawing}\n<figcaption>{note}</figcaption>\n</figure>" if drawing else ""


def _diagnostics(cells: Sequence[Row]) -> str:
    fitted = [(cell, cell.diagnostics) for cell in cells if cell.diagnostics is not None]
    if not fitted:
        return ""
    known = [name for name in _DIAGNOSTICS if any(name in figures for _, figures in fitted)]
    others = dict.fromkeys(name for _, figures in fitted for name in figures if name not in (*known, "method"))
    names = [*known, *others]
    header = [(name, "") for name in ("method", "encoder", "controller")]
    header += [(_DIAGNOSTICS.get(name, name), "number") for name in names]
    rows = []
    for cell, figures in fitted:
        texts = [f'<td class="number">{_figure(name, figures)}</td>' for name in names]
        who = "".join(f'<td class="name">{_escape(text)}</td>' for text in (cell.encoder, cell.controller))
        rows.append(f'<tr><th scope="row">{_escape(cell.method)}</th>{who}{"".join(texts)}</tr>')
    note = (
        "From held-out pairs, before any episode was played: how well mapped latents meet the true ones, and how often "
        "the controller would choose the same action."
    )
    table = _table("Fit by row", header, rows)
    return f'<details>\n<summary>Show how well each map fits</summary>\n<p class="note">{note}</p>\n{table}\n</details>'


def _figure(name: str, figures: Mapping[str, Any]) -> str:
    value = figures.get(name)
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, (int, float)):
        return _escape(value)
    if isinstance(value, int):
        return _minus(f"{value:,}")
    if name == "action_agreement":
        return _minus(percent(100 * value))
    return _minus(f"{value:.3f}" if 5e-4 <= abs(value) < 10 or value == 0 else f"{value:.3g}")


def _media(items: Sequence[tuple[str, Path]], show: Any) -> str:
    if not items:
        return ""
    figures = []
    for caption, path in items:
        tag, width, height = show(caption, Path(path))
        kind = ' class="wide"' if width > _WIDE * height else ""
        figures.append(f"<figure{kind}>\n{tag}\n<figcaption>{_escape(caption)}</figcaption>\n</figure>")
    return '<div class="panels">\n' + "\n".join(figures) + "\n</div>"


def _video(caption: str, path: Path) -> tuple[str, int, int]:
    content = read_bytes(path, max_bytes=MAX_MEDIA_BYTES)
    width, height = _mp4_size(content, path)
    text = base64.b64encode(content).decode()
    tag = (
        f'<video controls muted loop playsinline preload="metadata" width="{width}" height="{height}" '
        f'aria-label="{_escape(caption)}" src="data:video/mp4;base64,{text}"></video>'
    )
    return tag, width, height


def _mp4_size(content: bytes, path: Path) -> tuple[int, int]:
    """Return width and height from the track header (ISO/IEC 14496-12, 8.3.2), whose last two words are 16.16 fixed."""
    start = content.find(b"tkhd") - 4
    if content[4:8] != b"ftyp" or start < 0:
        raise InvalidInputError(f"panels: expected an MP4 file, found something else in {path}")
    end = start + int.from_bytes(content[start : start + 4])
    box = content[start:end]
    width, height = struct.unpack(">H2xH2x", box[-8:]) if len(box) == end - start >= 92 else (0, 0)
    if width < 1 or height < 1:
        raise InvalidInputError(f"panels: expected an MP4 file with pictures, found none in {path}")
    return width, height


def _image(caption: str, path: Path) -> tuple[str, int, int]:
    content = read_bytes(path, max_bytes=MAX_MEDIA_BYTES)
    if content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR" or len(content) < 24:
        raise InvalidInputError(f"images: expected a PNG file, found something else in {path}")
    width, height = struct.unpack(">II", content[16:24])
    text = base64.b64encode(content).decode()
    tag = (
        f'<img width="{width}" height="{height}" alt="{_escape(caption)}" loading="lazy" '
        f'src="data:image/png;base64,{text}">'
    )
    return tag, width, height


def _commands(commands: Sequence[tuple[str, str]]) -> str:
    items = [
        f'<li><p>{_escape(comment)}</p><pre tabindex="0"><code>{_code(command)}</code></pre></li>'
        for comment, command in commands
    ]
    return '<ul class="next">\n' + "\n".join(items) + "\n</ul>" if items else ""


def _facts(facts: Mapping[str, str]) -> str:
    lines = []
    for name, value in facts.items():
        text = f"<code>{_code(value)}</code>" if name == "command" else _escape(value)
        lines.append(f"<dt>{_escape(name)}</dt><dd>{text}</dd>")
    return "<dl>\n" + "\n".join(lines) + "\n</dl>" if lines else ""
