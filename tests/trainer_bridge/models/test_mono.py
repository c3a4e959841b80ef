"""Mono-InternVL's model: where image tokens go, which FFN they pass, and that text alone never notices."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.models.losses import IGNORED
from trainer_bridge.models.mono import MonoLoss, MonoModel, PictureConfig, Routing, TwinFFN, _merged

define_missing_operators()
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM  # noqa: E402

IMAGE, VOCABULARY = 90, 96
PICTURE = PictureConfig(image_size=56, patch=14, width=8)  # 4 x 4 patches, 4 tokens
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}


def new_language(kind: str = "llama") -> Any:
    torch.manual_seed(0)
    if kind == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8)).eval()
    return LlamaForCausalLM(LlamaConfig(**SIZES)).eval()


def new_model(config: PictureConfig = PICTURE, kind: str = "llama", told_apart: bool = True) -> MonoModel:
    model = MonoModel(config, new_language(kind), IMAGE).eval()
    if told_apart and config.experts:
        for layer in model.language.model.layers:  # as after a training: no copy any more
            for parameter in layer.mlp.visual.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
    return model


def text(*ids: int) -> Tensor:
    return torch.tensor([ids])


def pictured(before: int = 3, after: int = 4, tiles: int = 1) -> Tensor:
    return text(*range(1, 1 + before), *[IMAGE] * (tiles * PICTURE.tokens), *range(20, 20 + after))


def pixels(tiles: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(tiles, 3, 56, 56, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_text_alone_is_computed_as_by_the_language_model_to_the_bit(kind: str) -> None:
    base, model = new_language(kind), new_model(kind=kind)
    ids = torch.randint(0, VOCABULARY - 10, (3, 17), generator=torch.Generator().manual_seed(1))
    ours = model.language.lm_head(model(ids, pixels(0)))
    assert torch.equal(ours, base(ids).logits)
    model(pictured(), pixels())  # what a picture leaves behind
    assert torch.equal(model.language.lm_head(model(ids, pixels(0))), base(ids).logits)
    assert model.generate(ids[:1], pixels(0), 8, []) == base.generate(ids[:1], max_new_tokens=8, do_sample=False)[0, 17:].tolist()


def test_a_twin_starts_as_a_copy_of_its_own() -> None:
    model = new_model(told_apart=False)
    for layer in model.language.model.layers:
        for (name, visual), own in zip(layer.mlp.visual.named_parameters(), layer.mlp.text.parameters(), strict=True):
            assert torch.equal(visual, own) and visual is not own, name


@given(st.lists(st.booleans(), min_size=1, max_size=24), st.integers(1, 3))
@settings(max_examples=60)
def test_each_token_passes_the_ffn_of_its_kind(row: list[bool], batch: int) -> None:
    """Beside both FFNs computed everywhere and chosen by the mask, as the released code has it."""
    routing = Routing()
    torch.manual_seed(0)
    twin = TwinFFN(torch.nn.Linear(6, 6), routing)
    torch.nn.init.normal_(twin.visual.weight)
    is_visual = torch.tensor([row] * batch)
    states = torch.randn(batch, len(row), 6)
    routing.route(is_visual)
    blended = torch.where(is_visual[..., None], twin.visual(states), twin.text(states))
    torch.testing.assert_close(twin(states), blended, rtol=1e-6, atol=1e-6)


def test_gradients_reach_both_ffns_and_are_those_of_the_blend() -> None:
    routing = Routing()
    twin = TwinFFN(torch.nn.Linear(6, 6), routing)
    is_visual = torch.tensor([[True, False, True, False]])
    routing.route(is_visual)
    states = torch.randn(1, 4, 6)
    twin(states).square().sum().backward()
    gathered = [parameter.grad.clone() for parameter in twin.parameters()]
    twin.zero_grad()
    torch.where(is_visual[..., None], twin.visual(states), twin.text(states)).square().sum().backward()
    for ours, blended in zip(gathered, twin.parameters(), strict=True):
        torch.testing.assert_close(ours, blended.grad)
    twin.zero_grad()
    routing.route(torch.zeros(1, 4, dtype=torch.bool))
    twin(states).sum().backward()
    assert not twin.visual.weight.grad.any(), "a batch of text alone gives the twin a gradient, and that is zero"


def test_squares_of_patches_become_one_token_row_after_row() -> None:
    grid = torch.arange(16).view(1, 4, 4, 1)
    assert _merged(grid).tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]


def test_tiles_stand_at_their_places_in_order() -> None:
    model = new_model()
    two = pixels(2)
    ids = text(1, *[IMAGE] * 4, 2, 3, *[IMAGE] * 4, 4)
    embedded = model.embed(ids, two)[0]
    tokens = model.pictures(two)
    torch.testing.assert_close(embedded[1:5], tokens[0])
    torch.testing.assert_close(embedded[7:11], tokens[1])
    words = model.language.get_input_embeddings()(ids)[0]
    assert torch.equal(embedded[[0, 5, 6, 11]], words[[0, 5, 6, 11]])


@pytest.mark.parametrize(("ids", "tiles"), [(text(1, 2, IMAGE), 0), (text(1, *[IMAGE] * 3), 1), (text(1, *[IMAGE] * 8), 1)])
def test_places_that_are_not_those_of_the_tiles_are_refused(ids: Tensor, tiles: int) -> None:
    with pytest.raises(ValueError, match="place"):
        new_model().embed(ids, pixels(tiles))


def test_the_picture_matters_and_only_to_what_follows() -> None:
    model = new_model()
    ids = pictured()
    one, other = (model(ids, pixels(seed=seed)) for seed in (0, 1))
    assert torch.equal(one[:, :3], other[:, :3]), "attention is causal"
    assert (one[:, 7:] - other[:, 7:]).abs().amax(dim=-1).min() > 1e-4


def test_attention_is_causal_inside_a_picture() -> None:
    model, whole = new_model(), pixels()
    changed = whole.clone()
    changed[:, :, 28:, 28:] += 1  # the last of its four tokens
    before, after = (model(pictured(), each) for each in (whole, changed))
    assert torch.equal(before[:, :6], after[:, :6]) and not torch.equal(before[:, 6], after[:, 6])


@pytest.mark.parametrize("chunk", [0, 1, 2, 5, 100])
def test_generation_routes_every_chunk_of_the_prompt(chunk: int) -> None:
    model = new_model()
    ids, shown, written = pictured(3, 4, 2), pixels(2), []
    for _ in range(6):  # without a cache, the whole text anew for every token
        states = model(torch.cat([ids, text(*written)], dim=1) if written else ids, shown)
        written.append(int(model.language.lm_head(states[:, -1]).argmax()))
    assert model.generate(ids, shown, 6, [], chunk) == written


def test_generation_ends_at_an_end_token() -> None:
    model = new_model()
    written = model.generate(pictured(), pixels(), 6, [])
    first = written.index(written[2])
    assert model.generate(pictured(), pixels(), 6, [written[2]]) == written[: first + 1]


def test_the_loss_is_that_of_labelled_tokens() -> None:
    loss = MonoLoss(new_model())
    ids, labels = pictured(), pictured()
    labels[:, :-3] = IGNORED
    logits = loss.mono.language.lm_head(loss.mono(ids, pixels()))
    expected = F.cross_entropy(logits[0, -4:-1], ids[0, -3:], reduction="sum")
    torch.testing.assert_close(loss(ids, labels, pixels()), expected)


def test_without_experts_image_tokens_pass_the_ffn_of_the_text() -> None:
    plain = new_model(PICTURE.model_copy(update={"experts": False}))
    twins = new_model(told_apart=False)
    twins.pictures.load_state_dict(plain.pictures.state_dict())
    torch.testing.assert_close(plain(pictured(), pixels()), twins(pictured(), pixels()))
    assert not [name for name, _ in plain.named_parameters() if ".visual." in name]


def test_checkpointed_blocks_route_as_before() -> None:
    from trainer_bridge.models.blocks import checkpoint_blocks

    plain = MonoLoss(new_model()).train()
    again = copy.deepcopy(plain)
    checkpoint_blocks(again, "blocks")
    for loss in (plain, again):
        loss(pictured(), pictured(), pixels()).backward()
    for (name, one), other in zip(plain.named_parameters(), again.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, msg=name)


def test_a_picture_of_an_odd_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 28"):
        MonoModel(PictureConfig(image_size=42, width=8), new_language(), IMAGE)
