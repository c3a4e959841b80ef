"""Products by oneDNN are those of MKL but for rounding, whatever lies in memory; elsewhere nothing changes."""

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from infra.compat import cpu_products
from infra.compat.cpu_products import SMALLEST, use_onednn

LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.t().contiguous().t(),
    "part of a larger one": lambda x: torch.cat([x, x], dim=1)[:, : x.shape[1]],
    "every second row": lambda x: x.repeat_interleave(2, dim=0)[::2],
    "one row many times": lambda x: x[:1].expand(x.shape),
}
SIDE = round(SMALLEST ** (1 / 3))


@pytest.fixture(autouse=True, scope="module")
def restored() -> Iterator[None]:
    """Leaves torch as it was found."""
    use_onednn()
    yield
    for library in cpu_products._library:
        library._destroy()
    cpu_products._library.clear()
    use_onednn.cache_clear()


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.tuples(*[st.sampled_from([0, 1, SIDE, 2 * SIDE + 1, 300])] * 3),
    layouts=st.tuples(*[st.sampled_from(sorted(LAYOUTS))] * 2),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_products_are_those_of_float64(
    sizes: tuple[int, int, int], layouts: tuple[str, str], seed: int, dtype: torch.dtype
) -> None:
    rows, inner, columns = sizes
    generator = torch.Generator().manual_seed(seed)
    a, b = (
        LAYOUTS[layout](torch.randn(shape, generator=generator)).to(dtype)
        for layout, shape in zip(layouts, ((rows, inner), (inner, columns)), strict=True)
    )
    bias = torch.randn(columns, generator=generator).to(dtype)
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-10, torch.bfloat16: 1.0}[dtype]
    exact = a.double() @ b.double()
    assert torch.allclose((a @ b).double(), exact, atol=tolerance)
    assert torch.allclose(torch.addmm(bias, a, b).double(), exact + bias.double(), atol=tolerance)
    assert torch.allclose(torch.addmm(bias, a, b, beta=2, alpha=3).double(), 3 * exact + 2 * bias.double(), atol=4 * tolerance)


def test_gradients_of_a_linear_layer_are_those_of_float64() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(*shape) for shape in ((4, 50, 96), (192, 96), (192,))]
    gradients = []
    for dtype in (torch.float32, torch.float64):
        x, weight, bias = (tensor.to(dtype, copy=True).requires_grad_() for tensor in inputs)
        F.linear(x, weight, bias).square().sum().backward()
        gradients.append([tensor.grad for tensor in (x, weight, bias)])
    for single, double in zip(*gradients, strict=True):
        assert single is not None and double is not None
        assert torch.allclose(single.double(), double, rtol=1e-4, atol=1e-2)


def test_equal_products_have_equal_bits() -> None:
    a, b = torch.randn(300, 200), torch.randn(200, 100)
    assert torch.equal(a @ b, a.clone() @ b.clone())


def test_processors_of_intel_keep_their_library(monkeypatch: pytest.MonkeyPatch) -> None:
    use_onednn.cache_clear()
    monkeypatch.setattr(cpu_products, "_is_of_intel", lambda: True)
    assert not use_onednn()
    use_onednn.cache_clear()
