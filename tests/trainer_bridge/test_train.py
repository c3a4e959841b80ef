"""Training goes on after a kill as if it had never stopped, and a wrong request is one line."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from sharding.index import Shard, index_bytes, summary_bytes
from sharding.writer import ShardWriter
from trainer_bridge.checkpoints.model_folders import save_contrastive
from trainer_bridge.config import ContrastiveExperiment, load_config
from trainer_bridge.data.tokenizer import train_tokenizer
from trainer_bridge.models.contrastive import ContrastiveModel

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
GENERATIVE = """
[model]
queries = 4
cross_heads = 2
pool_heads = 2
[data]
batch = 8
[optimizer]
lr = 1e-3
warmup = 2
steps = 40
[run]
micro_batch = 2
zero = 1
precision = "fp32"
save_every = 10
"""
CHAT = """
[model]
train = "projector+language"
length = 64
[model.language]
vocabulary = 420
width = 16
depth = 1
heads = 2
mlp = 32
[data]
batch = 8
[optimizer]
lr = 1e-3
warmup = 2
steps = 40
[run]
micro_batch = 4
zero = 2
precision = "fp32"
save_every = 10
"""
CONFIGS = {"contrastive": CONFIG, "generative": GENERATIVE, "chat": CHAT}
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
            meta = json.dumps({"language": ("en", "de", "zh_CN", "sv")[number % 4]}).encode()
            members = {"jpg": image.getvalue(), "txt": f"a {colour} field".encode(), "json": meta}
            places = writer.add(f"{number:016x}", members)
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
    for stage, config in CONFIGS.items():
        (folder / f"{stage}.toml").write_text(config)
    torch.manual_seed(0)
    model = ContrastiveModel(ContrastiveExperiment.model_validate(tomllib.loads(CONFIG)).model)
    save_contrastive(folder / "stage1", model.config, model.state_dict(), train_tokenizer(["a red green blue field"], 300))
    return folder


def command(shards: Path, out: Path, stage: str = "contrastive", processes: int = 2) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    arguments = ["--stage", stage, "--config", str(shards / f"{stage}.toml"), "--shards", str(shards), "--out", str(out)]
    arguments += [] if stage == "contrastive" else ["--from", str(shards / "stage1")]
    return [*launcher, "-m", "trainer_bridge.train", *arguments]


def losses(out: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows}


@pytest.mark.parametrize("stage, steps", [("contrastive", 60), ("generative", 40), ("chat", 40)])
def test_a_killed_training_goes_on_as_if_it_had_never_stopped(shards: Path, tmp_path: Path, stage: str, steps: int) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    done = subprocess.run(command(shards, straight, stage), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    process = subprocess.Popen(
        command(shards, killed, stage), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 200
    while not (killed / "state" / "step00000020").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = losses(killed)
    done = subprocess.run(command(shards, killed, stage), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    after = losses(killed)
    assert list(after) == list(range(steps)) and len(before) < steps
    assert after == pytest.approx(losses(straight), abs=2e-4)
    summary = json.loads((killed / "summary.json").read_text())
    assert summary["steps"] == steps and summary["pairs"] == 8
    if stage == "contrastive":
        assert summary["recall@10"] == 1.0 and summary["trained_parameters"] == summary["parameters"]
    else:
        frozen_stays(stage, shards / "stage1", killed / "model", summary)


def frozen_stays(stage: str, start: Path, made: Path, summary: dict) -> None:
    """What the stage does not train is bit for bit what it began with."""
    before, after = load_file(start / "model.safetensors"), load_file(made / "model.safetensors")
    assert 0 < summary["trained_parameters"] < summary["parameters"]
    if stage == "generative":
        assert all(torch.equal(tensor, after[f"stage1.{name}"]) for name, tensor in before.items())
        assert not torch.equal(after["logit_scale"], before["logit_scale"])
    else:
        vision = {name: tensor for name, tensor in after.items() if "vision_tower" in name}
        (kernel,) = [tensor for name, tensor in vision.items() if name.endswith("projection.weight") and tensor.ndim == 4]
        assert torch.equal(kernel, before["image_tower.patches.weight"])


@pytest.mark.parametrize(
    "change, said",
    [
        (("--config", "nowhere.toml"), "cannot be read"),
        (("--shards", "nowhere"), "No such file"),
        (("--stage", "contrastiv"), "invalid choice"),
        (("--stage", "generative"), "starts from a stage-1 model; name its folder with --from"),
        (("--stage", "chat"), "starts from a stage-1 model or an InternVL folder; name it with --from"),
    ],
)
def test_a_wrong_request_is_exit_2(shards: Path, tmp_path: Path, change: tuple[str, str], said: str) -> None:
    arguments = command(shards, tmp_path / "out")[command(shards, tmp_path).index("--stage") :]
    arguments[arguments.index(change[0]) + 1] = change[1]
    if change[1] in CONFIGS:
        arguments[arguments.index("--config") + 1] = str(shards / f"{change[1]}.toml")
    done = subprocess.run([sys.executable, "-m", "trainer_bridge.train", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("*"))


def test_a_start_that_does_not_fit_is_one_line(shards: Path, tmp_path: Path) -> None:
    weights = load_file(shards / "stage1" / "model.safetensors")
    cut = tmp_path / "cut"
    shutil.copytree(shards / "stage1", cut)
    weights["text_projection.weight"] = weights["text_projection.weight"][:3].clone()
    save_file(weights, cut / "model.safetensors")
    other = tmp_path / "other.toml"
    other.write_text(CONFIG.replace("embedding = 16", "embedding = 8"))
    for stage, config, start, said in (
        ("generative", shards / "generative.toml", cut, "does not fit config.json"),
        ("chat", shards / "chat.toml", tmp_path, "holds no config.json"),
        ("contrastive", other, shards / "stage1", "has another model.embedding (16, not 8)"),
    ):
        asked = ["--stage", stage, "--config", str(config), "--shards", str(shards), "--out", str(tmp_path / "out")]
        done = subprocess.run(
            [sys.executable, "-m", "trainer_bridge.train", *asked, "--from", str(start)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
        assert not (tmp_path / "out" / "model").exists()


def test_a_wrong_configuration_names_the_setting(shards: Path, tmp_path: Path) -> None:
    for wrong, said in (("widht = 16", "model.image.widht: extra inputs"), ("width = -1", "model.image.width: input should be")):
        path = tmp_path / "config.toml"
        path.write_text(CONFIG.replace("width = 16", wrong, 1))
        with pytest.raises(ValueError, match=said):
            load_config(str(path), ContrastiveExperiment)
