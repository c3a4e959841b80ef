"""Stage 2: what attends to what, and what is trained."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.trainer_bridge.models.test_models import tiny_model
from trainer_bridge.checkpoints.model_folders import load_generative, save_generative
from trainer_bridge.data.tokenizer import train_tokenizer
from trainer_bridge.models.losses import IGNORED, token_loss
from trainer_bridge.models.pair_loss import Features, pair_loss
from trainer_bridge.models.qllama import (
    Examples,
    GenerativeConfig,
    GenerativeModel,
    Pictures,
    Tokens,
    attention_masks,
    next_tokens,
)

QUERIES, TEXT, END = 3, 6, 1
ADDED = ("queries", "cross.", "query_pool.", "itm_head.", "logit_scale")


@pytest.fixture
def model() -> GenerativeModel:
    torch.manual_seed(0)
    generative = GenerativeModel(tiny_model(), GenerativeConfig(queries=QUERIES, cross_heads=2, pool_heads=2))
    for layer in generative.cross.values():
        torch.nn.init.normal_(layer.out.weight, std=0.3)
    return generative


def batch(count: int = 4) -> tuple[torch.Tensor, Tokens]:
    ids = torch.randint(2, 300, (count, TEXT))
    lengths = torch.full((count,), TEXT)
    lengths[0] = 3
    ids[torch.arange(count), lengths - 1] = END
    ids[0, 3:] = 0
    return torch.randn(count, 3, 32, 32), Tokens(ids, lengths)


def examples(model: GenerativeModel, images: torch.Tensor, caption: Tokens) -> Examples:
    """Every second caption is paired with the picture after its own."""
    picture = model(Pictures(images, caption)).picture
    matched = torch.where(torch.arange(len(picture))[:, None, None] % 2 == 0, picture, picture.roll(1, dims=0))
    return Examples(picture, caption, matched, caption, END)


def moved(model: GenerativeModel, of_pass: int, position: int) -> set[int]:
    """The positions of a pass's output that move when the input at one position (queries first) is changed."""
    torch.manual_seed(1)
    picture, embeddings = torch.randn(2, 5, model.stage1.config.image.width), torch.randint(2, 300, (2, TEXT))
    mask = attention_masks(QUERIES, torch.tensor([TEXT] * 2), TEXT)
    with torch.no_grad():
        before = model.decode(picture, embeddings, mask)[of_pass]
        if position < QUERIES:
            model.queries[0, position] += 1.0
        else:
            embeddings[of_pass, position - QUERIES] = (embeddings[of_pass, position - QUERIES] + 7) % 290 + 2
        after = model.decode(picture, embeddings, mask)[of_pass]
    return set((before - after).abs().amax(dim=1).gt(1e-5).nonzero().flatten().tolist())


QUERY, WORDS = set(range(QUERIES)), set(range(QUERIES, QUERIES + TEXT))


@pytest.mark.parametrize(
    "of_pass, of_query, of_third_word",
    [
        (0, QUERY | WORDS, QUERY | WORDS),  # ITM: queries and text attend to each other
        (1, QUERY | WORDS, set(range(QUERIES + 2, QUERIES + TEXT))),  # ITG: text attends to queries, queries never to text
    ],
    ids=["itm", "itg"],
)
def test_changing_one_input_moves_only_what_attends_to_it(
    model: GenerativeModel, of_pass: int, of_query: set[int], of_third_word: set[int]
) -> None:
    assert moved(model, of_pass, 1) == of_query
    assert moved(model, of_pass, QUERIES + 2) == of_third_word


def test_padding_moves_nothing(model: GenerativeModel) -> None:
    picture, ids = torch.randn(2, 5, model.stage1.config.image.width), torch.randint(2, 300, (2, TEXT))
    mask = attention_masks(QUERIES, torch.tensor([4, 4]), TEXT)
    before = model.decode(picture, ids, mask)
    ids[:, 4:] = 9
    after = model.decode(picture, ids, mask)
    assert torch.allclose(before[:, : QUERIES + 4], after[:, : QUERIES + 4], atol=1e-5)


def test_the_picture_reaches_text_and_queries(model: GenerativeModel) -> None:
    ids, mask = torch.randint(2, 300, (2, TEXT)), attention_masks(QUERIES, torch.tensor([TEXT] * 2), TEXT)
    first, second = (model.decode(torch.randn(2, 5, model.stage1.config.image.width), ids, mask) for _ in range(2))
    assert ((first - second).abs().amax(dim=2) > 1e-5).all()


def test_the_itc_features_need_no_other_pass(model: GenerativeModel) -> None:
    images, caption = batch()
    encoded = model(Pictures(images, caption))
    assert torch.equal(encoded.text, model.stage1.encode_text(caption.ids, caption.lengths))
    assert torch.allclose(encoded.image, model.encode_image(images), atol=1e-6)
    assert torch.allclose(encoded.image, model(examples(model, images, caption)).image, atol=1e-6)
    assert not any(tensor.requires_grad for tensor in encoded)


def losses(model: GenerativeModel, images: torch.Tensor, caption: Tokens) -> dict[str, torch.Tensor]:
    outputs, text = model(examples(model, images, caption)), model.encode_text(caption.ids, caption.lengths)
    valid = torch.ones(len(images), dtype=torch.bool)
    features = Features(outputs.image, text, outputs.scale, None)
    return {
        "itc": pair_loss(features, valid).of(features),
        "itm": token_loss(outputs.match_logits, torch.arange(len(images)) % 2),
        "itg": token_loss(outputs.token_logits, next_tokens(caption, valid)),
    }


def test_a_step_changes_all_of_the_published_parts_and_nothing_else(model: GenerativeModel) -> None:
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sum(losses(model, *batch(6)).values()).backward()
    optimizer.step()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name in before if name.startswith(ADDED)}
    for name, tensor in model.state_dict().items():
        assert torch.equal(before[name], tensor) == (name not in trained), name


def test_each_loss_reaches_the_queries(model: GenerativeModel) -> None:
    for name, loss in losses(model, *batch(6)).items():
        (gradient,) = torch.autograd.grad(loss, model.queries, retain_graph=True)
        assert gradient.abs().sum() > 0, name


def test_the_next_token_is_what_itg_predicts(model: GenerativeModel) -> None:
    images, caption = batch(2)
    labels = next_tokens(caption, torch.tensor([True, True]))
    assert labels[1].tolist() == caption.ids[1].tolist()
    assert labels[0].tolist() == [*caption.ids[0, :3].tolist(), *[IGNORED] * 3]
    assert (next_tokens(caption, torch.tensor([True, False]))[1] == IGNORED).all()
    before = model(examples(model, images, caption)).token_logits
    assert before.shape == (2, TEXT, model.stage1.config.text.vocabulary)
    changed = Tokens(caption.ids.clone(), caption.lengths)
    changed.ids[1, 2] = (changed.ids[1, 2] + 5) % 290 + 2  # the token to be predicted is masked
    after = model(examples(model, images, changed)).token_logits
    assert torch.allclose(before[1, 2], after[1, 2], atol=1e-5) and not torch.allclose(before[1, 3], after[1, 3], atol=1e-5)


def test_token_loss_passes_over_what_is_ignored() -> None:
    logits, labels = torch.randn(2, 3, 5), torch.tensor([[1, IGNORED, 2], [IGNORED, IGNORED, IGNORED]])
    expected = F.cross_entropy(logits[0, [0, 2]], torch.tensor([1, 2]))
    assert token_loss(logits, labels).item() == pytest.approx(2 * expected.item(), abs=1e-5)
    assert token_loss(logits[1:], labels[1:]).item() == 0


def test_a_saved_generative_model_is_the_same_model(model: GenerativeModel, tmp_path: Path) -> None:
    save_generative(tmp_path, model, model.state_dict(), train_tokenizer(["a b c"], 280))
    again, _ = load_generative(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(model.eval().encode_image(images), again.eval().encode_image(images))
