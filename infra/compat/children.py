"""The Python processes that we start: they import our packages from where this process did, and end when it does."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

HOME = Path(__file__).parents[2]


def child_environment() -> dict[str, str]:
    """The environment of this process; `python -m` then leaves the working folder off its path, unless our packages lie there."""
    return dict(os.environ) if Path.cwd() == HOME else os.environ | {"PYTHONSAFEPATH": "1"}


def end_with_parent() -> None:
    """To be called in a process of multiprocessing: it ends when the process does that started it, killed or not."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
