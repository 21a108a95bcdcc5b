"""Drawings of a matrix that need no script: curves of shares, and matched states before and after stitching.

Colours are classes of the page's style sheet, so that light, dark and print each have their own.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from rlstitch.reporting.matrix.latents import LatentScatter
from rlstitch.reporting.rows import printable
from rlstitch.reporting.svg import nice_ticks

_WIDTH, _HEIGHT = 480, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 46
DASHES = ("", "8 4", "2 4", "10 4 2 4", "4 4", "14 5")
"""A curve is told by its dashes as well as by its colour."""


@dataclass(frozen=True)
class Curve:
    """Shares over levels; `low` and `high` bound a band, empty for none."""

    name: str
    levels: Sequence[float]
    shares: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def curves_figure(curves: Sequence[Curve], x_label: str, y_label: str, caption: str) -> str:
    """Return a figure of curves from 0 to 1 with its legend; empty where there is none."""
    curves = [curve for curve in curves if len(curve.levels) > 1]
    if not curves:
        return ""
    ends = [level for curve in curves for level in curve.levels]
    ticks = [tick for tick in nice_ticks(min(ends), max(ends)) if min(ends) <= tick <= max(ends)]
    plot = _Plot((min(ends), max(ends)), (0.0, 1.0))
    parts = [_axes(plot, ticks, x_label, y_label)]
    for index, curve in enumerate(curves):
        if curve.low and curve.high:
            edge = [
                *zip(curve.levels, curve.high, strict=True),
                *reversed([*zip(curve.levels, curve.low, strict=True)]),
            ]
            points = " ".join(plot.point(*place) for place in edge)
            parts.append(f'<polygon class="band s{index % 8}" fill="currentColor" points="{points}"/>')
    for index, curve in enumerate(curves):
        points = " ".join(plot.point(*place) for place in zip(curve.levels, curve.shares, strict=True))
        parts.append(f'<polyline class="curve s{index % 8}" {_stroke(index)} points="{points}"/>')
    legend = "".join(_sample(index, curve.name) for index, curve in enumerate(curves))
    return (
        f'<figure>\n<svg class="drawing" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{_text(caption)}">'
        f'{"".join(parts)}</svg>\n<ul class="series">{legend}</ul>\n'
        f"<figcaption>{_text(caption)}</figcaption>\n</figure>"
    )


@dataclass(frozen=True)
class _Plot:
    """Where values lie in the drawing."""

    xs: tuple[float, float]
    ys: tuple[float, float]
    left: float = _LEFT
    width: float = _WIDTH - _LEFT - _RIGHT
    height: float = _HEIGHT - _TOP - _BOTTOM

    def x(self, value: float) -> float:
        return self.left + self.width * (value - self.xs[0]) / (self.xs[1] - self.xs[0])

    def y(self, value: float) -> float:
        return _TOP + self.height * (1 - (value - self.ys[0]) / (self.ys[1] - self.ys[0]))

    def point(self, x: float, y: float) -> str:
        return f"{self.x(x):.1f},{self.y(y):.1f}"


def _axes(plot: _Plot, ticks: Sequence[float], x_label: str, y_label: str) -> str:
    bottom = _HEIGHT - _BOTTOM
    parts = []
    for tick in ticks:
        x = f"{plot.x(tick):.1f}"
        text = f"{tick:.6g}".replace("-", "−")
        parts.append(f'<path class="grid" d="M{x} {_TOP}V{bottom}"/><text class="tick" x="{x}" y="{bottom + 18}">')
        parts.append(f"{text}</text>")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = plot.y(share)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="tick y" x="{_LEFT - 6}" y="{y + 5:.1f}">{share:.0%}</text>')
    middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    parts.append(f'<text class="tick" x="{middle}" y="{_HEIGHT - 8}">{_text(x_label)} · {_text(y_label)}</text>')
    return "".join(parts)


def _stroke(index: int) -> str:
    dash = DASHES[index % len(DASHES)]
    return 'stroke="currentColor"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _sample(index: int, name: str) -> str:
    line = f'<path d="M0 6H34" fill="none" stroke-width="2.5" {_stroke(index)}/>'
    return f'<li><svg class="s{index % 8}" width="34" height="12" aria-hidden="true">{line}</svg>{_text(name)}</li>'


def latents_figure(scatter: LatentScatter, name: str) -> str:
    """Return matched states before and after stitching, in two panels of one scale; `name` is the element's id."""
    both = (("before", scatter.before), ("after", scatter.after))
    panels = [(word, own) for word, own in both if own is not None]
    places = [*scatter.target, *(place for _, own in panels for place in own)]
    spans = [(min(values), max(values)) for values in zip(*places, strict=True)]
    spans = [(low - 0.04 * (high - low) - 1e-9, high + 0.04 * (high - low) + 1e-9) for low, high in spans]
    side, gap = 330.0, 24.0
    height = _TOP + side + 34
    parts = []
    for index, (word, own) in enumerate(panels):
        plot = _Plot(spans[0], spans[1], left=1 + index * (side + gap), width=side, height=side)
        parts.append(f'<rect class="grid" fill="none" x="{plot.left}" y="{_TOP}" width="{side}" height="{side}"/>')
        for (x, y), (u, v) in zip(own, scatter.target, strict=True):
            parts.append(f'<path class="pair" d="M{plot.point(x, y)}L{plot.point(u, v)}"/>')
        parts += [
            f'<circle class="target" r="3.4" cx="{plot.x(u):.1f}" cy="{plot.y(v):.1f}"/>' for u, v in scatter.target
        ]
        for x, y in own:
            left, top = plot.x(x), plot.y(y)
            parts.append(f'<path class="source" d="M{left:.1f} {top - 3.2:.1f}l3 5.2h-6z"/>')
        parts.append(f'<text class="tick" x="{plot.left + side / 2}" y="{_TOP + side + 22}">{word} stitching</text>')
    width = 2 + 2 * side + gap  # one panel alone is no larger than each of two
    title = f"{scatter.encoder} → {scatter.controller}, {scatter.method}"
    return (
        f'<figure id="{html.escape(name)}">\n<svg class="drawing" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{_text(title)}: latents of {len(scatter.target)} matched states">{"".join(parts)}</svg>\n'
        f"<figcaption>{_text(title)}{_text(_told(scatter))}</figcaption>\n</figure>"
    )


def _told(scatter: LatentScatter) -> str:
    first, second = scatter.explained
    text = (
        f": {len(scatter.target)} matched states. Circles: the controller’s own latents; triangles: the encoder’s. "
        f"Both on the first two principal components of the circles ({first:.0%} and {second:.0%} of their variance)."
    )
    return (
        text if scatter.before is not None else f"{text} Before, the widths differ, so that there is nothing to draw."
    )


def _text(text: str) -> str:
    return html.escape(printable(text), quote=True)
