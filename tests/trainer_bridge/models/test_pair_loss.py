"""The losses of all pairs, and their gradients, are those of the plain formulas, and CLIP's is open_clip's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.models import pair_loss as module
from trainer_bridge.models.pair_loss import Features, pair_loss


def features(count: int, seed: int, sigmoid: bool, dtype: torch.dtype = torch.float64) -> Features:
    generator = torch.Generator().manual_seed(seed)
    image, text = (F.normalize(torch.randn(count, 5, generator=generator, dtype=dtype), dim=1) for _ in range(2))
    scale, bias = torch.tensor([9.0], dtype=dtype), torch.tensor([-3.0], dtype=dtype) if sigmoid else None
    return Features(*(None if x is None else x.requires_grad_() for x in (image, text, scale, bias)))


def plain(given: Features, valid: Tensor) -> Tensor:
    """The formulas of the papers, over the valid pairs."""
    logits = given.scale * given.image[valid] @ given.text[valid].T
    labels = torch.arange(len(logits))
    if given.bias is None:
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    signs = 2 * torch.eye(len(logits), dtype=logits.dtype) - 1
    return -F.logsigmoid(signs * (logits + given.bias)).sum() / len(logits)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 999), st.lists(st.booleans(), min_size=1, max_size=9).filter(any), st.booleans(), st.integers(1, 100))
def test_value_and_gradients_are_those_of_the_plain_formula(seed: int, mask: list[bool], sigmoid: bool, chunk: int) -> None:
    valid, pairs = torch.tensor(mask), features(len(mask), seed, sigmoid)
    inputs = [x for x in pairs if x is not None]
    expected = plain(pairs, valid)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        loss = pair_loss(pairs, valid).of(pairs)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-9)
    for ours, theirs in zip(torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-9)


@given(st.integers(1, 8), st.integers(1, 8), st.booleans())
@settings(deadline=None, max_examples=30)
def test_parts_add_up_to_the_whole(count: int, size: int, sigmoid: bool) -> None:
    pairs = features(count, count, sigmoid)
    inputs = [x for x in pairs if x is not None]
    whole = pair_loss(pairs, torch.ones(count, dtype=torch.bool))
    rows = [slice(start, start + size) for start in range(0, count, size)]
    parts = [whole.part(part).of(Features(pairs.image[part], pairs.text[part], pairs.scale, pairs.bias)) for part in rows]
    assert sum(part.item() for part in parts) == pytest.approx(whole.value.item())
    found = torch.autograd.grad(sum(parts, torch.zeros(())), inputs)
    assert all(torch.allclose(*pair) for pair in zip(found, torch.autograd.grad(whole.of(pairs), inputs), strict=True))


@pytest.mark.parametrize("sigmoid", [False, True])
def test_a_batch_without_a_valid_pair_has_no_loss_and_no_gradient(sigmoid: bool) -> None:
    pairs = features(4, 0, sigmoid, torch.float32)
    loss = pair_loss(pairs, torch.zeros(4, dtype=torch.bool)).of(pairs)
    gradients = torch.autograd.grad(loss, [x for x in pairs if x is not None])
    assert loss.item() == 0 and all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize("sigmoid", [False, True])
def test_logits_are_not_rounded_under_autocast(sigmoid: bool) -> None:
    pairs, valid = features(6, 1, sigmoid, torch.float32), torch.ones(6, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = pair_loss(pairs, valid)
    exact = pair_loss(pairs, valid)
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(rounded, exact, strict=True))


def test_the_losses_are_open_clips() -> None:
    define_missing_operators()
    from open_clip.loss import ClipLoss, SigLipLoss

    image, text, scale, _ = features(7, 2, False, torch.float32)
    valid = torch.ones(7, dtype=torch.bool)
    ours = pair_loss(Features(image, text, scale, None), valid).value.item()
    assert ours == pytest.approx(ClipLoss()(image, text, scale).item(), abs=1e-6)
    bias = torch.tensor([-2.0])
    ours = pair_loss(Features(image, text, scale, bias), valid).value.item()
    assert ours == pytest.approx(SigLipLoss()(image, text, scale, bias).item(), abs=1e-6)
