"""Random numbers of a sample: a function of its seed and of what they are drawn for, not of the batch, rank or step it lies in.

torch's generators give a batch its numbers in turn, so that a sample's would depend on the samples before it on the same rank.
Here each number is a hash of (seed, place): the finaliser of SplitMix64, on integers that wrap around. Source: Steele et al.,
OOPSLA 2014.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # as torch's signed integers have it
FACTORS = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))
LAST_SHIFT = 31
BITS = 24  # of a float32's fraction


def sample_seeds(seed: int, positions: Sequence[int], device: torch.device) -> Tensor:
    """The seeds int64[B] of samples at positions in the order of training."""
    return _mixed(_mixed(torch.tensor(seed, device=device)) + torch.tensor(positions, device=device))


def seeds_of(place: int, seeds: Tensor) -> Tensor:
    """Other seeds int64[B], for one of several places that draw numbers."""
    return _mixed(seeds + place)


def uniform(seeds: Tensor, count: int) -> Tensor:
    """Numbers float32[B, count] in 0 … 1, 1 excluded."""
    bits = _mixed(seeds[:, None] + torch.arange(1, count + 1, device=seeds.device) * GOLDEN)
    return _shifted(bits, 64 - BITS).float() / 2**BITS


def _mixed(x: Tensor) -> Tensor:
    for shift, factor in FACTORS:
        x = (x ^ _shifted(x, shift)) * factor
    return x ^ _shifted(x, LAST_SHIFT)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """X >> bits with zeros from the left; torch's own shift repeats the sign."""
    return (x >> bits) & (2 ** (64 - bits) - 1)
