"""Pictures of an evaluation set → pixels, read and decoded by threads while the device works on those before.

They are decoded whole and resized bicubically, as the released evaluation of InternVL does: for retrieval the whole picture, its
ratio not kept; for classification the central square.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sharding.decode import decode_picture
from trainer_bridge.data.settings import cores_of_rank
from trainer_bridge.evaluation.evaluation_set import EvaluationSet

NAMED = 20  # faults that are written to stderr, on each rank

Resize = Callable[[Image.Image, int], np.ndarray]


def whole(image: Image.Image, size: int) -> np.ndarray:
    """The whole picture, its ratio not kept: uint8[3, size, size]."""
    return np.array(image.resize((size, size), Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def center(image: Image.Image, size: int) -> np.ndarray:
    """The central square of the picture when its shorter side has been resized: uint8[3, size, size]."""
    shorter = min(image.size)
    width, height = (size * side // shorter for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.array(resized.crop((left, top, left + size, top + size))).transpose(2, 0, 1)


class Decoded:
    """The pictures of an evaluation set as pixels; counts those that cannot be read or decoded, and names the first."""

    def __init__(self, data: EvaluationSet, resize: Resize, size: int) -> None:
        self.data, self.resize, self.size, self.faults = data, resize, size, 0

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        """(pixels uint8[B, 3, S, S], valid bool[B]) of the pictures of each batch; one that is not valid is black."""
        with ThreadPoolExecutor(cores_of_rank(), "decode") as decoders, ThreadPoolExecutor(1, "read") as ahead:

            def load(numbers: np.ndarray) -> list[np.ndarray | Exception]:
                return list(decoders.map(self._decoded, self.data.read(numbers.tolist())))

            waiting = [ahead.submit(load, numbers) for numbers in batches[:1]]
            for i in range(len(batches)):
                pictures = waiting.pop().result()
                waiting += [ahead.submit(load, numbers) for numbers in batches[i + 1 : i + 2]]
                yield self._stacked(pictures)

    def _decoded(self, image: bytes | Exception) -> np.ndarray | Exception:
        if isinstance(image, Exception):
            return image
        try:
            return self.resize(decode_picture(image), self.size)
        except ValueError as error:
            return error

    def _stacked(self, pictures: Sequence[np.ndarray | Exception]) -> tuple[Tensor, Tensor]:
        black = np.zeros((3, self.size, self.size), np.uint8)
        faults = [picture for picture in pictures if isinstance(picture, Exception)]
        for fault in faults[: max(0, NAMED - self.faults)]:
            sys.stderr.write(f"evaluation skipped a picture: {fault}\n")
        self.faults += len(faults)
        pixels = np.stack([black if isinstance(picture, Exception) else picture for picture in pictures])
        return torch.from_numpy(pixels), torch.tensor([not isinstance(picture, Exception) for picture in pictures])
