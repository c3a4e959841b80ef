"""Values → SVG. Colours come from the page's style sheet, so that figures follow its light and dark themes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

WIDTH, HEIGHT = 420, 170
LEFT, BOTTOM, TOP, RIGHT = 10, 24, 12, 10
PLOT_WIDTH, PLOT_HEIGHT, BASE = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM, HEIGHT - BOTTOM
CURVE_LEFT = 50
LINE, LABEL_WIDTH, VALUE_WIDTH, BARS_WIDTH = 24, 210, 200, 760


def _svg(body: Sequence[str], width: float, height: float, label: str) -> Markup:
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
    return Markup(opening + "".join(body) + "</svg>")


def histogram(data: dict[str, Any]) -> Markup:
    """Bars of `bins` over low … high, a line at each threshold. Heights are square roots of counts, so that thin tails show.

    `thresholds` are dicts with rule, source (None: all), name and value; those beyond the range are not drawn. `paper`, where
    there is any: dicts with source, share and value, drawn as dotted lines.
    """
    counts, low, high = data["bins"], data["low"], data["high"]
    peak, step = max(1, *counts) ** 0.5, PLOT_WIDTH / len(counts)
    body = []
    for i, count in enumerate(counts):
        height = count**0.5 / peak * PLOT_HEIGHT
        tip = f"{low + i * (high - low) / len(counts):.3g}: {count:,}"
        place = f'x="{LEFT + i * step:.1f}" y="{BASE - height:.1f}" width="{step * 0.9:.1f}" height="{height:.1f}"'
        body.append(f'<rect class="bar" {place}><title>{tip}</title></rect>')
    body += _axis(low, high, (0.0, 0.25, 0.5, 0.75, 1.0))
    for threshold in data["thresholds"]:
        if low <= threshold["value"] <= high:
            body += _threshold(threshold, LEFT + (threshold["value"] - low) / (high - low) * PLOT_WIDTH)
    for paper in data.get("paper", []):
        if low <= paper["value"] <= high:
            body += _paper(paper, LEFT + (paper["value"] - low) / (high - low) * PLOT_WIDTH)
    return _svg(body, WIDTH, HEIGHT, data["title"])


def _paper(paper: dict[str, Any], x: float) -> list[str]:
    """A dotted line where the paper's share of a source would be cut."""
    tip = escape(f"{paper['source']}: {paper['value']:.3g} leaves {paper['share']:.1%} of what stage 1 keeps, as in the paper")
    return [f'<line class="paper" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{BASE}"><title>{tip}</title></line>']


def _threshold(threshold: dict[str, Any], x: float) -> list[str]:
    """A dashed line; that of one source is thin, and its value is in the tip alone."""
    tip = escape(f"{threshold['rule']}.{threshold['name']} = {threshold['value']:g}, {threshold['source'] or 'all sources'}")
    kind = "cut" if threshold["source"] is None else "cut source"
    line = f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{BASE}"><title>{tip}</title></line>'
    if threshold["source"] is not None:
        return [line]
    anchor, shift = ("end", -4) if x > WIDTH * 0.75 else ("start", 4)
    return [line, f'<text class="cut" x="{x + shift:.1f}" y="{TOP + 2}" text-anchor="{anchor}">{threshold["value"]:g}</text>']


def overlay(data: dict[str, Any], label: str) -> Markup:
    """Outlines of the histograms `kinds` (kind, pairs, bins) over low … high: square roots of the shares of each kind's pairs."""
    kinds = data["kinds"]
    heights = [[(count / max(1, kind["pairs"])) ** 0.5 for count in kind["bins"]] for kind in kinds]
    peak = max((height for row in heights for height in row), default=0) or 1
    body = []
    for number, (kind, row) in enumerate(zip(kinds, heights, strict=True)):
        step = PLOT_WIDTH / len(row)
        corners = [
            (LEFT + (i + side) * step, BASE - height / peak * PLOT_HEIGHT) for i, height in enumerate(row) for side in (0, 1)
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(LEFT, BASE), *corners, (LEFT + PLOT_WIDTH, BASE)])
        name = escape(f"{kind['kind']}: {kind['pairs']:,} pairs")
        body.append(f'<polygon class="kind{number}" points="{points}"><title>{name}</title></polygon>')
        body.append(f'<text class="kind{number}" x="{LEFT + 0.25 * PLOT_WIDTH:.1f}" y="{TOP + 10 + 16 * number}">{name}</text>')
    return _svg([*body, *_axis(data["low"], data["high"], (0.0, 0.5, 1.0))], WIDTH, HEIGHT, label)


def _axis(low: float, high: float, shares: Sequence[float]) -> list[str]:
    """The base line, and the values at these shares of it."""
    body = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{BASE}" y2="{BASE}"/>']
    for share in shares:
        anchor = {0.0: "start", 1.0: "end"}.get(share, "middle")
        place = f'x="{LEFT + share * PLOT_WIDTH:.1f}" y="{HEIGHT - 7}" text-anchor="{anchor}"'
        body.append(f"<text {place}>{low + share * (high - low):g}</text>")
    return body


def bars(rows: Sequence[tuple[str, float, str]]) -> Markup:
    """Horizontal bars: (label, value, text at the bar)."""
    peak = max([value for _, value, _ in rows], default=0) or 1
    body = []
    for i, (label, value, text) in enumerate(rows):
        y, length = i * LINE, value / peak * (BARS_WIDTH - LABEL_WIDTH - VALUE_WIDTH)
        body.append(f'<text x="{LABEL_WIDTH - 8}" y="{y + 16}" text-anchor="end">{escape(label)}</text>')
        body.append(f'<rect class="bar" x="{LABEL_WIDTH}" y="{y + 4}" width="{max(1.0, length):.1f}" height="{LINE - 8}"/>')
        body.append(f'<text x="{LABEL_WIDTH + length + 8:.1f}" y="{y + 16}">{escape(text)}</text>')
    return _svg(body, BARS_WIDTH, max(1, len(rows)) * LINE, "bars")


def curve(points: Sequence[Sequence[float]], label: str) -> Markup:
    """A line through (x, y) points, from the least to the greatest y; nothing for fewer than two."""
    if len(points) < 2:
        return Markup("")
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    width = WIDTH - CURVE_LEFT - RIGHT
    low, high = min(ys), max(max(ys), min(ys) + 1e-9)
    places = [
        (CURVE_LEFT + (x - xs[0]) / max(1e-9, xs[-1] - xs[0]) * width, BASE - (y - low) / (high - low) * PLOT_HEIGHT)
        for x, y in zip(xs, ys, strict=True)
    ]
    body = [
        f'<polyline class="curve" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>',
        f'<line class="axis" x1="{CURVE_LEFT}" x2="{WIDTH - RIGHT}" y1="{BASE}" y2="{BASE}"/>',
        f'<text x="{CURVE_LEFT - 6}" y="{TOP + 8}" text-anchor="end">{high:.2f}</text>',
        f'<text x="{CURVE_LEFT - 6}" y="{BASE}" text-anchor="end">{low:.2f}</text>',
        f'<text x="{CURVE_LEFT}" y="{HEIGHT - 7}">{xs[0]:g}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 7}" text-anchor="end">{xs[-1]:g}</text>',
        f'<text x="{CURVE_LEFT + width / 2}" y="{HEIGHT - 7}" text-anchor="middle">{escape(label)}</text>',
    ]
    return _svg(body, WIDTH, HEIGHT, label)
