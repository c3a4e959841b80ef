"""Descriptors of pictures: vectors whose cosine stays high where a copy was cropped, captioned, marked or mirrored.

The strengths of edges in eight directions are averaged over a coarse grid, at two scales, with a little of brightness and colour;
of each value and that of the mirrored picture the mean and the difference without its sign are kept, so a mirrored copy has the
same. A linear projection, fitted to drawn scenes and changed copies of them (`python -m infra.train_models copies`), keeps the
directions in which pictures differ more than copies of one picture do. It finds candidates; `alignment.py` judges them.

Source of the projection: Fisher's linear discriminant, whitened within classes; of the edges: Dalal and Triggs, Histograms of
Oriented Gradients for Human Detection (2005).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from filters.duplicates.alignment import LUMA, SIDE

PATH = Path(__file__).with_name("descriptors.safetensors")
SIZE = 128  # numbers of a descriptor
DIRECTIONS = 8
SHARPNESS = 0.6  # cosine with a direction from which on an edge counts for it
CELLS, COARSE_CELLS, COLOUR_CELLS = 8, 6, 4  # along an axis
AROUND = 9  # pixels over which edges are compared
NOISE = 0.02  # strength of edges, of values 0 … 1, that is none


def descriptors(thumbnails: np.ndarray) -> np.ndarray:
    """The L2-normalised descriptors float32[N, SIZE] of thumbnails uint8[N, SIDE, SIDE, 3]."""
    mean, projection = _fitted()
    projected = (features(thumbnails) - mean) @ projection
    normalised: np.ndarray = projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-9)
    return normalised


def features(thumbnails: np.ndarray) -> np.ndarray:
    """What is projected, float32[N, F], of thumbnails uint8[N, SIDE, SIDE, 3]."""
    pixels = thumbnails.astype(np.float32) / 255
    grey = pixels @ LUMA
    halves = grey.reshape(-1, SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4))
    found = [_without_side(_edges(image, cells), True) for image, cells in ((grey, CELLS), (halves, COARSE_CELLS))]
    low = _averaged(grey, CELLS)
    low = low - low.mean(axis=(1, 2), keepdims=True)
    low = 0.3 * low / (low.std(axis=(1, 2), keepdims=True) + 0.03)
    colour = [3 * _averaged(pixels[..., place] - grey, COLOUR_CELLS) for place in (0, 2)]
    found += [_without_side(each[:, None], False) for each in (low, *colour)]
    return np.concatenate(found, axis=1)


def _edges(grey: np.ndarray, cells: int) -> np.ndarray:
    """The strength of edges in each direction, compared with those around: float32[N, DIRECTIONS, cells, cells]."""
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    right, down = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    strength = np.sqrt(right**2 + down**2 + 1e-8)
    around = _blurred(_blurred(strength)) + NOISE
    angles = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
    along = [
        np.maximum(0, right * np.float32(np.cos(angle)) + down * np.float32(np.sin(angle)) - SHARPNESS * strength)
        for angle in angles
    ]
    return np.stack([_averaged(np.sqrt(each / (1 - SHARPNESS) / around), cells) for each in along], axis=1)


def _without_side(values: np.ndarray, directed: bool) -> np.ndarray:
    """Values[N, C, Y, X] as float32[N, 2 C Y X] that are the same of the mirrored picture; `directed` ones turn with it."""
    mirrored = values[..., ::-1]
    if directed:
        mirrored = mirrored[:, [(DIRECTIONS // 2 - place) % DIRECTIONS for place in range(DIRECTIONS)]]
    both = np.stack([(values + mirrored) / 2, np.abs(values - mirrored) / 2], axis=1)
    return both.reshape(len(values), -1)


def _averaged(values: np.ndarray, cells: int) -> np.ndarray:
    """Values[N, S, S] averaged by overlapping triangles: float32[N, cells, cells]."""
    weights = _triangles(values.shape[1], cells)
    averaged: np.ndarray = weights @ values @ weights.T
    return averaged


@lru_cache(8)
def _triangles(side: int, cells: int) -> np.ndarray:
    centres = (np.arange(cells) + 0.5) * side / cells
    weights = np.maximum(0, 1 - np.abs(np.arange(side) + 0.5 - centres[:, None]) / (side / cells))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _blurred(values: np.ndarray) -> np.ndarray:
    """The mean of values[N, S, S] around each, of those there are."""
    weights = _around(values.shape[1])
    blurred: np.ndarray = weights @ values @ weights.T
    return blurred


@lru_cache(8)
def _around(side: int) -> np.ndarray:
    near = np.abs(np.arange(side)[:, None] - np.arange(side)) <= AROUND // 2
    return np.asarray(near / near.sum(axis=1, keepdims=True), np.float32)


@lru_cache(1)
def _fitted() -> tuple[np.ndarray, np.ndarray]:
    """The mean float32[F] and the projection float32[F, SIZE]."""
    fitted = load_file(PATH)
    return fitted["mean"].astype(np.float32), fitted["projection"].astype(np.float32)
