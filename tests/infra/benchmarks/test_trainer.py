"""The benchmark of the trainer: both sides have the same sizes, and ours is measured where it trains."""

import json
from pathlib import Path

import pytest

from infra.benchmarks import trainer
from infra.benchmarks.loader import write_shards
from infra.benchmarks.on_gpu.open_clip_loop import clip_sizes
from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.models.contrastive import ContrastiveConfig, ContrastiveModel

LINE = (
    "2026-11-27,20:08:51 | INFO | Train Epoch: 0 [ 64/128 (50%)] Data (t): 1.069 Batch (t): 2.518, 25.4170/s, 25.4170/s/gpu "
    "LR: 0.000100 Logit Scale: 14.286 Contrastive_loss: 4.2 (4.2) Loss: 4.2 (4.2)"
)


def test_open_clips_model_has_the_size_of_ours(tmp_path: Path) -> None:
    define_missing_operators()
    open_clip = pytest.importorskip("open_clip")
    (tmp_path / "as-stage1.json").write_text(json.dumps(clip_sizes(trainer.CONFIG)))
    open_clip.add_model_config(tmp_path / "as-stage1.json")
    theirs = open_clip.create_model("as-stage1", pretrained=None)
    ours, other = (sum(p.numel() for p in model.parameters()) for model in (ContrastiveModel(trainer.CONFIG), theirs))
    assert abs(ours - other) < 0.001 * other


def test_every_batch_that_open_clip_writes_is_counted() -> None:
    assert trainer.BATCH_RATE.findall(f"{LINE}\n{LINE}\n") == ["25.4170"] * 2


def test_a_bare_step_has_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "CONFIG", small())
    monkeypatch.setattr(trainer, "BATCH", 4)
    assert trainer.bare(trainer.LEFT_OUT + 2) > 0


@pytest.mark.slow
def test_our_trainer_is_measured_on_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small()
    sizes = {f"model.{side}": getattr(config, side).model_dump(exclude_unset=True) for side in ("image", "text")}
    monkeypatch.setattr(trainer, "SETTINGS", trainer.SETTINGS | sizes | {"data": {"batch": 4}, "run": {"micro_batch": 4}})
    write_shards(tmp_path / "shards", 64, trainer.WORDS)
    rates = trainer.ours(tmp_path, trainer.LEFT_OUT + 2, tmp_path / "ours")
    assert rates["ours"] > 0 and 0 <= rates["data_wait"] < 1


def small() -> ContrastiveConfig:
    image = trainer.CONFIG.image.model_copy(update={"image_size": 32, "width": 32, "depth": 1, "heads": 2, "mlp": 64})
    text = trainer.CONFIG.text.model_copy(update={"vocabulary": 600, "width": 32, "depth": 1, "heads": 2, "mlp": 64})
    return trainer.CONFIG.model_copy(update={"image": image, "text": text})
