"""LAION's heads compute what their modules of PyTorch compute, and other weights are not taken for one."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from filters.scores.heads import AESTHETIC, UNSAFE, head_of


def stack(widths: list[int], relus: bool) -> list[nn.Module]:
    """Linear layers with dropout, and ReLUs, between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), *([nn.ReLU()] if relus else []), nn.Dropout(0.2)]
    return layers


class Layers(nn.Module):
    """A head whose weights are named layers.N."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, D] → [N, 1]."""
        return self.layers(x)


class Keras(nn.Module):
    """The unsafe detector as converted from Keras."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.norm = nn.Module()
        self.norm.register_buffer("mean", torch.randn(widths[0]) / 10)
        self.norm.register_buffer("variance", torch.rand(widths[0]) + 0.1)
        self.count = len(widths) - 1
        for number, (inputs, outputs) in enumerate(pairwise(widths), 1):
            setattr(self, f"linear_{number}", nn.Linear(inputs, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, D] → [N, 1]."""
        x = (x - self.norm.mean) / self.norm.variance.sqrt()
        for number in range(1, self.count):
            x = getattr(self, f"linear_{number}")(x).relu()
        return getattr(self, f"linear_{self.count}")(x).sigmoid()


HEADS = {
    "linear": (nn.Linear(512, 1), AESTHETIC),
    "mlp": (Layers(*stack([768, 1024, 128, 64], relus=False), nn.Linear(64, 16), nn.Linear(16, 1)), AESTHETIC),
    "unsafe B/32": (Keras([512, 32, 32, 1]), UNSAFE),
    "unsafe L/14": (Keras([768, 64, 512, 256, 1]), UNSAFE),
    "unsafe H/14": (Layers(*stack([1024, 1024, 2048, 1024, 256, 128], relus=True), nn.Linear(128, 16), nn.Linear(16, 1)), UNSAFE),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_the_module_it_was_saved_from(name: str) -> None:
    module, kind = HEADS[name]
    state = {key: value.numpy() for key, value in module.state_dict().items()}
    head = head_of(state, kind)
    assert head is not None and head_of(state, UNSAFE if kind == AESTHETIC else AESTHETIC) is None
    vectors = torch.nn.functional.normalize(torch.randn(7, head.width), dim=1)
    with torch.inference_mode():
        expected = module.eval()(vectors)[:, 0].numpy()
    assert head(vectors.numpy()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"weight": np.ones((1, 4))},
        {"weight": np.ones((2, 4)), "bias": np.ones(2)},
        {"weight": np.ones((1, 4)), "bias": np.ones(1), "more": np.ones(1)},
        {
            "layers.0.weight": np.ones((3, 4)),
            "layers.0.bias": np.ones(3),
            "layers.2.weight": np.ones((1, 2)),
            "layers.2.bias": np.ones(1),
        },
    ],
)
def test_other_weights_are_no_head(state: dict[str, np.ndarray]) -> None:
    assert head_of(state, AESTHETIC) is None and head_of(state, UNSAFE) is None
