"""InternVL-C and -G: the released names, and the same features after a round trip."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.towers import VOCABULARY, generative_model, step, tokenizer
from trainer_bridge.checkpoints.hugging_face import is_internvl
from trainer_bridge.checkpoints.layouts import read_checkpoint
from trainer_bridge.checkpoints.model_folders import load_contrastive, load_generative, save_contrastive, save_generative
from trainer_bridge.convert import convert
from trainer_bridge.models.qllama import Examples, GenerativeModel, Pictures, Tokens, next_tokens

# Names and shapes in the released file, of what has not the name that transformers' LLaMA and the released InternViT give it.
RELEASED = {
    "query_tokens": [1, 5, 32],
    "text_projection": [32, 12],
    "logit_scale": [],
    "itm_head.weight": [2, 32],
    "itm_head.bias": [2],
    "qllama.lm_head.weight": [VOCABULARY, 32],
    "qllama.model.embed_tokens.weight": [VOCABULARY, 32],
    "qllama.model.norm.weight": [32],
    "vision_model.embeddings.class_embedding": [1, 1, 24],
    "vision_model.encoder.layers.1.attn.q_norm.weight": [24],
}
for name, width in (("clip_projector", 24), ("clip_projector2", 32)):
    RELEASED |= {f"{name}.norm1_{of}.{kind}": [width] for of in "qkv" for kind in ("weight", "bias")}
    RELEASED |= {f"{name}.cross_attn.{of}.weight": [width, width] for of in "qkv"}
    RELEASED |= {f"{name}.cross_attn.{of}_bias": [width] for of in "qkv"}
    RELEASED |= {f"{name}.cross_attn.proj.weight": [12, width], f"{name}.cross_attn.proj.bias": [12]}
for layer in (0, 2):
    cross = f"qllama.model.layers.{layer}.cross_attn."
    RELEASED |= {f"{cross}{of}_proj.weight": [32, 32] for of in "qo"} | {f"{cross}{of}_proj.weight": [32, 24] for of in "kv"}
    RELEASED |= {f"{cross}norm1.weight": [32], f"{cross}norm2.weight": [24]}
OTHERS = ("vision_model.", "qllama.model.layers.")


@pytest.fixture
def model() -> GenerativeModel:
    torch.manual_seed(0)
    return generative_model()


def batch() -> tuple[torch.Tensor, Tokens]:
    ids = torch.randint(5, 290, (3, 6))
    ids[:, 0], ids[:, -1] = 299, 1
    return torch.randn(3, 3, 32, 32), Tokens(ids, torch.tensor([6, 6, 6]))


def examples(model: GenerativeModel, images: torch.Tensor, caption: Tokens) -> Examples:
    picture = model(Pictures(images, caption)).picture
    return Examples(picture, caption, picture, caption, 299)


def test_a_written_model_has_the_released_names_and_shapes(model: GenerativeModel, tmp_path: Path) -> None:
    save_generative(tmp_path / "ours", model, model.state_dict(), tokenizer("<s>"))
    convert(tmp_path / "ours", "internvl", tmp_path / "released")
    shapes = {name: list(tensor.shape) for name, tensor in load_file(tmp_path / "released" / "model.safetensors").items()}
    assert {name: shapes.get(name) for name in RELEASED} == RELEASED
    assert all(name.startswith(OTHERS) for name in shapes.keys() - RELEASED.keys())
    assert not is_internvl(tmp_path / "released")


def test_convert_train_export_reload_gives_the_same_features(model: GenerativeModel, tmp_path: Path) -> None:
    images, caption = batch()
    outputs = model(examples(model, images, caption))
    step(model, outputs.image.sum() + outputs.match_logits.sum() + outputs.token_logits.logsumexp(dim=2).sum())
    with torch.no_grad():
        model.stage1.logit_scale.copy_(model.logit_scale)  # the released file has one
    save_generative(tmp_path / "ours", model, model.state_dict(), tokenizer("<s>"))
    convert(tmp_path / "ours", "internvl", tmp_path / "released")
    convert(tmp_path / "released", "pairmill", tmp_path / "again")
    for folder in ("released", "again"):
        loaded, _ = load_generative(tmp_path / folder)
        again = loaded.eval()
        assert again.state_dict().keys() == model.state_dict().keys()
        assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
        assert torch.equal(model.encode_image(images), again.encode_image(images))
        assert torch.equal(model.encode_text(*caption), again.encode_text(*caption))
        assert again.stage1.config.text == model.stage1.config.text and again.config == model.config


def test_stage_1_alone_is_what_internvl_c_reads(model: GenerativeModel, tmp_path: Path) -> None:
    save_contrastive(tmp_path / "ours", model.stage1.config, model.stage1.state_dict(), tokenizer("<s>"))
    convert(tmp_path / "ours", "internvl", tmp_path / "released")
    names = load_file(tmp_path / "released" / "model.safetensors").keys()
    assert {"clip_projector.cross_attn.q_bias", "text_projection", "logit_scale", "qllama.lm_head.weight"} <= names
    assert not any("cross_attn.q_proj" in name or "clip_projector2" in name for name in names)


def test_a_released_model_starts_stage_1_and_2_and_gives_its_towers(model: GenerativeModel, tmp_path: Path) -> None:
    save_generative(tmp_path / "ours", model, model.state_dict(), tokenizer("<s>"))
    convert(tmp_path / "ours", "internvl", tmp_path / "released")
    images, caption = batch()
    stage1, _ = load_contrastive(tmp_path / "released")
    assert torch.equal(stage1.eval().encode_image(images), model.stage1.encode_image(images))
    assert torch.equal(stage1.encode_text(*caption), model.stage1.encode_text(*caption))
    checkpoint = read_checkpoint(tmp_path / "released")
    assert checkpoint.side("image").settings.keys() == {"image", "embedding", "pool", "pool_heads"}
    assert {name.partition(".")[0] for name in checkpoint.side("text").state} == {"text_tower", "text_head"}


def test_the_next_token_is_predicted_behind_the_begin_token(model: GenerativeModel) -> None:
    images, caption = batch()
    labels = next_tokens(caption, torch.tensor([True, True, False]), has_begin=True)
    assert labels[0].tolist() == [*caption.ids[0, 1:].tolist(), -100] and (labels[2] == -100).all()
    before = model(examples(model, images, caption)).token_logits
    changed = Tokens(caption.ids.clone(), caption.lengths)
    changed.ids[0, 3] += 1
    again = model(examples(model, images, changed)).token_logits
    assert torch.allclose(again[0, :3], before[0, :3], atol=1e-5)
    assert not torch.allclose(again[0, 3], before[0, 3], atol=1e-5)
