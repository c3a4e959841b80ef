"""ITM's settings: how wrong pairs are drawn, and its weight; as published where an experiment says nothing of them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainer_bridge.stages.test_broken_samples import batches, stage_of
from trainer_bridge.models.negatives import MatchingPairs, draw_pairs
from trainer_bridge.stages import generative
from trainer_bridge.stages.generative import GenerativeExperiment, MatchingSettings
from trainer_bridge.stages.settings import load_experiment

CONFIGS = Path(generative.__file__).parents[1] / "configs"


def test_hardness_is_a_factor_of_the_scale_and_weight_one_of_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, scales = stage_of("generative", tmp_path), []

    def recorded(image: Tensor, text: Tensor, scale: Tensor, keys: Tensor, valid: Tensor, seeds: Tensor) -> MatchingPairs:
        scales.append(scale.item())
        return draw_pairs(image, text, torch.ones(1), keys, valid, seeds)  # the same pairs each time

    monkeypatch.setattr(generative, "draw_pairs", recorded)
    whole, losses = batches()[1], []
    for settings in ({}, {"weight": 3.0}, {"hardness": 0.25}):
        stage.experiment = stage.experiment.model_copy(update={"matching": MatchingSettings(**settings)})
        losses.append(
            {name: loss.item() for name, loss in next(stage.losses(stage.model, whole, 9, torch.device("cpu"))).items()}
        )
    plain, weighted, easier = losses
    assert scales == pytest.approx([factor * stage.model.logit_scale.exp().item() for factor in (1, 1, 0.25)])
    assert weighted == pytest.approx(plain | {"itm": 3 * plain["itm"]}) and easier == pytest.approx(plain)


def test_the_published_experiment_draws_and_weighs_as_published() -> None:
    experiment = load_experiment(str(CONFIGS / "generative-internvl.toml"), GenerativeExperiment)
    assert experiment.matching == MatchingSettings(hardness=1.0, weight=1.0)
