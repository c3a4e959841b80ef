"""Folders of Mono-InternVL: the released names and shapes, there and back, around any LLaMA-like language model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from infra.compat.torchvision_operators import define_missing_operators
from tests.trainer_bridge.models.test_mono import IMAGE, PICTURE, SIZES, new_model, pictured, pixels
from trainer_bridge.checkpoints.mono_internvl import begun_from, is_mono, new_mono, read_mono, write_mono
from trainer_bridge.models.mono import MonoModel

define_missing_operators()
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config  # noqa: E402

CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "llama-bias": LlamaConfig(**SIZES, attention_bias=True),
    "llama-dynamic": LlamaConfig(**SIZES, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e6}),
    "llama-tied": LlamaConfig(**SIZES, tie_word_embeddings=True),
    "qwen2": Qwen2Config(**SIZES, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SIZES, head_dim=16),
}


class NoTokenizer:
    def save_pretrained(self, folder: Path) -> None:
        pass


def random_model(config: Any, experts: bool = True) -> MonoModel:
    torch.manual_seed(0)
    model = MonoModel(PICTURE.model_copy(update={"experts": experts}), AutoModelForCausalLM.from_config(config), IMAGE).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def write(folder: Path, model: MonoModel, settings: dict[str, Any] | None = None) -> Path:
    write_mono(folder, model, model.state_dict(), NoTokenizer(), settings or {})
    return folder


@pytest.mark.parametrize("experts", [True, False])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_written_and_read_computes_the_same(name: str, experts: bool, tmp_path: Path) -> None:
    model = random_model(CONFIGS[name], experts)
    folder = write(tmp_path / "model", model)
    again = read_mono(folder, IMAGE).filled().eval()
    assert is_mono(folder) and again.config == model.config
    torch.testing.assert_close(again(pictured(), pixels()), model(pictured(), pixels()))
    torch.testing.assert_close(again.language.lm_head.weight, model.language.lm_head.weight)


def test_names_and_shapes_are_those_released(tmp_path: Path) -> None:
    """Of Mono-InternVL's public code, with its sizes cut down."""
    folder = write(tmp_path / "model", random_model(CONFIGS["llama"]))
    shapes = {name: list(tensor.shape) for name, tensor in load_file(folder / "model.safetensors").items()}
    width, inner, head = 32, 48, 8
    expected = {
        "vision_model.embeddings.class_embedding": [1, 1, 8],
        "vision_model.embeddings.patch_embedding.weight": [8, 3, 14, 14],
        "vision_model.embeddings.patch_embedding.bias": [8],
        "vision_model.embeddings.position_embedding": [1, 17, 8],
        "mlp1.0.weight": [32],
        "mlp1.0.bias": [32],
        "mlp1.1.weight": [width, 32],
        "mlp1.1.bias": [width],
        "mlp1.3.weight": [width, width],
        "mlp1.3.bias": [width],
        "language_model.model.tok_embeddings.weight": [96, width],
        "language_model.model.norm.weight": [width],
        "language_model.output.weight": [96, width],
    }
    for layer in range(3):
        expected |= {
            f"language_model.model.layers.{layer}.{name}": shape
            for name, shape in {
                "attention.wqkv.weight": [(4 + 2 * 2) * head, width],
                "attention.wo.weight": [width, width],
                "attention_norm.weight": [width],
                "ffn_norm.weight": [width],
                **{f"{ffn}.w{i}.weight": [inner, width] for ffn in ("feed_forward", "feed_forward_ve") for i in (1, 3)},
                **{f"{ffn}.w2.weight": [width, inner] for ffn in ("feed_forward", "feed_forward_ve")},
            }.items()
        }
    assert shapes == expected
    config = json.loads((folder / "config.json").read_text())
    assert config["llm_config"]["architectures"] == ["InternLM2VEForCausalLM"]
    assert config["vision_config"]["model_type"] == "intern_vit_patch"


def test_queries_keys_and_values_lie_group_by_group(tmp_path: Path) -> None:
    """As `rearrange("(h gs d)")` in InternLM2 has it: of each key-value head its queries, then the key, then the value."""
    model = random_model(CONFIGS["llama"])
    packed = load_file(write(tmp_path / "model", model) / "model.safetensors")[
        "language_model.model.layers.1.attention.wqkv.weight"
    ]
    attention = model.language.model.layers[1].self_attn
    rows = packed.view(2, 4, 8, 32)  # key-value heads, (2 queries, key, value), rows of a head, width
    torch.testing.assert_close(rows[:, :2].reshape(32, 32), attention.q_proj.weight)
    torch.testing.assert_close(rows[:, 2].reshape(16, 32), attention.k_proj.weight)
    torch.testing.assert_close(rows[:, 3].reshape(16, 32), attention.v_proj.weight)


def test_a_language_model_becomes_one_that_sees_and_stays_itself() -> None:
    base = new_model(told_apart=False)
    language = AutoModelForCausalLM.from_config(CONFIGS["llama"]).eval()
    model = new_mono(PICTURE, CONFIGS["llama"], IMAGE)
    from trainer_bridge.checkpoints.building import Start

    whole = Start(model, begun_from(language.state_dict(), True)).filled().eval()
    ids = torch.randint(0, 80, (2, 9))
    assert torch.equal(whole.language.lm_head(whole(ids, pixels(0))), language(ids).logits)
    assert whole.state_dict().keys() == base.state_dict().keys()
    assert all(tensor.isfinite().all() for tensor in whole.state_dict().values())


@pytest.mark.parametrize("damage", ["missing", "misshapen", "config"])
def test_a_folder_that_does_not_fit_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", random_model(CONFIGS["llama"]))
    tensors = load_file(folder / "model.safetensors")
    name = "language_model.model.layers.1.feed_forward_ve.w1.weight"
    if damage == "config":
        config = json.loads((folder / "config.json").read_text())
        del config["llm_config"]["num_hidden_layers"]
        (folder / "config.json").write_text(json.dumps(config))
    else:
        changed = tensors | {name: tensors[name][:5].clone()} if damage == "misshapen" else tensors
        save_file(
            {key: value for key, value in changed.items() if damage != "missing" or key != name}, folder / "model.safetensors"
        )
    with pytest.raises(ValueError, match="num_hidden_layers" if damage == "config" else "feed_forward_ve") as caught:
        read_mono(folder, IMAGE)
    assert "\n" not in str(caught.value)
