"""What a person at a terminal reads: counts as a table, a closing sentence, and untrusted text made harmless."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipelines.runtime.flow import JOBS

WITHOUT_PICTURES = "without_pictures"  # in a job's counts: the parts that are done but for pictures that cannot be read
# Control characters but the newline, and those that turn the direction of text around.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` with control characters replaced by U+FFFD."""
    return CONTROL.sub("\ufffd", text)


def counts_table(counts: Mapping[str, Any]) -> str:
    """A job's counts as aligned lines: name and value, then reasons by frequency, then the jobs of a chain. Other nested values
    have tables of their own.
    """
    reasons = sorted(counts.get("reasons", {}).items(), key=lambda reason: -reason[1])
    rows = [*_scalars(counts).items(), *((f"  {name}", count) for name, count in reasons)]
    rows += [(job["job"], brief(job)) for job in counts.get("jobs", [])]
    names = max((len(name) for name, _ in rows), default=0)
    numbers = max((len(_text(value)) for _, value in rows if isinstance(value, int | float)), default=0)
    return "".join(
        f"{name:<{names}}  {_text(value):>{numbers}}\n" if isinstance(value, int | float) else f"{name:<{names}}  {value}\n"
        for name, value in rows
    )


def brief(counts: Mapping[str, Any]) -> str:
    """A job's counts in one line."""
    return ", ".join(f"{name} {_text(value)}" for name, value in _scalars(counts).items() if name != "job")


def closing_sentence(job: str, counts: Mapping[str, Any]) -> str:
    """What failed and how to go on, else what to run next."""
    failed = len(counts.get("failed") or ())
    lost = len(counts.get(WITHOUT_PICTURES) or ())
    if lost and not failed:
        lacking = "1 part lacks" if lost == 1 else f"{lost:,} parts lack"
        return f"{job}: done, but {lacking} pictures, named above with the cause; run it again once they can be read."
    if not failed:
        return f"{job}: done. Next: {JOBS[job].next_step}."
    where = f" stopped at {counts['stopped_at']}" if counts.get("stopped_at") else ""
    parts = "1 part" if failed == 1 else f"{failed:,} parts"
    return f"{job}{where}: {parts} failed, named above with the cause; {JOBS[job].mend}."


def _scalars(counts: Mapping[str, Any]) -> dict[str, int | float | str]:
    return {name: value for name, value in counts.items() if isinstance(value, int | float | str)}


def _text(value: float | str) -> str:
    return f"{value:,}" if isinstance(value, int | float) else printable(value)
