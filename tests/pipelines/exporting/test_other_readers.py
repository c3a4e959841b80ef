"""The readers that people use see the same samples in our shards as our own."""

import hashlib
import io
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infra.benchmarks.peers import peer
from pipelines import export
from sharding import ShardReader, read_dataset
from tests import ROOT
from tests.support.pictured import pictured


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["webdataset", "datasets", "ray", "energon"])
def test_others_read_our_shards(tmp_path: Path, ray_session: None, reader: str) -> None:
    root, out = pictured(tmp_path / "root").root, tmp_path / "out"
    sizes = ["--set", "export.samples_per_shard=2", "--set", "export.holdout=0"]
    export.main(["--root", root, "--stage", "1", "--out", str(out), *sizes])
    ours = ShardReader(read_dataset(str(out)), "train")
    samples = [ours.read(shard, row) for shard, size in enumerate(ours.sizes()) for row in range(size)]
    expected = {f"{s.sample_id:016x}": [s.text, hashlib.sha256(s.image).hexdigest(), json.loads(s.json)] for s in samples}
    if reader == "energon":
        pixels = {f"{s.sample_id:016x}": np.asarray(Image.open(io.BytesIO(s.image))).tobytes() for s in samples}
        expected = {key: [text, hashlib.sha256(pixels[key]).hexdigest(), None] for key, (text, _, _) in expected.items()}
    command = [str(peer("readers")), str(ROOT / "tests/support/other_readers.py"), reader, str(out)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "RAY_ADDRESS": "local"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == expected and len(expected) == 5
