"""The drawings of a report as inline SVG: the marks, the idea, and the chart of returns with their intervals.

Colours are custom properties of the page's style sheet, so that the drawings follow light, dark and print. Lengths
across the chart are percentages and there is no view box: it is as wide as its place, and its text keeps its size.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from rlstitch.evaluation.row import Row, Verdict
from rlstitch.reporting.rows import number, printable, return_parts, shorten

_ROW, _TOP, _BOTTOM = 46, 44, 44  # heights in pixels: one row, the labels above, the axis below
_LABEL = 46  # characters of a label: method and both names
_CLUSTER = 0.05  # reference values nearer than this share of the axis are drawn as one line

SHAPES: dict[Verdict, str] = {
    "recovered": '<circle cx="8" cy="8" r="7" fill="currentColor"/>'
    '<path d="M4.7 8.3l2.3 2.4 4.4-5" fill="none" stroke="var(--page)" stroke-width="1.8"/>',
    "partly": '<path d="M8 .8L15.2 8 8 15.2.8 8z" fill="currentColor"/>',
    "failed": '<path d="M2.5 2.5l11 11m0-11l-11 11" stroke="currentColor" stroke-width="3.2"/>',
    "native": '<rect x="2" y="2" width="12" height="12" fill="currentColor"/>',
    "random": '<rect x="2.75" y="2.75" width="10.5" height="10.5" fill="var(--page)" stroke="currentColor" '
    'stroke-width="1.5"/>',
    "unknown": '<path d="M3 8h10" stroke="currentColor" stroke-width="2"/>',
}


def marks() -> str:
    """Return the marks of all verdicts, to be drawn with `mark`: each has its own shape besides its colour."""
    symbols = [f'<symbol id="mark-{name}" viewBox="0 0 16 16">{shape}</symbol>' for name, shape in SHAPES.items()]
    return f'<svg class="marks" aria-hidden="true" width="0" height="0">{"".join(symbols)}</svg>'


def mark(verdict: Verdict) -> str:
    """Return a verdict's mark for running text."""
    drawing = f'<use href="#mark-{verdict}"></use>'
    return f'<svg class="mark {verdict}" aria-hidden="true" width="14" height="14">{drawing}</svg>'


def idea() -> str:
    """Return the picture of the idea: the encoder of A, a map, the controller of B."""
    return f"""<svg class="idea" viewBox="0 0 420 214" role="img" aria-labelledby="idea-title">
<title id="idea-title">Encoder A, a map between latent spaces, controller B</title>
<g class="apart"><path d="M136 50H277"/><path d="M136 164H277"/></g>
<text x="206" y="40" class="faint">trained together</text>
<text x="206" y="186" class="faint">trained together</text>
<g class="joined"><path d="M136 62L176 92"/><path d="M236 122L277 148"/></g>
{_head(274, 50, 0, "apart")}{_head(274, 164, 0, "apart")}{_head(279, 149.5, 32, "joined")}
{_box(6, 22, "encoder A", "sees look A", "used")}
{_box(280, 22, "controller A", "knows task A", "idle")}
{_box(6, 136, "encoder B", "sees look B", "idle")}
{_box(280, 136, "controller B", "knows task B", "used")}
<rect class="map" x="164" y="88" width="84" height="38" rx="19"/><text x="206" y="112" class="strong">map</text>
</svg>"""


def _box(x: int, y: int, name: str, note: str, kind: str) -> str:
    middle = x + 65
    return (
        f'<g class="{kind}"><rect x="{x}" y="{y}" width="130" height="56" rx="8"/>'
        f'<text x="{middle}" y="{y + 25}" class="strong">{name}</text><text x="{middle}" y="{y + 43}">{note}</text></g>'
    )


def _head(x: float, y: float, degrees: float, kind: str) -> str:
    return f'<path class="head {kind}" transform="translate({x} {y}) rotate({degrees})" d="M4 0L-7-5V5z"/>'


def chart(cells: Sequence[Row]) -> str:
    """Return dots and whiskers: the mean return of each row with its interval, random and native as lines behind.

    Returns an empty text where no row has a finite return.
    """
    shown = [cell for cell in cells if all(map(math.isfinite, _interval(cell)))]
    values = [value for cell in shown for value in _interval(cell)]
    if not values or not math.isfinite(max(values) - min(values)):
        return ""
    ticks = nice_ticks(min(values), max(values))
    height = _TOP + _ROW * len(shown) + _BOTTOM
    rows = [(cell, _TOP + _ROW * index) for index, cell in enumerate(shown)]
    track = [_axis(ticks, height), *_references(shown, ticks, height), *(_whisker(cell, y, ticks) for cell, y in rows)]
    return (
        f'<svg class="chart" width="100%" height="{height}" role="img" '
        f'aria-label="Mean return and 95 % interval of {len(shown)} rows of the table">'
        f"{''.join(track)}{''.join(_label(cell, y) for cell, y in rows)}</svg>"
    )


def nice_ticks(low: float, high: float) -> list[float]:
    """Return four to eight round numbers that span `low` to `high`."""
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1e-300):  # one value: give it room
        room = abs(low) * 0.1 or 0.5
        low, high = low - room, high + room
    power = 10.0 ** math.floor(math.log10((high - low) / 5))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (power * factor) <= 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * index for index in range(first, last + 1)]


def _interval(cell: Row) -> tuple[float, float, float]:
    return cell.return_low, cell.return_mean, cell.return_high


def _x(value: float, ticks: Sequence[float]) -> str:
    return f"{3 + 94 * (value - ticks[0]) / (ticks[-1] - ticks[0]):.2f}%"


def _axis(ticks: Sequence[float], height: int) -> str:
    parts = []
    for tick in ticks:
        x = _x(tick, ticks)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{_TOP}" y2="{height - _BOTTOM}"/>')
        text = f"{round(tick / (ticks[1] - ticks[0])) * (ticks[1] - ticks[0]):.6g}".replace("-", "−")
        parts.append(f'<text class="tick" x="{x}" y="{height - _BOTTOM + 17}">{text}</text>')
    parts.append(f'<text class="tick" x="50%" y="{height - 6}">return an episode</text>')
    return "".join(parts)


def _references(cells: Sequence[Row], ticks: Sequence[float], height: int) -> list[str]:
    """Return the lines of random actions and native agents, each kind labelled on a line of its own."""
    parts = []
    for y, kind in ((14, "random"), (32, "native")):
        values = sorted(cell.return_mean for cell in cells if cell.method == kind)
        for group in _clusters(values, _CLUSTER * (ticks[-1] - ticks[0])):
            middle = sum(value / len(group) for value in group)
            x = _x(middle, ticks)
            texts = dict.fromkeys(number(value).replace("-", "−") for value in (group[0], group[-1]))
            share = (middle - ticks[0]) / (ticks[-1] - ticks[0])
            anchor = "start" if share < 0.15 else "end" if share > 0.85 else "middle"
            parts.append(f'<line class="reference {kind}" x1="{x}" x2="{x}" y1="{y + 4}" y2="{height - _BOTTOM}"/>')
            parts.append(
                f'<text class="tick" style="text-anchor:{anchor}" x="{x}" y="{y}">{kind} {" to ".join(texts)}</text>'
            )
    return parts


def _clusters(values: Sequence[float], near: float) -> list[list[float]]:
    groups: list[list[float]] = []
    for value in values:
        if groups and value - groups[-1][0] <= near:
            groups[-1].append(value)
        else:
            groups.append([value])
    return groups


def _whisker(cell: Row, y: int, ticks: Sequence[float]) -> str:
    low, mean, high = (_x(value, ticks) for value in _interval(cell))
    y, verdict = y + 32, cell.verdict
    ends = "".join(f'<line x1="{x}" x2="{x}" y1="{y - 5}" y2="{y + 5}"/>' for x in (low, high))
    return (
        f'<g class="whisker {verdict}"><line x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>{ends}</g>'
        f'<use class="{verdict}" href="#mark-{verdict}" x="{mean}" y="{y}" width="14" height="14" '
        'transform="translate(-7 -7)"></use>'
    )


def _label(cell: Row, y: int) -> str:
    method = shorten(printable(cell.method), 24)
    room = (_LABEL - 3 - len(method)) // 2
    names = [shorten(printable(name), room) for name in (cell.encoder, cell.controller)]
    who = "" if cell.method == "random" else names[0] if names[0] == names[1] else " → ".join(names)
    value = " ".join(return_parts(cell)).replace("-", "−")
    return (
        f'<text class="label" x="0" y="{y + 16}"><tspan class="strong">'
        f'{html.escape(method)}</tspan><tspan dx="8">{html.escape(who)}</tspan></text>'
        f'<text class="label value" x="100%" y="{y + 16}">{value}</text>'
    )
