"""Training goes on after a kill as if it had never stopped, and a wrong request is one line."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from sharding.index import Shard, index_bytes, summary_bytes
from sharding.writer import ShardWriter

CONFIG = """
[model]
embedding = 16
pool_heads = 2
[model.image]
image_size = 16
patch = 8
width = 16
depth = 1
heads = 2
mlp = 32
[model.text]
vocabulary = 300
length = 8
width = 16
depth = 1
heads = 2
mlp = 32
[data]
batch = 8
[optimizer]
image_lr = 1e-3
text_lr = 1e-3
warmup = 2
steps = 60
[run]
micro_batch = 2
zero = 1
precision = "fp32"
save_every = 10
"""
COLOURS = ["red", "green", "blue", "white", "black", "orange", "purple", "gray"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training shards and a held-out one of plain colours."""
    folder, splits, number = tmp_path_factory.mktemp("shards"), {}, 0
    for name, size in (("train-000000", 20), ("train-000001", 12), ("heldout-000000", 8)):
        stream, rows = io.BytesIO(), []
        writer = ShardWriter(stream)
        for _ in range(size):
            colour, image = COLOURS[number % len(COLOURS)], io.BytesIO()
            Image.new("RGB", (20 + number, 24), colour).save(image, "JPEG")
            places = writer.add(f"{number:016x}", {"jpg": image.getvalue(), "txt": f"a {colour} field".encode(), "json": b"{}"})
            row = {"sample_id": number}
            for member, ending in (("image", "jpg"), ("text", "txt"), ("json", "json")):
                row |= {f"{member}_offset": places[ending][0], f"{member}_length": places[ending][1]}
            rows.append(row)
            number += 1
        writer.close()
        (folder / f"{name}.tar").write_bytes(stream.getvalue())
        (folder / f"{name}.index.parquet").write_bytes(index_bytes(rows))
        shard = Shard(name, size, len(stream.getvalue()), hashlib.sha256(stream.getvalue()).hexdigest())
        splits.setdefault(name.rpartition("-")[0], []).append(shard)
    (folder / "dataset.json").write_bytes(summary_bytes(splits, {}))
    (folder / "config.toml").write_text(CONFIG)
    return folder


def command(shards: Path, out: Path, processes: int = 2) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    arguments = ["--stage", "contrastive", "--config", str(shards / "config.toml"), "--shards", str(shards), "--out", str(out)]
    return [*launcher, "-m", "trainer_bridge.train", *arguments]


def losses(out: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows}


def test_a_killed_training_goes_on_as_if_it_had_never_stopped(shards: Path, tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    done = subprocess.run(command(shards, straight), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    process = subprocess.Popen(
        command(shards, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 200
    while not (killed / "state" / "step00000020").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = losses(killed)
    done = subprocess.run(command(shards, killed), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    after = losses(killed)
    assert list(after) == list(range(60)) and len(before) < 60
    assert after == pytest.approx(losses(straight), abs=2e-4)
    summary = json.loads((killed / "summary.json").read_text())
    assert summary["steps"] == 60 and summary["pairs"] == 8 and summary["recall@10"] == 1.0


@pytest.mark.parametrize(
    "change, said",
    [
        (("--config", "nowhere.toml"), "cannot be read"),
        (("--shards", "nowhere"), "No such file"),
        (("--stage", "contrastiv"), "invalid choice"),
    ],
)
def test_a_wrong_request_is_exit_2(shards: Path, tmp_path: Path, change: tuple[str, str], said: str) -> None:
    arguments = command(shards, tmp_path / "out")[command(shards, tmp_path).index("--stage") :]
    arguments[arguments.index(change[0]) + 1] = change[1]
    done = subprocess.run([sys.executable, "-m", "trainer_bridge.train", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_wrong_configuration_names_the_setting(shards: Path, tmp_path: Path) -> None:
    from trainer_bridge.config import load_config

    for wrong, said in (("widht = 16", "model.image.widht: extra inputs"), ("width = -1", "model.image.width: input should be")):
        path = tmp_path / "config.toml"
        path.write_text(CONFIG.replace("width = 16", wrong, 1))
        with pytest.raises(ValueError, match=said):
            load_config(str(path))
