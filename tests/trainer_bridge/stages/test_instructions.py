"""Stage 3 on conversations as others publish them: trained, gone on with, saved with the processor that it was trained by."""

import json
import os
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from infra.compat.errors import RequestError
from infra.compat.torchvision_operators import define_missing_operators
from tests import ROOT
from tests.support.processes import one_process  # noqa: F401
from trainer_bridge.data.instructions.tiles import TileRule, decode_tiles
from trainer_bridge.data.transforms import normalise
from trainer_bridge.request import trained_on
from trainer_bridge.run_folder import RunFolder
from trainer_bridge.stages import find_stages
from trainer_bridge.train import main, train

define_missing_operators()
START = ROOT / "infra" / "models" / "internvl"
STEPS = 6
CONFIG = """
[model]
train = "projector+language"
length = 120
[conversations]
template = "chatml"
max_dynamic_patch = 4
[data]
batch = 6
[optimizer]
lr = 1e-3
warmup = 1
steps = 6
[run]
micro_batch = 3
zero = 0
precision = "fp32"
"""
BAD = 3  # entries of the meta file without an example


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def published(folder: Path) -> Path:
    """A meta file of pictures of several shapes, text alone, several turns, and entries without an example."""
    draws = np.random.default_rng(0)
    entries: list[Any] = []
    more = [{"from": "human", "value": "sure?"}, {"from": "gpt", "value": "yes"}]
    for number, (width, height) in enumerate([(64, 64), (150, 80), (60, 140), (200, 200)]):
        pixels = draws.integers(0, 256, (height // 10, width // 10, 3), np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(folder / f"{number}.png")
        turns = [{"from": "human", "value": "Look: <image>\nWhat is it?"}, {"from": "gpt", "value": f"a picture number {number}"}]
        entries.append({"image": f"{number}.png", "conversations": turns + more * (number % 2)})
    entries += [
        {"conversations": more * 2},
        {"messages": [{"role": "user", "content": "say <IMG_CONTEXT>"}, {"role": "assistant", "content": "<IMG_CONTEXT>"}]},
        {"conversations": []},
        {"image": "absent.png", "conversations": entries[0]["conversations"]},
        {"conversations": [{"from": "human", "value": "long " * 200}, {"from": "gpt", "value": "x"}]},
    ]
    (folder / "lines.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    meta = {"mine": {"root": ".", "annotation": "lines.jsonl", "repeat_time": 2, "data_augment": False, "length": len(entries)}}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder / "meta.json"


def run(meta: Path, out: Path, device: torch.device, stop: int | None = None, **sections: Any) -> list[dict[str, Any]]:
    """Trains, or until a step where `stop` is its number; the rows of its metrics."""
    kind = find_stages()["chat"]
    experiment = trained_on(kind.experiment_type.model_validate(tomllib.loads(CONFIG) | sections), str(meta), None)
    out.mkdir(exist_ok=True)
    torch.manual_seed(0)
    stage = kind(experiment, None, START, out)
    computed, steps = stage.losses, 0

    def interrupted(*arguments: Any) -> Iterator[dict[str, torch.Tensor]]:
        nonlocal steps
        steps += 1
        if steps == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        yield from computed(*arguments)

    stage.losses = interrupted
    assert train(stage, experiment, [], RunFolder(str(out)), 0.0, device) is (stop is None)
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_conversations_are_learned_resumed_and_saved_as_they_were_trained(
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    meta = published(tmp_path)
    straight = run(meta, tmp_path / "straight", one_process)
    assert straight[-1]["loss"] < straight[0]["loss"]
    assert sum(row["faults"] for row in straight) == 2 * BAD * (STEPS * 6 // 18)
    faults = [json.loads(line)["fault"] for line in (tmp_path / "straight" / "faults-00000.jsonl").read_text().splitlines()]
    assert {fault.split(", entry ")[1][0] for fault in faults} == {"7", "8", "9"}
    run(meta, tmp_path / "stopped", one_process, stop=3)
    resumed = run(meta, tmp_path / "stopped", one_process)
    assert [row["loss"] for row in resumed] == [row["loss"] for row in straight]

    folder = tmp_path / "straight" / "model"
    processor, model = AutoProcessor.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder)
    assert processor.image_processor.max_patches == 4 and processor.image_processor.resample == 3
    prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}]
    text = processor.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    assert text.endswith("<|im_start|>assistant\n") and "assistant\n " not in text
    picture = Image.open(tmp_path / "1.png")
    inputs = processor(images=[[picture]], text=[text], return_tensors="pt")
    tiles = decode_tiles((tmp_path / "1.png").read_bytes(), TileRule(64, 1, 4))
    assert len(inputs["pixel_values"]) == len(tiles) == 3
    assert (inputs["pixel_values"] - normalise(torch.from_numpy(tiles))).abs().max() < 0.05
    answer = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    assert answer.shape[1] > inputs["input_ids"].shape[1]


def test_packed_conversations_have_the_loss_of_padded_ones(tmp_path: Path, one_process: torch.device) -> None:  # noqa: F811
    meta = published(tmp_path)
    padded = run(meta, tmp_path / "padded", one_process)
    sections = {"packing": {"tokens": 240, "tiles": 20}, "run": tomllib.loads(CONFIG)["run"] | {"sample_every": 3}}
    packed = run(meta, tmp_path / "packed", one_process, **sections)
    assert [row["loss"] for row in packed] == pytest.approx([row["loss"] for row in padded], rel=1e-3)
    samples = [json.loads(line) for line in (tmp_path / "packed" / "samples.jsonl").read_text().splitlines()]
    assert [row["step"] for row in samples] == [3, 3, 6, 6] and samples[0]["question"] == samples[2]["question"]
    assert all(row["given"] for row in samples)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "chat"], "nothing to train on; give --shards URI, or --data FILE of conversations"),
        (["--stage", "chat", "--data", "gone.json"], "gone.json"),
        (["--stage", "chat", "--data", "torn.json"], "torn.json is no JSON list: at byte 1 an entry is broken"),
        (["--stage", "chat", "--data", "empty.jsonl"], "empty.jsonl: no set has conversations"),
        (["--stage", "chat", "--data", "lost.json"], "lines.gz is not there"),
        (["--stage", "chat", "--data", "meta.json", "--shards", "x"], "both named"),
        (["--stage", "chat", "--data", "meta.json", "--mix", "x=1"], "--mix adds to --shards"),
        (["--stage", "contrastive", "--data", "meta.json"], "which the stages chat and mono alone train on"),
    ],
)
def test_a_wrong_request_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published(tmp_path)
    (tmp_path / "torn.json").write_text('[{"conversations": []')
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "lost.json").write_text('{"mine": {"annotation": "lines.gz"}}')
    monkeypatch.chdir(tmp_path)
    name = "chat-tiny" if arguments[1] == "chat" else "contrastive-tiny"
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--config", str(ROOT / "trainer_bridge" / "configs" / f"{name}.toml"), "--out", "out"])
    assert end.value.code == 2 and message in (told := capsys.readouterr().err) and told.count("\n") == 1


@pytest.mark.parametrize("sections", [{}, {"packing": {"tokens": 240, "tiles": 20}}])
def test_a_training_of_faults_alone_ends_with_a_reason(
    sections: dict[str, Any],
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    (tmp_path / "bad.jsonl").write_text('{"conversations": []}\n' * 5)
    with pytest.raises(RequestError, match="3 global batches in a row have no token to learn"):
        run(tmp_path / "bad.jsonl", tmp_path / "out", one_process, **sections)


def test_a_file_without_a_conversation_ends_with_a_reason(tmp_path: Path, one_process: torch.device) -> None:  # noqa: F811
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(RequestError, match="no set has conversations"):
        run(tmp_path / "empty.jsonl", tmp_path / "out", one_process)
