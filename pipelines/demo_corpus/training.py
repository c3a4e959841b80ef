"""The alignment stages on the demo's shards, from the repository's small models and from each other; Mono-InternVL's too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path

from infra.compat.children import child_environment
from pipelines.demo_corpus.mono import STAGES, meta_of, write_config
from pipelines.manifest.receipts import digest_of
from trainer_bridge.launch import trainer_command, trainer_environment

ORIGIN = "made_from.json"  # beside a result: the digests of what it was made from


def train(root: Path, seconds: int, clip: Path, internvl: Path) -> None:
    """Trains the contrastive stage from the model in folder `clip`, the generative from that, the chat stage from `internvl`.

    Each for so many seconds; RuntimeError names the log of one that fails.
    """
    _train_stage(root, "contrastive", "contrastive-continue.toml", clip, seconds)
    _train_stage(root, "generative", "generative-tiny.toml", root / "training" / "contrastive" / "model", seconds)
    _train_stage(root, "chat", "chat-tiny.toml", internvl, seconds)


def train_mono(root: Path, seconds: int, internvl: Path) -> None:
    """Trains Mono-InternVL's stages one after the other, from the language model of `internvl`, on their exports in `root/mono`.

    Each for so many seconds; RuntimeError names the log of one that fails.
    """
    language = root / "models" / "language"
    _write_language(internvl, language)
    start: Path | None = None
    for stage in STAGES:
        config, meta, out = write_config(root, stage, language), meta_of(root, stage), root / "training" / f"mono-{stage}"
        data = (root / "mono" / stage / "dataset.json").read_bytes()
        begun = (start or language) / "model.safetensors"
        origin = {"shards": digest_of(data), "config": digest_of(config.read_bytes()), "start": digest_of(begun.read_bytes())}
        if not _is_made_from(out, origin):
            shutil.rmtree(out, ignore_errors=True)
            sys.stderr.write(f"train: mono {stage} stage, 2 processes, {seconds} s\n")
            command = [*trainer_command("mono", config, None, out, start), "--data", str(meta), "--seconds", str(seconds)]
            _run_trainer(command, root / f"training-mono-{stage}.log")
            _write_origin(out, origin)
        start = out / "model"


def _write_language(internvl: Path, folder: Path) -> None:
    """The language model of the InternVL in a folder of its own, unless `folder` holds it."""
    origin = {"weights": digest_of((internvl / "model.safetensors").read_bytes())}
    if _is_made_from(folder, origin):
        return
    command = [sys.executable, "-m", "pipelines.demo_corpus.mono", "--from", str(internvl), "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=child_environment())
    if done.returncode:
        raise RuntimeError(f"the language model could not be written: {done.stderr.strip().splitlines()[-1]}")
    _write_origin(folder, origin)


def export_clip(clip: Path, folder: Path) -> None:
    """The stage-1 model in folder `clip` as ONNX, for publishers and `score`, unless `folder` holds it."""
    origin = {"weights": digest_of((clip / "model.safetensors").read_bytes())}
    if _is_made_from(folder, origin):
        return
    sys.stderr.write("exporting the small CLIP to ONNX\n\n")
    command = [sys.executable, "-m", "trainer_bridge.export_onnx", "--checkpoint", str(clip), "--out", str(folder)]
    export = subprocess.run(command, capture_output=True, text=True, check=False, env=child_environment())
    if export.returncode:
        raise RuntimeError(f"the CLIP could not be exported: {export.stderr.strip().splitlines()[-1]}")
    _write_origin(folder, origin)


def _train_stage(root: Path, stage: str, config_name: str, start: Path, seconds: int) -> None:
    """Two gloo processes under torchrun; skipped when the stage was trained on these shards before."""
    out, config = root / "training" / stage, files("trainer_bridge.configs") / config_name
    origin = {
        "shards": digest_of((root / "shards" / "dataset.json").read_bytes()),
        "config": digest_of(config.read_bytes()),
        "start": digest_of((start / "model.safetensors").read_bytes()),
    }
    if _is_made_from(out, origin):
        sys.stderr.write(f"train: the {stage} stage was trained on these shards before\n\n")
        return
    shutil.rmtree(out, ignore_errors=True)  # the training state belongs to other shards
    sys.stderr.write(f"train: {stage} stage, 2 processes, {seconds} s\n")
    with as_file(config) as path:
        command = trainer_command(stage, path, root / "shards", out, start)
        _run_trainer([*command, "--seconds", str(seconds)], root / f"training-{stage}.log")
    _write_origin(out, origin)


def _run_trainer(command: list[str], log: Path) -> None:
    """Runs it, its progress on stderr and all its output in `log`."""
    with log.open("w") as output:
        process = subprocess.Popen(command, env=trainer_environment(), stderr=subprocess.PIPE, stdout=output, text=True)
        assert process.stderr is not None
        for line in process.stderr:
            output.write(line)
            if line.startswith("train "):
                sys.stderr.write(line)
    if process.wait():
        raise RuntimeError(f"training failed; {log} has the cause")
    sys.stderr.write("\n")


def _is_made_from(folder: Path, origin: dict[str, str]) -> bool:
    path = folder / ORIGIN
    return path.exists() and json.loads(path.read_text()) == origin


def _write_origin(folder: Path, origin: dict[str, str]) -> None:
    (folder / ORIGIN).write_text(json.dumps(origin) + "\n")
