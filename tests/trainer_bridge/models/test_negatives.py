"""Hard negatives are wrong pairs, drawn by similarity, and rows are fetched as they are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from trainer_bridge.models.draws import sample_seeds
from trainer_bridge.models.negatives import append_rows_of_others, draw_pairs

SMALL = st.lists(st.integers(0, 2), min_size=1, max_size=6)


@settings(deadline=None)
@given(st.data(), SMALL, st.integers(0, 99))
def test_a_negative_has_another_picture_and_other_words_and_can_be_used(
    data: st.DataObject, images: list[int], seed: int
) -> None:
    count = len(images)
    texts, mask = (data.draw(st.lists(each, min_size=count, max_size=count)) for each in (st.integers(0, 2), st.booleans()))
    torch.manual_seed(seed)
    image, text = (F.normalize(torch.randn(count, 4), dim=1) for _ in range(2))
    keys, valid = torch.tensor([images, texts]), torch.tensor(mask)
    pairs = draw_pairs(image, text, torch.tensor([50.0]), keys, valid, sample_seeds(seed, range(count), image.device))
    for row, (i, j, match) in enumerate(zip(*(part.tolist() for part in pairs), strict=True)):
        other = i if i != row else j
        possible = [k for k in range(count) if valid[k] and images[k] != images[row] and texts[k] != texts[row]]
        assert row in (i, j) and match == (i == j)
        assert match or other in possible


def test_negatives_are_drawn_in_proportion_to_the_softmax_of_similarity() -> None:
    torch.manual_seed(0)
    kinds, copies = 4, 500
    image, text = (F.normalize(torch.randn(kinds, 3), dim=1) for _ in range(2))
    scale, kind = torch.tensor([2.0]), torch.arange(kinds).repeat(copies)
    valid, seeds = torch.ones(len(kind), dtype=torch.bool), sample_seeds(0, range(len(kind)), kind.device)
    pairs = draw_pairs(image[kind], text[kind], scale, kind.repeat(2, 1), valid, seeds)
    rows = torch.arange(len(kind))
    similarity = (scale * image @ text.T).fill_diagonal_(-torch.inf)
    for index, logits in ((pairs.caption_index, similarity), (pairs.image_index, similarity.T)):
        drawn = index != rows
        assert drawn.sum() == pytest.approx(len(kind) / 3, rel=0.1)
        counts = torch.bincount(kind[drawn] * kinds + kind[index[drawn]], minlength=kinds**2).view(kinds, kinds)
        assert torch.allclose(counts / counts.sum(dim=1, keepdim=True), logits.softmax(dim=1), atol=0.1)
    assert pairs.is_match.sum() == pytest.approx(len(kind) / 3, rel=0.1)


def test_features_that_are_not_numbers_stop_no_drawing() -> None:
    image, keys = torch.full((4, 3), torch.nan), torch.arange(4).repeat(2, 1)
    pairs = draw_pairs(image, image, torch.tensor([1.0]), keys, torch.ones(4, dtype=torch.bool), torch.arange(4))
    assert ((pairs.image_index >= 0) & (pairs.image_index < 4)).all()


@settings(deadline=None)
@given(st.data(), st.integers(1, 6))
def test_rows_lie_where_the_places_say(data: st.DataObject, count: int) -> None:
    index = torch.tensor(data.draw(st.lists(st.integers(0, count - 1), min_size=count, max_size=count)))
    rows = torch.arange(2.0 * count).view(count, 2)
    bank, places = append_rows_of_others(rows, index)
    assert torch.equal(bank[:count], rows) and torch.equal(bank[places], rows[index])
    assert len(bank) == count + int((index != torch.arange(count)).sum())
