"""A killed training resumes as if it had never stopped, a new stage is three files, and a wrong request is one line."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from infra.compat.errors import RequestError
from sharding import Sample, sample_json
from tests import ROOT
from tests.support.checklists import checklists
from tests.support.shards import write_dataset
from trainer_bridge.checkpoints.model_folders import save_contrastive
from trainer_bridge.data.tokenizer import train_tokenizer
from trainer_bridge.evaluate import evaluate_model
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.stages.chat import ChatExperiment
from trainer_bridge.stages.contrastive import ContrastiveExperiment
from trainer_bridge.stages.settings import Experiment, load_experiment

LIMIT = 1200  # seconds, for a process that takes a minute on a quiet machine
pytestmark = pytest.mark.timeout(4 * LIMIT)

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
precision = "bf16"
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
BROKEN, EPOCH = 5, 4  # the number of the broken picture; steps that see every sample once
COLOURS = ["red", "green", "blue", "white", "black", "orange", "purple", "gray"]


def colour_sample(number: int) -> Sample:
    colour, image = COLOURS[number % len(COLOURS)], io.BytesIO()
    Image.new("RGB", (20 + number, 24), colour).save(image, "JPEG")
    metadata = sample_json(number, {"language": ("en", "de", "zh_CN", "sv")[number % 4]})
    return Sample(number, image.getvalue(), f"a {colour} field", metadata)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training shards and a held-out one of plain colours, the configurations, and a stage-1 model. One picture is broken."""
    folder = tmp_path_factory.mktemp("shards")
    samples = [colour_sample(number) for number in range(40)]
    samples[BROKEN] = replace(samples[BROKEN], image=b"\xff\xd8\xff broken")
    write_dataset(folder, {"train": [samples[:20], samples[20:32]], "heldout": [samples[32:]]})
    for stage, config in CONFIGS.items():
        (folder / f"{stage}.toml").write_text(config)
    torch.manual_seed(0)
    model = ContrastiveModel(ContrastiveExperiment.model_validate(tomllib.loads(CONFIG)).model)
    save_contrastive(folder / "stage1", model.config, model.state_dict(), train_tokenizer(["a red green blue field"], 300))
    return folder


def arguments(shards: Path, out: Path, stage: str = "contrastive") -> list[str]:
    start = [] if stage == "contrastive" else ["--from", str(shards / "stage1")]
    return ["--stage", stage, "--config", str(shards / f"{stage}.toml"), "--shards", str(shards), "--out", str(out), *start]


def two_processes(shards: Path, out: Path, stage: str) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return [*launcher, "-m", "trainer_bridge.train", *arguments(shards, out, stage)]


def run(command: list[str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, cwd=cwd)


def losses(out: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage, steps, sent",
    [("contrastive", 60, signal.SIGKILL), ("generative", 40, signal.SIGTERM), ("chat", 40, signal.SIGKILL)],
)
def test_a_killed_training_resumes_as_if_it_had_never_stopped(
    shards: Path, tmp_path: Path, stage: str, steps: int, sent: signal.Signals
) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    finished = run(two_processes(shards, straight, stage))
    assert finished.returncode == 0, finished.stderr[-2000:]
    process = subprocess.Popen(
        two_processes(shards, killed, stage), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + LIMIT
    while not list((killed / "state").glob("*/state.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None
    (os.killpg if sent == signal.SIGKILL else os.kill)(process.pid, sent)  # SIGTERM to the launcher, which passes it on
    assert process.wait() != 0
    before = losses(killed)
    if sent == signal.SIGTERM:
        assert (killed / "state" / f"step{len(before):08d}" / "state.json").exists() and not (killed / "model").exists()
    finished = run(two_processes(shards, killed, stage))
    assert finished.returncode == 0, finished.stderr[-2000:]
    after = losses(killed)
    assert list(after) == list(range(steps)) and 10 <= len(before) < steps
    assert after == losses(straight)
    summary = json.loads((killed / "summary.json").read_text())
    assert summary["steps"] == steps and summary["pairs"] == 8 and summary["faults"] == steps // EPOCH
    faults = [json.loads(line) for path in straight.glob("faults-*.jsonl") for line in path.read_text().splitlines()]
    assert len(faults) == steps // EPOCH and all(
        f"train-000000.tar, sample {BROKEN}: its image" in fault["fault"] for fault in faults
    )
    again = evaluate_model(killed / "model", str(shards), "heldout")
    tolerance = {"rel": 0.1, "abs": 0.3} if "bf16" in CONFIGS[stage] else {"rel": 1e-4}  # training evaluates in its precision
    assert again == pytest.approx({name: summary[name] for name in again}, **tolerance)
    if stage == "contrastive":
        assert summary["recall@10"] == 1.0 and summary["trained_parameters"] == summary["parameters"]
    else:
        assert_frozen(stage, shards / "stage1", killed / "model", summary)


def assert_frozen(stage: str, start: Path, trained: Path, summary: dict) -> None:
    """Parameters that the stage does not train are bit for bit those of the stage-1 model."""
    before, after = load_file(start / "model.safetensors"), load_file(trained / "model.safetensors")
    assert 0 < summary["trained_parameters"] < summary["parameters"]
    if stage == "generative":
        assert all(torch.equal(tensor, after[f"stage1.{name}"]) for name, tensor in before.items())
        assert not torch.equal(after["logit_scale"], before["logit_scale"])
    else:
        vision = {name: tensor for name, tensor in after.items() if "vision_tower" in name}
        (kernel,) = [tensor for name, tensor in vision.items() if name.endswith("projection.weight") and tensor.ndim == 4]
        assert torch.equal(kernel, before["image_tower.patches.weight"])


def test_a_new_stage_is_three_files(shards: Path, tmp_path: Path) -> None:
    house, out = tmp_path / "house", tmp_path / "out"
    house.mkdir()
    for room in ("trainer_bridge", "sharding"):
        shutil.copytree(ROOT / room, house / room)
    shutil.copytree(ROOT / "infra" / "compat", house / "infra" / "compat")
    if (ROOT / "infra" / "__init__.py").exists():
        shutil.copy(ROOT / "infra" / "__init__.py", house / "infra")
    (stage,) = [checklist for checklist in checklists() if checklist.name == "A training stage"]
    assert len(stage.files) == 3
    for path, _, text in stage.files:
        (house / path).write_text(text)
    trainer = [sys.executable, "-m", "trainer_bridge.train"]
    config = house / "trainer_bridge" / "configs" / "colour.toml"
    request = ["--stage", "colour", "--config", str(config), "--shards", str(shards), "--out", str(out)]
    finished = run([*trainer, *request], cwd=house)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert list(losses(out)) == [0, 1]
    assert json.loads((out / "summary.json").read_text())["outputs"] == 3
    help_text = run([*trainer, "--help"], cwd=house).stdout
    assert "colour       Learns the mean colour of pictures." in help_text and "contrastive  Stage 1: " in help_text
    request = ["--checkpoint", str(out / "model"), "--shards", str(shards)]
    finished = run([sys.executable, "-m", "trainer_bridge.evaluate", *request], cwd=house)
    assert json.loads(finished.stdout) == {"outputs": 3}


@pytest.mark.parametrize(
    "change, message",
    [
        (("--config", "nowhere.toml"), "cannot be read"),
        (("--shards", "nowhere"), "nowhere holds no dataset.json"),
        (("--stage", "contrastiv"), "invalid choice"),
        (("--stage", "generative"), "starts from a stage-1 model; name its folder with --from"),
        (("--stage", "chat"), "starts from a stage-1 model, an InternViT or an InternVL; name its folder with --from"),
    ],
)
def test_a_wrong_request_is_exit_2(shards: Path, tmp_path: Path, change: tuple[str, str], message: str) -> None:
    request = arguments(shards, tmp_path / "out")
    request[request.index(change[0]) + 1] = change[1]
    if change[1] in CONFIGS:
        request[request.index("--config") + 1] = str(shards / f"{change[1]}.toml")
    finished = run([sys.executable, "-m", "trainer_bridge.train", *request])
    assert finished.returncode == 2 and message in finished.stderr and "Traceback" not in finished.stderr
    assert not list((tmp_path / "out").rglob("*"))


def test_a_start_that_does_not_fit_is_one_line(shards: Path, tmp_path: Path) -> None:
    weights = load_file(shards / "stage1" / "model.safetensors")
    cut = tmp_path / "cut"
    shutil.copytree(shards / "stage1", cut)
    weights["text_projection.weight"] = weights["text_projection.weight"][:3].clone()
    save_file(weights, cut / "model.safetensors")
    other = tmp_path / "other.toml"
    other.write_text(CONFIG.replace("embedding = 16", "embedding = 8"))
    for stage, config, start, message in (
        (
            "generative",
            shards / "generative.toml",
            cut,
            "do not fit its configuration: misshapen: text_projection.weight is [3, 16]",
        ),
        ("chat", shards / "chat.toml", tmp_path, "holds no config.json"),
        ("contrastive", other, shards / "stage1", "has another model.embedding (16, not 8)"),
    ):
        request = ["--stage", stage, "--config", str(config), "--shards", str(shards), "--out", str(tmp_path / "out")]
        finished = run([sys.executable, "-m", "trainer_bridge.train", *request, "--from", str(start)])
        assert finished.returncode == 2 and message in finished.stderr and "Traceback" not in finished.stderr
        assert not (tmp_path / "out" / "model").exists()


def test_a_folder_without_a_model_is_named(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no model of a stage; name a folder that trainer_bridge\.train wrote, or one"):
        evaluate_model(tmp_path, str(shards), "heldout")


@pytest.mark.parametrize(
    "kind, config, change, message",
    [
        (
            ContrastiveExperiment,
            CONFIG,
            ("width = 16", "widht = 16"),
            r"model\.image\.widht is no setting; did you mean 'width'\?",
        ),
        (ContrastiveExperiment, CONFIG, ("width = 16", "width = -1"), r"model\.image\.width: input should be"),
        (ContrastiveExperiment, CONFIG, ("[run]", "[runs]"), r"runs is no setting; did you mean 'run'\?"),
        (ChatExperiment, CHAT, ("depth = 1", "dept = 1"), r"model\.language\.dept is no setting; did you mean 'depth'\?"),
        (
            ChatExperiment,
            CHAT,
            ("[data]", "[translation]\nshares = 1\n[data]"),
            r"translation\.shares is no setting; did you mean 'share'",
        ),
        (ChatExperiment, CHAT, ("[data]", "data"), r"is not TOML"),
    ],
)
def test_a_wrong_configuration_names_the_setting(
    tmp_path: Path, kind: type[Experiment], config: str, change: tuple[str, str], message: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(config.replace(*change, 1))
    with pytest.raises(RequestError, match=message) as caught:
        load_experiment(str(path), kind)
    assert "\n" not in str(caught.value)
