"""Stage 2: what attends to what, what is trained, and which negatives are drawn."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.trainer_bridge.models.test_models import tiny_model
from trainer_bridge.checkpoints.model_folders import load_generative, save_generative
from trainer_bridge.data.tokenizer import train_tokenizer
from trainer_bridge.models.losses import clip_loss, token_loss
from trainer_bridge.models.qllama import IGNORED, GenerativeConfig, GenerativeModel, Tokens, attention_masks, hard_negatives

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


def moved(model: GenerativeModel, of_pass: int, position: int) -> set[int]:
    """The positions of a pass's output that move when the input at one position (queries first) is changed."""
    torch.manual_seed(1)
    picture, embeddings = torch.randn(3, 5, model.stage1.config.image.width), torch.randint(2, 300, (3, TEXT))
    mask = attention_masks(QUERIES, torch.tensor([TEXT] * 3), TEXT)
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
        (1, QUERY, set(range(QUERIES + 2, QUERIES + TEXT))),  # ITC: queries and text apart, text is causal
        (2, QUERY | WORDS, set(range(QUERIES + 2, QUERIES + TEXT))),  # ITG: text attends to queries, queries never to text
    ],
    ids=["itm", "itc", "itg"],
)
def test_changing_one_input_moves_only_what_attends_to_it(
    model: GenerativeModel, of_pass: int, of_query: set[int], of_third_word: set[int]
) -> None:
    assert moved(model, of_pass, 1) == of_query
    assert moved(model, of_pass, QUERIES + 2) == of_third_word


def test_padding_moves_nothing(model: GenerativeModel) -> None:
    picture, ids = torch.randn(3, 5, model.stage1.config.image.width), torch.randint(2, 300, (3, TEXT))
    mask = attention_masks(QUERIES, torch.tensor([4, 4, 4]), TEXT)
    before = model.decode(picture, ids, mask)
    ids[:, 4:] = 9
    after = model.decode(picture, ids, mask)
    assert torch.allclose(before[:, : QUERIES + 4], after[:, : QUERIES + 4], atol=1e-5)


def test_the_picture_reaches_text_only_through_queries(model: GenerativeModel) -> None:
    ids, mask = torch.randint(2, 300, (3, TEXT)), attention_masks(QUERIES, torch.tensor([TEXT] * 3), TEXT)
    first, second = (model.decode(torch.randn(3, 5, model.stage1.config.image.width), ids, mask) for _ in range(2))
    changed = (first - second).abs().amax(dim=2) > 1e-5
    assert changed[0].all() and changed[2].all()
    assert changed[1, :QUERIES].all() and not changed[1, QUERIES:].any()


def test_text_of_the_itc_pass_is_stage_1s_feature_and_images_need_no_text(model: GenerativeModel) -> None:
    images, caption = batch()
    outputs = model(images, caption, caption, END)
    assert torch.allclose(outputs.text, model.encode_text(caption.ids, caption.lengths), atol=1e-5)
    assert torch.allclose(outputs.image, model.encode_image(images), atol=1e-5)


def losses(model: GenerativeModel, images: torch.Tensor, caption: Tokens) -> dict[str, torch.Tensor]:
    outputs = model(images, caption, caption, END)
    return {
        "itc": clip_loss(outputs.image, outputs.text, outputs.scale, outputs.valid),
        "itm": token_loss(outputs.match_logits, outputs.match_labels),
        "itg": token_loss(outputs.token_logits, outputs.token_labels),
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


def test_captions_without_a_token_count_in_no_loss(model: GenerativeModel) -> None:
    images, caption = batch(4)
    caption.ids[2], caption.lengths[2] = torch.tensor([END] + [0] * (TEXT - 1)), 1
    torch.manual_seed(3)
    outputs = model(images, caption, caption, END)
    assert outputs.valid.tolist() == [True, True, False, True]
    assert outputs.match_labels[2] == IGNORED and (outputs.token_labels[2] == IGNORED).all()
    itc = clip_loss(outputs.image, outputs.text, outputs.scale, outputs.valid)
    keep = outputs.valid
    assert itc.item() == pytest.approx(clip_loss(outputs.image[keep], outputs.text[keep], outputs.scale).item(), abs=1e-6)
    assert torch.isfinite(itc)


def test_hard_negatives_are_wrong_and_drawn_by_similarity() -> None:
    torch.manual_seed(0)
    ids = torch.tensor([[5, 1], [6, 1], [7, 1], [5, 1]])
    similarity = torch.zeros(4, 4)
    similarity[0, 2] = similarity[2, 0] = 20.0
    roles = {"right": 0, "caption": 0, "picture": 0}
    for _ in range(300):
        image_index, caption_index, is_match = hard_negatives(similarity, ids)
        for row in range(4):
            if is_match[row]:
                assert image_index[row] == caption_index[row] == row
                roles["right"] += 1
            else:
                assert (image_index[row] == row) != (caption_index[row] == row)
                assert not torch.equal(ids[image_index[row]], ids[caption_index[row]])
                roles["caption" if caption_index[row] != row else "picture"] += 1
        if caption_index[0] != 0:
            assert caption_index[0] == 2  # by far the most similar
    assert min(roles.values()) > 300


def test_a_batch_of_one_caption_has_no_negatives() -> None:
    image_index, caption_index, is_match = hard_negatives(torch.randn(3, 3), torch.tensor([[4, 1]] * 3))
    assert is_match.all() and image_index.tolist() == caption_index.tolist() == [0, 1, 2]


def test_the_next_token_is_what_itg_predicts(model: GenerativeModel) -> None:
    images, caption = batch(2)
    outputs = model(images, caption, caption, END)
    assert outputs.token_labels[1].tolist() == caption.ids[1].tolist()
    assert outputs.token_labels[0].tolist() == [*caption.ids[0, :3].tolist(), *[IGNORED] * 3]
    assert outputs.token_logits.shape == (2, TEXT, model.stage1.config.text.vocabulary)
    before = outputs.token_logits[1, 2]
    changed = Tokens(caption.ids.clone(), caption.lengths)
    changed.ids[1, 2] = (changed.ids[1, 2] + 5) % 290 + 2  # the token to be predicted is masked
    assert torch.allclose(before, model(images, changed, changed, END).token_logits[1, 2], atol=1e-5)


def test_token_loss_passes_over_what_is_ignored() -> None:
    logits, labels = torch.randn(2, 3, 5), torch.tensor([[1, IGNORED, 2], [IGNORED, IGNORED, IGNORED]])
    expected = F.cross_entropy(logits[0, [0, 2]], torch.tensor([1, 2]))
    assert token_loss(logits, labels).item() == pytest.approx(expected.item(), abs=1e-6)
    assert token_loss(logits[1:], labels[1:]).item() == 0


def test_a_saved_generative_model_is_the_same_model(model: GenerativeModel, tmp_path: Path) -> None:
    save_generative(tmp_path, model, model.state_dict(), train_tokenizer(["a b c"], 280))
    again, _ = load_generative(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(model.eval().encode_image(images), again.eval().encode_image(images))
