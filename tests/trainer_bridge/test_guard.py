"""A training that diverges ends with exit status 1 and one line, and leaves what was saved before as it was."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainer_bridge.test_train import CONFIG, shards  # noqa: F401
from trainer_bridge.checkpoints.hugging_face import load_language_model
from trainer_bridge.checkpoints.model_folders import load_contrastive
from trainer_bridge.guard import SkippedSteps, TrainingFault, require_finite
from trainer_bridge.models.internvl import LanguageConfig, new_language_model
from trainer_bridge.ranks import SINGLE_PROCESS
from trainer_bridge.train import main


def test_a_training_that_diverges_is_exit_1_and_saves_nothing(
    shards: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, out = tmp_path / "contrastive.toml", tmp_path / "out"
    text = CONFIG.replace("_lr = 1e-3", "_lr = 3e37").replace("save_every = 10", "save_every = 100")
    config.write_text(text.replace("steps = 60", "steps = 60\nmax_bad_steps = 3"))
    for name, value in (SINGLE_PROCESS | {"DS_ACCELERATOR": "cpu"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(["--stage", "contrastive", "--config", str(config), "--shards", str(shards), "--out", str(out)])
    assert ended.value.code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("trainer_bridge.train:")]
    assert "loss or gradient was not finite in 3 steps in a row, the last of them step 3" in line
    assert not (out / "model").exists() and not (out / "state" / "latest").exists()
    first, *rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert first["skipped"] is False and first["grad_norm"] > 0
    assert len(rows) == 3 and all(row["skipped"] and row["grad_norm"] is None and row["loss"] is None for row in rows)


def test_weights_that_are_not_finite_end_a_training_before_they_are_saved() -> None:
    require_finite(True, 7)
    with pytest.raises(TrainingFault, match="weights are not finite after step 7 and were not saved"):
        require_finite(False, 7)


def test_steps_are_counted_in_a_row() -> None:
    skipped = SkippedSteps(3)
    for step, bad in enumerate([True, True, False, True, True, False, True, True]):
        skipped.count(step, bad)
    with pytest.raises(TrainingFault, match="in 3 steps in a row, the last of them step 8"):
        skipped.count(8, True)


def test_a_model_that_is_not_finite_is_not_loaded(shards: Path, tmp_path: Path) -> None:  # noqa: F811
    for path in (shards / "stage1").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    for value in (float("nan"), float("inf")):
        weights["text_projection.weight"][1, 1] = value
        save_file(weights, tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match=r"are not finite: text_projection\.weight; its training diverged"):
            load_contrastive(tmp_path)


def test_a_language_model_that_is_not_finite_is_not_loaded(tmp_path: Path) -> None:
    from trainer_bridge.data.chat_tokenizer import new_tokenizer

    tokenizer = new_tokenizer(["a red field"] * 20, 320)
    model = new_language_model(LanguageConfig(vocabulary=320, width=16, depth=1, heads=2, mlp=32), 64, 0, 1)
    with torch.no_grad():
        model.model.norm.weight[3] = float("nan")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"are not finite: model\.norm\.weight"):
        load_language_model(str(tmp_path))
