"""The model is InternViT as published."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from tests import ROOT
from trainer_bridge.checkpoints.model_folders import load_contrastive, save_contrastive
from trainer_bridge.data.tokenizer import encode, train_tokenizer
from trainer_bridge.models.contrastive import ContrastiveConfig, ContrastiveModel
from trainer_bridge.models.draws import sample_seeds
from trainer_bridge.models.internvit import InternViT, InternViTConfig, random_subset, resize_positions
from trainer_bridge.models.text_tower import TextConfig
from trainer_bridge.schedule import cosine
from trainer_bridge.stages import find_stages
from trainer_bridge.stages.contrastive import ContrastiveExperiment
from trainer_bridge.stages.settings import load_experiment

CONFIGS = ROOT / "trainer_bridge" / "configs"
TINY = InternViTConfig(image_size=32, patch=8, width=24, depth=2, heads=3, mlp=48)


def tiny_model(begin: str = "") -> ContrastiveModel:
    torch.manual_seed(0)
    text = TextConfig(vocabulary=300, length=16, width=16, depth=2, heads=2, mlp=32, begin=begin)
    return ContrastiveModel(ContrastiveConfig(image=TINY, text=text, embedding=12, pool_heads=4))


def test_internvit_6b_has_the_published_number_of_parameters() -> None:
    experiment = load_experiment(str(CONFIGS / "contrastive-internvl.toml"), ContrastiveExperiment)
    config = experiment.model.image.model_copy(update={"image_size": 224})
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in InternViT(config).parameters())
    assert round(count / 1e6) == 5903  # InternVL Table 1


def test_tokens_are_the_class_token_and_the_patches() -> None:
    model = InternViT(TINY)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 17, 24)
    assert model(torch.randn(2, 3, 32, 32), drop_tokens=0.5).shape == (2, 9, 24)
    assert model(torch.randn(2, 3, 64, 32)).shape == (2, 33, 24)


@pytest.mark.parametrize("drop_path", [0.0, 0.4])
def test_what_is_read_of_the_first_tokens_is_as_if_all_were_computed(drop_path: float) -> None:
    model = InternViT(TINY.model_copy(update={"drop_path": drop_path}))
    images, seeds, results = torch.randn(3, 3, 32, 32), torch.arange(3), []
    for first in (None, 1):
        model.zero_grad()
        tokens = model(images, 0.5, seeds, first)[:, :1]
        tokens.square().sum().backward()
        results.append([tokens, *(parameter.grad for parameter in model.parameters())])
    assert results[1][0].shape == (3, 1, 24)
    assert all(torch.allclose(whole, read, rtol=1e-4, atol=1e-6) for whole, read in zip(*results, strict=True))


def test_dropped_tokens_are_left_out_and_the_rest_keeps_its_order() -> None:
    tokens = torch.arange(20.0).view(1, 20, 1).expand(3, 20, 2)
    kept = random_subset(tokens, 0.5, torch.arange(3))[:, :, 0]
    assert kept.shape == (3, 10)
    assert (kept.diff(dim=1) > 0).all()
    assert len({tuple(row) for row in kept.tolist()}) > 1


def test_queries_and_keys_are_normalised_over_the_full_width() -> None:
    attention = InternViT(TINY).blocks[0].attention
    assert attention.q_norm.weight.shape == attention.k_norm.weight.shape == (24,)
    assert attention.qkv.bias is None
    # A norm over the full width makes the output indifferent to the scale of queries and keys.
    tokens = torch.randn(1, 5, 24)
    before = attention(tokens)
    with torch.no_grad():
        attention.qkv.weight[:48] *= 1000
    assert torch.allclose(before, attention(tokens), atol=1e-4)


def test_layer_scale_starts_at_a_tenth_and_deeper_outputs_start_smaller() -> None:
    torch.manual_seed(0)
    model = InternViT(InternViTConfig(image_size=32, patch=8, width=64, depth=9, heads=4, mlp=256))
    assert (model.blocks[3].mlp_scale == 0.1).all() and (model.blocks[3].attention_scale == 0.1).all()
    first, ninth = (model.blocks[i].attention.out.weight.std().item() for i in (0, 8))
    assert first / ninth == pytest.approx(3, rel=0.1)
    assert model.blocks[0].attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_drop_path_grows_with_depth_or_is_uniform() -> None:
    linear = InternViT(TINY.model_copy(update={"depth": 3, "drop_path": 0.2}))
    assert [block.drop_path for block in linear.blocks] == [0, 0.1, 0.2]
    uniform = InternViT(TINY.model_copy(update={"depth": 3, "drop_path": 0.2, "drop_path_schedule": "uniform"}))
    assert [block.drop_path for block in uniform.blocks] == [0.2, 0.2, 0.2]


def test_what_is_dropped_of_a_sample_hangs_on_its_seed_alone() -> None:
    tower = InternViT(TINY.model_copy(update={"depth": 3, "drop_path": 0.4, "drop_path_schedule": "uniform", "layer_scale": 1.0}))
    images, seeds = torch.randn(6, 3, 32, 32), sample_seeds(1, range(6), torch.device("cpu"))
    whole = tower(images, 0.5, seeds)
    torch.manual_seed(1)
    parts = torch.cat([tower(images[rows], 0.5, seeds[rows]) for rows in (slice(0, 1), slice(1, 4), slice(4, 6))])
    assert torch.allclose(whole, parts, atol=1e-6)
    same = tower(images[:1].expand(6, -1, -1, -1), 0.5, seeds)
    assert len({tuple(row.flatten().tolist()) for row in same}) == 6


def test_features_are_of_length_one_and_padding_does_not_move_them() -> None:
    model = tiny_model().eval()
    ids, lengths = torch.randint(1, 300, (3, 6)), torch.tensor([2, 4, 6])
    short = model.encode_text(ids, lengths)
    assert torch.allclose(short.norm(dim=1), torch.ones(3), atol=1e-5)
    noise = ids.clone()
    noise[0, 2:], noise[1, 4:] = 7, 9
    assert torch.allclose(short, model.encode_text(noise, lengths), atol=1e-5)
    assert not torch.allclose(short[0], model.encode_text(ids[:1], torch.tensor([3]))[0], atol=1e-3)


def test_the_logit_scale_starts_and_ends_as_clips_does() -> None:
    model = tiny_model()
    inputs = torch.randn(2, 3, 32, 32), torch.ones(2, 4, dtype=torch.int64), torch.tensor([4, 4])
    assert model(*inputs)[2].item() == pytest.approx(1 / 0.07, rel=1e-4)
    model.logit_scale.data.fill_(10)
    assert model(*inputs)[2].item() == 100


def test_positions_are_resized_for_pictures_of_another_size() -> None:
    model = tiny_model().eval()
    larger = ContrastiveModel(model.config.model_copy(update={"image": TINY.model_copy(update={"image_size": 64})})).eval()
    positions = resize_positions(model.image_tower.positions.detach(), 8, 8)
    assert positions.shape == (1, 65, 24)
    larger.load_state_dict(model.state_dict() | {"image_tower.positions": positions})
    images = torch.randn(2, 3, 64, 64)
    assert torch.allclose(model.encode_image(images), larger.encode_image(images), atol=1e-5)
    assert resize_positions(positions, 8, 8) is positions


def test_the_schedule_warms_up_and_ends_at_zero() -> None:
    rates = [cosine(step, 10, 100) for step in range(101)]
    assert rates[9] == 1.0 and rates[0] == 0.1 and rates[100] == pytest.approx(0)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_any_text_can_be_encoded_and_ends_with_the_end_token() -> None:
    tokenizer = train_tokenizer(["A red fox.", "Ein roter Fuchs.", "红色的狐狸"] * 20, 400)
    ids, lengths = encode(tokenizer, ["A red fox.", "🦊 ქართული", "", "x" * 500], TextConfig(length=12))
    end = tokenizer.token_to_id("</s>")
    assert ids.shape == (4, 12) and lengths.tolist()[2] == 1 and lengths.tolist()[3] == 12
    for row, length in zip(ids.tolist(), lengths.tolist(), strict=True):
        assert row[length - 1] == end and not any(row[length:])


def test_a_saved_model_is_the_same_model_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    model = tiny_model().eval()
    tokenizer = train_tokenizer(["a b c"], 280)
    save_contrastive(tmp_path, model.config, model.state_dict(), tokenizer)
    again, _ = load_contrastive(tmp_path)
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.equal(model.encode_image(pixels), again.eval().encode_image(pixels))
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"embedding": 12', '"embedding": 13'))
    with pytest.raises(ValueError, match="do not fit its configuration: misshapen: image_pool") as caught:
        load_contrastive(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"holds no model\.safetensors"):
        load_contrastive(tmp_path)


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_configuration_is_valid(config: Path) -> None:
    kind = find_stages()[config.name.partition("-")[0]].experiment_type
    assert load_experiment(str(config), kind).data.batch > 0
