"""The demo's Mono-InternVL: its language model is that of the small InternVL, its experiments are ones."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest
import torch

from infra.compat.paths import cache_folder
from infra.compat.torchvision_operators import define_missing_operators
from infra.models import INTERNVL
from pipelines.demo_corpus import mono
from pipelines.demo_corpus.corpus import STAMPS, debian_packages, load_folder
from pipelines.demo_corpus.mono import STAGES, write_config, write_language
from pipelines.demo_corpus.render import extension
from pipelines.demo_corpus.training import train_mono
from pipelines.manifest.precedence import LATEST_EXPORT
from sharding.conversation_sets import read_sets
from tests.support.pictured import jpeg, pictured
from trainer_bridge.checkpoints.hugging_face import load_language_model
from trainer_bridge.stages.mono_settings import MonoExperiment

define_missing_operators()
from transformers import InternVLForConditionalGeneration  # noqa: E402


def test_the_language_model_is_that_of_the_small_internvl(tmp_path: Path) -> None:
    write_language(INTERNVL, tmp_path / "language")
    language, tokenizer = load_language_model(str(tmp_path / "language"))
    whole = InternVLForConditionalGeneration.from_pretrained(INTERNVL, dtype=torch.float32)
    ids = torch.tensor([tokenizer.encode("A giraffe stands near a tree.")])
    with torch.inference_mode():
        torch.testing.assert_close(language(ids).logits, whole(input_ids=ids).logits)


@pytest.mark.parametrize("stage", STAGES)
def test_an_experiment_of_the_demo_is_one(stage: str, tmp_path: Path) -> None:
    (tmp_path / "mono").mkdir()
    read = tomllib.loads(write_config(tmp_path, stage, tmp_path / 'a "folder"').read_text(encoding="utf-8"))
    experiment = MonoExperiment.model_validate(read)
    assert experiment.model.language_checkpoint.endswith('a "folder"')
    assert ("language" in experiment.model.train) == (stage == "instruction") != experiment.model.new_tokens


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="the stamps come from Debian packages")
def test_stages_follow_each_other_on_their_exports(tmp_path: Path, ray_session: None) -> None:
    root, recipe = tmp_path / "root", tmp_path / "recipe.toml"
    storage = pictured(root, broken=False)
    recipe.write_text(f'[export]\nstage = 1\nout = "{tmp_path}/shards"\n')
    for stamp in load_folder(debian_packages(cache_folder()) / STAMPS, "stamps"):
        path = root / "pictures" / f"{stamp.key}.{extension(stamp)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg("red"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mono, "ENGLISH", "true")  # these samples have no language
        mono.export_stages(root, recipe, None)
    assert storage.read_json(LATEST_EXPORT)["family"] == "shards_stage1"
    assert read_sets(str(mono.meta_of(root, "instruction")))[0].length > mono.STAMPS_SHOWN
    (root / "mono" / "semantic.json").write_text('{"semantic": {"shards": "concept"}}')  # nothing has a synthetic caption
    train_mono(root, 2, INTERNVL)
    for stage in STAGES:
        assert json.loads((root / "training" / f"mono-{stage}" / "summary.json").read_text())["steps"] > 0
