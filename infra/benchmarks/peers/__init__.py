"""Peers, each installed in an environment of its own, so that nothing of theirs is needed to use or test the project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipelines.demo_corpus.corpus import cache_folder

PEERS = {
    "data-juicer": ["py-data-juicer==1.6.1", "aiohttp"],
    "img2dataset": ["img2dataset==1.47.0"],
}


def peer(name: str) -> Path:
    """The Python of the environment that holds the peer; made where it is not there yet."""
    folder = cache_folder() / "peers" / name
    python, done = folder / "bin" / "python", folder / ".complete"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEERS[name]], check=True, stdout=sys.stderr)
        done.touch()
    return python
