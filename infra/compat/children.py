"""The environment of the Python processes that we start: they import our packages from where this process did."""

from __future__ import annotations

import os
from pathlib import Path

HOME = Path(__file__).parents[2]


def child_environment() -> dict[str, str]:
    """The environment of this process; `python -m` then leaves the working folder off its path, unless our packages lie there."""
    return dict(os.environ) if Path.cwd() == HOME else os.environ | {"PYTHONSAFEPATH": "1"}
