"""Values → SVG. Colours come from the page's style sheet, so that figures follow its light and dark themes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

WIDTH, HEIGHT = 420, 170
LEFT, BOTTOM, TOP, RIGHT = 10, 24, 12, 10


def _svg(body: Sequence[str], width: float, height: float, label: str) -> Markup:
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
    return Markup(opening + "".join(body) + "</svg>")


def histogram(factor: dict[str, Any]) -> Markup:
    """Bars of a factor with a line at each threshold; bars are on a square-root scale so that thin tails show."""
    counts, low, high = factor["bins"], factor["low"], factor["high"]
    inner = WIDTH - LEFT - RIGHT
    tall = HEIGHT - TOP - BOTTOM
    peak = max(1, *counts) ** 0.5
    step = inner / len(counts)
    body = []
    for i, count in enumerate(counts):
        height = count**0.5 / peak * tall
        x, y = LEFT + i * step, TOP + tall - height
        said = f"{low + i * (high - low) / len(counts):.3g}: {count:,}"
        body.append(
            f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{step * 0.9:.1f}" height="{height:.1f}">'
            f"<title>{said}</title></rect>"
        )
    body.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{TOP + tall}" y2="{TOP + tall}"/>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        anchor = {0.0: "start", 1.0: "end"}.get(share, "middle")
        body.append(
            f'<text x="{LEFT + share * inner:.1f}" y="{HEIGHT - 7}" text-anchor="{anchor}">{low + share * (high - low):g}</text>'
        )
    for cut in factor["thresholds"]:
        if low <= cut <= high:
            x = LEFT + (cut - low) / (high - low) * inner
            side, shift = ("end", -4) if x > WIDTH * 0.75 else ("start", 4)
            body.append(f'<line class="cut" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{TOP + tall}"/>')
            body.append(f'<text class="cut" x="{x + shift:.1f}" y="{TOP + 2}" text-anchor="{side}">{cut:g}</text>')
    return _svg(body, WIDTH, HEIGHT, factor["title"])


def overlay(kinds: Sequence[dict[str, Any]], low: float, high: float, label: str) -> Markup:
    """Outlines of several histograms on one axis, each (kind, pairs, bins) as shares of its own pairs, square roots of them."""
    inner, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    tops = [[(count / max(1, kind["pairs"])) ** 0.5 for count in kind["bins"]] for kind in kinds]
    peak = max((top for row in tops for top in row), default=0) or 1
    body = []
    for number, (kind, row) in enumerate(zip(kinds, tops, strict=True)):
        step = inner / len(row)
        corners = [(LEFT + (i + side) * step, TOP + tall - top / peak * tall) for i, top in enumerate(row) for side in (0, 1)]
        edge = [(LEFT, TOP + tall), *corners, (LEFT + inner, TOP + tall)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in edge)
        said = f"{kind['kind']}: {kind['pairs']:,} pairs"
        body.append(f'<polygon class="kind{number}" points="{points}"><title>{escape(said)}</title></polygon>')
        body.append(
            f'<text class="kind{number}" x="{LEFT + 0.25 * inner:.1f}" y="{TOP + 10 + 16 * number}">{escape(said)}</text>'
        )
    body.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{TOP + tall}" y2="{TOP + tall}"/>')
    for share in (0.0, 0.5, 1.0):
        anchor = {0.0: "start", 1.0: "end"}.get(share, "middle")
        text = f"{low + share * (high - low):g}"
        body.append(f'<text x="{LEFT + share * inner:.1f}" y="{HEIGHT - 7}" text-anchor="{anchor}">{text}</text>')
    return _svg(body, WIDTH, HEIGHT, label)


def bars(rows: Sequence[tuple[str, float, str]]) -> Markup:
    """Horizontal bars: (label, value, what to write at the bar)."""
    line, label_width, width = 24, 210, 760
    peak = max([value for _, value, _ in rows], default=0) or 1
    body = []
    for i, (label, value, said) in enumerate(rows):
        y, length = i * line, value / peak * (width - label_width - 170)
        body.append(f'<text x="{label_width - 8}" y="{y + 16}" text-anchor="end">{escape(label)}</text>')
        body.append(f'<rect class="bar" x="{label_width}" y="{y + 4}" width="{max(1.0, length):.1f}" height="{line - 8}"/>')
        body.append(f'<text x="{label_width + length + 8:.1f}" y="{y + 16}">{escape(said)}</text>')
    return _svg(body, width, max(1, len(rows)) * line, "bars")


def curve(points: Sequence[Sequence[float]], label: str) -> Markup:
    """A line through (x, y) points, from the least to the greatest y."""
    if len(points) < 2:
        return Markup("")
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    wide, tall = WIDTH - 50 - RIGHT, HEIGHT - TOP - BOTTOM
    low, high = min(ys), max(max(ys), min(ys) + 1e-9)
    places = [
        (50 + (x - xs[0]) / max(1e-9, xs[-1] - xs[0]) * wide, TOP + tall - (y - low) / (high - low) * tall)
        for x, y in zip(xs, ys, strict=True)
    ]
    body = [
        f'<polyline class="curve" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>',
        f'<line class="axis" x1="50" x2="{WIDTH - RIGHT}" y1="{TOP + tall}" y2="{TOP + tall}"/>',
        f'<text x="44" y="{TOP + 8}" text-anchor="end">{high:.2f}</text>',
        f'<text x="44" y="{TOP + tall}" text-anchor="end">{low:.2f}</text>',
        f'<text x="50" y="{HEIGHT - 7}">{xs[0]:g}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 7}" text-anchor="end">{xs[-1]:g}</text>',
        f'<text x="{50 + wide / 2}" y="{HEIGHT - 7}" text-anchor="middle">{escape(label)}</text>',
    ]
    return _svg(body, WIDTH, HEIGHT, label)
