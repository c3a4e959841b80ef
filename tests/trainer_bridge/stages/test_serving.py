"""What servers of InternVL ask of a folder is in those that are saved: they take each key, in its shape, and find each setting.

Neither server runs here. The names were read in their published code on 2026-11-28:

vLLM      `InternVLForConditionalGeneration` is loaded as `interns1.InternS1ForConditionalGeneration` (registry.py); its names in
          vllm/model_executor/models/interns1.py at 01dc287 (`hf_to_vllm_mapper`) and interns1_vit.py at 17f79c4
LMDeploy  lmdeploy/pytorch/models/internvl3_hf.py (`rename_weight`, `load_weights`), llama.py, configurations/internvl3_hf.py and
          lmdeploy/vl/model/internvl3_hf.py at 1263d5c

Both name their modules as transformers does, behind other prefixes, and build the language model by its own configuration; q, k
and v, and gate and up, are put together while they are loaded. Names without a prefix of PREFIXES are taken as they are.
"""

import json
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch

from infra.models import INTERNVL
from tests.support.processes import one_process  # noqa: F401
from tests.trainer_bridge.stages.test_chat_starts import released, tensors, trained

Shapes = dict[str, list[int]]
PREFIXES = {  # of a saved key → of the server's parameter; the first that fits
    "vLLM": {
        "lm_head.": "language_model.lm_head.",
        "model.language_model.": "language_model.model.",
        "model.vision_tower.": "vision_tower.",
        "model.multi_modal_projector.": "multi_modal_projector.",
    },
    "LMDeploy": {"lm_head.": "language_model.lm_head.", "model.language_model.": "language_model.model.", "model.": ""},
}
SETTINGS = {
    "": ["architectures", "downsample_ratio", "projector_hidden_act", "text_config", "vision_config"],
    "vision_config": [
        "attention_bias",
        "hidden_act",
        "hidden_size",
        "image_size",
        "intermediate_size",
        "layer_norm_eps",
        "layer_scale_init_value",
        "norm_type",
        "num_attention_heads",
        "num_channels",
        "num_hidden_layers",
        "patch_size",
        "use_absolute_position_embeddings",
        "use_mask_token",
        "use_mean_pooling",
        "use_qk_norm",
    ],
    "text_config": ["hidden_size", "model_type", "tie_word_embeddings"],
}
OF_ONE_SERVER = ["vision_feature_layer", "vision_feature_select_strategy", "tie_word_embeddings"]  # LMDeploy


def vision_shapes(config: dict[str, Any]) -> Shapes:
    """The parameters of both servers' InternViT."""
    width, inner, patch = config["hidden_size"], config["intermediate_size"], config["patch_size"]
    patches = prod(side // own for side, own in zip(config["image_size"], patch, strict=True))
    shapes = {
        "embeddings.cls_token": [1, 1, width],
        "embeddings.patch_embeddings.projection.weight": [width, config["num_channels"], *patch],
        "embeddings.patch_embeddings.projection.bias": [width],
    }
    if config["use_absolute_position_embeddings"]:
        shapes["embeddings.position_embeddings"] = [1, patches + 1, width]
    if config["use_mask_token"]:
        shapes["embeddings.mask_token"] = [1, 1, width]
    norm = ["weight"] if config["norm_type"] == "rms_norm" else ["weight", "bias"]
    block: Shapes = {f"{name}.{kind}": [width] for name in ("layernorm_before", "layernorm_after") for kind in norm}
    block |= {"lambda_1": [width], "lambda_2": [width]}
    block |= linear("attention.projection_layer", width, width)
    block |= linear("mlp.fc1", width, inner) | linear("mlp.fc2", inner, width)
    for name in "qkv":
        block |= linear(f"attention.{name}_proj", width, width, bias=config["attention_bias"])
    if config["use_qk_norm"]:
        block |= {f"attention.{name}_norm.weight": [width] for name in "qk"}
    for number in range(config["num_hidden_layers"]):
        shapes |= {f"encoder.layer.{number}.{name}": shape for name, shape in block.items()}
    if not config["use_mean_pooling"]:
        shapes |= {"layernorm.weight": [width], "layernorm.bias": [width]}
    return shapes


def linear(name: str, inputs: int, outputs: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": [outputs, inputs]} | ({f"{name}.bias": [outputs]} if bias else {})


def projector_shapes(config: dict[str, Any]) -> Shapes:
    """The parameters of both servers' MLP between the towers."""
    width = config["text_config"]["hidden_size"]
    inputs = config["vision_config"]["hidden_size"] * int(1 / config["downsample_ratio"]) ** 2
    norm = {"layer_norm.weight": [inputs], "layer_norm.bias": [inputs]}
    return norm | linear("linear_1", inputs, width) | linear("linear_2", width, width)


def language_shapes(folder: Path) -> Shapes:
    """The parameters of the language model by itself; a head that is tied to the embeddings is not read."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = AutoConfig.from_pretrained(folder).text_config
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings)
    return {name: list(tensor.shape) for name, tensor in model.named_parameters()}  # a tied head is among them as embeddings


def asked(folder: Path) -> Shapes:
    """The parameters of a server's model, by its names."""
    config = json.loads((folder / "config.json").read_text())
    parts = {
        "vision_tower": vision_shapes(config["vision_config"]),
        "multi_modal_projector": projector_shapes(config),
        "language_model": language_shapes(folder),
    }
    return {f"{part}.{name}": shape for part, shapes in parts.items() for name, shape in shapes.items()}


def renamed(name: str, prefixes: dict[str, str]) -> str:
    return next((new + name.removeprefix(old) for old, new in prefixes.items() if name.startswith(old)), name)


@pytest.fixture(scope="module", params=["small", "qwen2", "qwen3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, one_process: torch.device) -> Path:  # noqa: F811
    if request.param == "small":
        return INTERNVL
    where = tmp_path_factory.mktemp(request.param)
    trained(released(where, request.param), where / "out")
    return where / "out"


@pytest.mark.parametrize("server", PREFIXES)
def test_every_saved_key_is_a_parameter_of_the_server_and_none_is_missing(server: str, folder: Path) -> None:
    saved = {renamed(name, PREFIXES[server]): shape for name, (shape, _) in tensors(folder).items()}
    assert len(saved) == len(tensors(folder)) and saved == asked(folder)


def test_every_setting_that_a_server_reads_is_there(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["InternVLForConditionalGeneration"]
    for part, names in SETTINGS.items():
        assert {*names} <= (config[part] if part else config).keys(), part
    assert {*OF_ONE_SERVER} <= config.keys() and config["tie_word_embeddings"] == config["text_config"]["tie_word_embeddings"]
    assert (config["vision_feature_layer"], config["vision_feature_select_strategy"]) == (-1, "default")
    assert config["text_config"]["model_type"] in ("llama", "qwen2", "qwen3")
    vision = config["vision_config"]
    patches = prod(side // own for side, own in zip(vision["image_size"], vision["patch_size"], strict=True))
    assert patches * config["downsample_ratio"] ** 2 == config["image_seq_length"]


def test_processor_and_tokenizer_have_what_a_server_reads(folder: Path) -> None:
    from transformers import AutoProcessor, AutoTokenizer

    processor, tokenizer = AutoProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    config, pictures = json.loads((folder / "config.json").read_text()), processor.image_processor
    assert processor.image_seq_length == config["image_seq_length"]
    assert type(processor).__name__ == "InternVLProcessor" and type(pictures).__name__.startswith("GotOcr2ImageProcessor")
    assert 1 <= pictures.min_patches <= pictures.max_patches and pictures.crop_to_patches == (pictures.max_patches > 1)
    assert [pictures.size["height"], pictures.size["width"]] == config["vision_config"]["image_size"]
    tokens = [processor.image_token, processor.start_image_token, processor.end_image_token, processor.video_token]
    assert [len(tokenizer.encode(token, add_special_tokens=False)) for token in tokens] == [1] * 4
    assert tokenizer.context_image_token_id == processor.image_token_id == config["image_token_id"]
    assert (folder / "generation_config.json").exists() and tokenizer.chat_template


@pytest.mark.parametrize("server", PREFIXES)
def test_a_key_by_another_name_is_not_taken(server: str) -> None:
    names = {renamed(name.replace("vision_tower.", "vision_model."), PREFIXES[server]) for name in tensors(INTERNVL)}
    assert not names <= asked(INTERNVL).keys()
