"""Tests mirror the tree; `support` holds real servers and what tests share, `data` labelled captions by language."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
