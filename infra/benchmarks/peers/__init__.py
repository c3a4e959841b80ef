"""Peers: the programs that we measure ourselves against, each installed in an environment of its own.

data_juicer.py  runs Data-Juicer's operators on a Parquet file
"""

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
    """The Python of the environment that holds the peer; installs it the first time."""
    folder = cache_folder() / "peers" / name
    python, complete = folder / "bin" / "python", folder / ".complete"
    if not complete.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEERS[name]], check=True, stdout=sys.stderr)
        complete.touch()
    return python
