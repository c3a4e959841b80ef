"""Strangers' text on a terminal."""

from __future__ import annotations

import re

# Control characters but the newline, and those that turn the direction of text around.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` with what could steer a terminal replaced."""
    return CONTROL.sub("\ufffd", text)
