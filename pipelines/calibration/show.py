"""Fits and changes as text for a person; captions are written so that they cannot steer a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipelines.runtime.terminal import printable

LONGEST = 100  # characters of a caption


def fitted(result: Mapping[str, Any]) -> Iterator[str]:
    """What a fit gives: a table of the rules that it moves or that drop anything, then the captions around each new threshold."""
    if "problem" in result:
        yield f"  {result['problem']}"
        return
    yield f"  {'rule':<28} {'now':>10} {'alone keeps':>12} {'then':>10} {'alone keeps':>12}"
    for row in sorted(result["rules"], key=lambda row: row["alone_then"]):
        if row["alone_now"] < 1 or row["alone_then"] < 1 or row["rule"] in result["thresholds"]:
            now, then = _value(row["now"], row["alone_now"]), _value(row["then"], row["alone_then"])
            yield f"  {row['rule']:<28} {now} {then}"
    yield f"  all together keep {result['kept_then']:.2%} then"
    for name, examples in result["examples"].items():
        yield from _around(name, examples)


def _value(threshold: float | None, alone: float) -> str:
    return f"{'-' if threshold is None else format(threshold, '.4g'):>10} {alone:>12.2%}"


def _around(name: str, examples: Mapping[str, Iterable[Mapping[str, Any]]]) -> Iterator[str]:
    for side, captions in examples.items():
        yield f"  {name}: captions nearest to its threshold that are {side} then"
        yield from (f"    {one['value']:<10.4g} {_one_line(one['caption'])}" for one in captions)


def _one_line(caption: str) -> str:
    text = printable(" ".join(caption.split()))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def changed(change: Mapping[str, Any]) -> Iterator[str]:
    """What another recipe changes in one source."""
    yield f"  {change['leave']:,} leave, {change['come_back']:,} come back"
    for name, counts in change["dropped_by"].items():
        yield f"  {name}: drops {counts['now']:,} now, {counts['then']:,} then"


def drawn(one_in: int) -> str:
    """A remark on figures that come from a sample."""
    return f" (from one in {one_in})" if one_in > 1 else ""
