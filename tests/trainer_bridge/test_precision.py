"""Every stage trains in each precision under each ZeRO stage, and every published configuration starts as it is written."""

import json
import math
import shutil
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sharding import read_dataset
from tests import ROOT
from tests.support.processes import one_process  # noqa: F401
from tests.trainer_bridge.test_train import CONFIGS, shards  # noqa: F401
from trainer_bridge import deepspeed_engine
from trainer_bridge.checkpoints.hugging_face import save_internvl
from trainer_bridge.checkpoints.model_folders import load_contrastive
from trainer_bridge.checkpoints.mono_internvl import write_mono
from trainer_bridge.data.chat_tokenizer import IMAGE, build_processor, new_tokenizer
from trainer_bridge.data.loader import Loader
from trainer_bridge.evaluate import evaluate_model
from trainer_bridge.evaluation.plan import plan_evaluations
from trainer_bridge.models.internvl import LanguageConfig, build_internvl, new_language_model
from trainer_bridge.models.mono import PictureConfig
from trainer_bridge.run_folder import RunFolder
from trainer_bridge.stages import find_stages
from trainer_bridge.stages.mono_settings import MonoConfig
from trainer_bridge.stages.mono_start import start_mono
from trainer_bridge.train import train

PUBLISHED = sorted((ROOT / "trainer_bridge" / "configs").glob("*.toml"))
# The sizes that are cut down. Nothing else of a published configuration is changed.
SIZES = {"image_size": 16, "patch": 8, "width": 16, "depth": 2, "heads": 2, "mlp": 32, "vocabulary": 420, "length": 64}
SIZES |= {"embedding": 16, "pool_heads": 2, "cross_heads": 2, "queries": 4, "batch": 8, "micro_batch": 4, "steps": 2}
# Stage, precision, ZeRO stage: a covering part is quick.
MATRIX = list(product(CONFIGS, ("fp32", "bf16"), (0, 1, 2, 3)))
QUICK = {("contrastive", "bf16", 1), ("generative", "bf16", 0), ("generative", "fp32", 3), ("chat", "bf16", 3)}


def run_stage(name: str, document: dict[str, Any], shards: Path, out: Path, start: Path | None, device: torch.device) -> dict:  # noqa: F811
    """Trains a stage in this process; its summary."""
    kind = find_stages()[name]
    experiment = kind.experiment_type.model_validate(document)
    dataset = read_dataset(str(shards))
    out.mkdir(exist_ok=True)
    torch.manual_seed(0)
    evaluations = plan_evaluations(experiment.evaluation, kind.evaluator_type, dataset)
    stage = kind(experiment, dataset, start, out)
    train(stage, experiment, [(dataset, 1.0)], RunFolder(str(out)), 0.0, device, evaluations=evaluations)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == experiment.optimizer.steps and all(math.isfinite(row["loss"]) for row in rows)
    summary = json.loads((out / "summary.json").read_text())
    again = evaluate_model(out / "model", str(shards), "heldout")
    exact = experiment.run.precision == "fp32"
    assert again == pytest.approx({key: summary[key] for key in again}, **({} if exact else {"rel": 0.1, "abs": 0.3}))
    return summary | {"first_loss": rows[0]["loss"]}


@pytest.mark.parametrize(
    "stage, precision, zero",
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in MATRIX],
)
def test_every_stage_trains_in_each_precision_under_each_zero_stage(
    shards: Path,  # noqa: F811
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
    stage: str,
    precision: str,
    zero: int,
) -> None:
    document = tomllib.loads(CONFIGS[stage])
    document["run"] |= {"precision": precision, "zero": zero}
    document["optimizer"]["steps"] = 3
    start = None if stage == "contrastive" else shards / "stage1"
    summary = run_stage(stage, document, shards, tmp_path / "out", start, one_process)
    assert 0 < summary["trained_parameters"] <= summary["parameters"]
    state = load_file(tmp_path / "out" / "model" / "model.safetensors")
    assert sum(tensor.numel() for tensor in state.values()) == summary["parameters"]
    assert all(tensor.dtype == torch.float32 for tensor in state.values() if tensor.is_floating_point())
    if start is not None:
        before = load_file(start / "model.safetensors")
        kernel = {
            "generative": "stage1.image_tower.patches.weight",
            "chat": "model.vision_tower.embeddings.patch_embeddings.projection.weight",
        }
        names = [name for name in state if name == kernel[stage] or name.endswith("patch_embeddings.projection.weight")]
        assert names and all(torch.equal(state[name], before["image_tower.patches.weight"]) for name in names)


def cut(document: dict[str, Any]) -> dict[str, Any]:
    """The configuration with its sizes cut down."""
    return {
        name: cut(value)
        if isinstance(value, dict)
        else [cut(section) for section in value]
        if name == "phase"
        else min(value, SIZES[name])
        if name in SIZES
        else value
        for name, value in document.items()
    }


@pytest.fixture(scope="module")
def starts(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:  # noqa: F811
    """What stages start from: a stage-1 model, an InternVL, a language model, a Mono-InternVL; and conversations."""
    folder = tmp_path_factory.mktemp("starts")
    tokenizer = new_tokenizer(["a red green blue field"] * 20, SIZES["vocabulary"])
    sizes = LanguageConfig(vocabulary=SIZES["vocabulary"], width=16, depth=1, heads=2, mlp=32)
    language = new_language_model(sizes, 64, tokenizer.pad_token_id, tokenizer.eos_token_id)
    language.save_pretrained(folder / "language")
    tokenizer.save_pretrained(folder / "language")
    vision = load_contrastive(shards / "stage1")[0].image_tower
    internvl = build_internvl(vision, language, tokenizer.convert_tokens_to_ids(IMAGE), 0.5)
    save_internvl(folder / "internvl", internvl, build_processor(tokenizer, 16, 1), {})
    shutil.copytree(shards / "stage1", folder / "stage1")
    picture = PictureConfig(image_size=16, patch=8, width=16)
    mono, chat_tokenizer = start_mono(
        MonoConfig(train=("pictures",), picture=picture, language_checkpoint=str(folder / "language")), None
    )
    write_mono(folder / "mono", mono.model, mono.filled().state_dict(), chat_tokenizer, {})
    turns = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "a red field"}]
    Image.new("RGB", (40, 20), "red").save(folder / "a.png")
    (folder / "lines.jsonl").write_text("\n".join(json.dumps({"image": "a.png", "conversations": turns}) for _ in range(9)))
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_every_published_configuration_starts_with_its_sizes_cut_down(
    shards: Path,  # noqa: F811
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
    starts: dict[str, Path],
    path: Path,
) -> None:
    document = cut(tomllib.loads(path.read_text()))
    stage = path.stem.partition("-")[0]
    model = document["model"]
    start = {"contrastive": None, "generative": starts["stage1"], "chat": starts["stage1"], "mono": starts["mono"]}[stage]
    checkpoints = {"language_checkpoint", "text_checkpoint"} & model.keys()
    if checkpoints:
        model |= dict.fromkeys(checkpoints, str(starts["language"]))
        start = None if stage == "mono" else start
    elif stage == "chat" and "language" not in model:
        start = starts["internvl"]
    if stage == "mono":
        document["conversations"]["data"] = str(starts["lines.jsonl"])
        model["length"] = 500  # the words of the template's system alone are more than 64 tokens
    assert run_stage(stage, document, shards, tmp_path / "out", start, one_process)["steps"] == 2


@pytest.mark.parametrize("zero", [1, 2])
def test_zero_leaves_parameters_where_compiled_blocks_may_read_them(
    one_process: torch.device,  # noqa: F811
    shards: Path,  # noqa: F811
    zero: int,
) -> None:
    document = tomllib.loads(CONFIGS["contrastive"])
    document["run"]["zero"] = zero
    kind = find_stages()["contrastive"]
    experiment = kind.experiment_type.model_validate(document)
    stage = kind(experiment, read_dataset(str(shards)), shards / "stage1", shards)
    engine = deepspeed_engine.initialise(stage.model, stage.parameters(), experiment, 1, stage.tensors)
    assert {parameter.data_ptr() % 16 for parameter in engine.module.parameters()} == {0}
    engine.destroy()


def test_features_and_logit_scale_are_float32_in_bf16(one_process: torch.device, shards: Path) -> None:  # noqa: F811
    document = tomllib.loads(CONFIGS["contrastive"])
    kind = find_stages()["contrastive"]
    outputs = {}
    for precision in ("fp32", "bf16"):
        document["run"]["precision"] = precision
        experiment = kind.experiment_type.model_validate(document)
        stage = kind(experiment, read_dataset(str(shards)), shards / "stage1", shards)
        engine = deepspeed_engine.initialise(stage.model, stage.parameters(), experiment, 1, stage.tensors)
        batch = Loader(read_dataset(str(shards)), "train", 8, stage.transform, 0).load(0)
        seen: list[tuple[torch.Tensor, ...]] = []
        engine.module.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(output))
        (losses,) = stage.losses(engine, batch, 8, one_process)
        engine.backward(losses["itc"])
        outputs[precision] = (*seen[0][:3], losses["itc"])
        engine.destroy()
    for exact, rounded in zip(outputs["fp32"], outputs["bf16"], strict=True):
        assert rounded.dtype == torch.float32
        assert torch.allclose(exact, rounded, atol=0.05)
    image, text, scale, _ = outputs["bf16"]
    assert torch.allclose(image.norm(dim=1), torch.ones(8), atol=1e-6) and torch.allclose(
        text.norm(dim=1), torch.ones(8), atol=1e-6
    )
    assert torch.equal(scale, outputs["fp32"][2]) and not torch.equal(image, outputs["fp32"][0])
