"""Peers: the programs that we measure ourselves against, each installed in an environment of its own.

data_juicer.py  runs Data-Juicer's operators on a Parquet file
faiss_binary.py faiss's binary indexes on hashes in files
loaders.py      WebDataset, Streaming, LitData and Energon as they are documented
open_clip_training.py  open_clip's training command
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from infra.compat.paths import cache_folder

PEERS = {
    "data-juicer": ["py-data-juicer==1.6.1", "aiohttp"],
    "faiss": ["faiss-cpu==1.15.1"],
    "img2dataset": ["img2dataset==1.47.0"],
    "loaders": [
        "litdata==0.2.76",
        "megatron-energon==7.4.1",
        "mosaicml-streaming==0.13.0",
        "webdataset==1.0.2",
    ],
    "open_clip": ["open_clip_torch==3.3.0", "webdataset==0.2.86"],  # the newest webdataset that its reader knows
    "readers": ["datasets==5.2.0", "megatron-energon==7.4.1", "webdataset==1.0.2"],  # of WebDataset shards
    "torchdata": ["torchdata==0.11.0"],
}
# Environments that see our own packages too, of which they need the large ones (torch, ray).
ON_TOP_OF_OURS = {"loaders", "open_clip", "readers", "torchdata"}


def peer(name: str) -> Path:
    """The Python of the environment that holds the peer; installs it the first time."""
    folder = cache_folder() / "peers" / name
    python, complete = folder / "bin" / "python", folder / ".complete"
    if not complete.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    if name in ON_TOP_OF_OURS:
        (packages,) = folder.glob("lib/python3*/site-packages")
        ours = [path for path in sys.path if path.endswith("site-packages")]
        (packages / "ours.pth").write_text("\n".join(ours))  # at each call: ours may have moved
    if not complete.exists():
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEERS[name]], check=True, stdout=sys.stderr)
        complete.touch()
    return python
