"""One bad picture among good ones fails alone, with its reason; the scores of the others are those without it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from filters.scores.batches import Batches
from pipelines.manifest.pictures import StoredPicture, checksum_of
from pipelines.manifest.storage import Storage
from pipelines.scoring.chunks import LoadedScores, score_chunk
from tests.support.images import encoded, smooth
from tests.support.mutants import flat_webp

GOOD = [encoded(smooth(20 + 9 * number, 40).rotate(90 * number), "JPEG") for number in range(6)]
NOT_A_NUMBER = encoded(Image.new("RGB", (30, 30), "red"), "PNG")
SECRET = np.random.default_rng(5).normal(size=(3 * 64, 8)).astype(np.float32)


def bomb() -> bytes:
    """A JPEG of some kilobytes whose header says 65 500 pixels a side."""
    body = bytearray(encoded(Image.new("L", (16, 16)), "JPEG"))
    at = body.index(b"\xff\xc0") + 5
    body[at : at + 4] = (65500).to_bytes(2, "big") * 2
    return bytes(body)


def cut(body: bytes) -> bytes:
    return body[: len(body) // 2]


# name → the file, and the reason that it has no scores; None where it is a picture like others
POISON: dict[str, tuple[bytes, str | None]] = {
    "text": (b"<html>gone</html>", "undecodable"),
    "empty": (b"", "undecodable"),
    "cut PNG": (cut(encoded(smooth(90, 90), "PNG")), "undecodable"),
    "cut WebP": (cut(encoded(smooth(90, 90), "WEBP")), "undecodable"),
    "bomb JPEG": (bomb(), "undecodable"),
    "bomb WebP": (flat_webp(16384), "undecodable"),
    "not a number": (NOT_A_NUMBER, "not_finite"),
    "one pixel": (encoded(Image.new("RGB", (1, 1), "blue"), "PNG"), None),
    "long line": (encoded(Image.new("RGB", (3000, 1), "blue"), "PNG"), None),
    "CMYK": (encoded(smooth(30, 30).convert("CMYK"), "JPEG"), None),
    "16 bits": (encoded(Image.fromarray(np.full((9, 9), 40_000, np.uint16)), "PNG"), None),
    "animated": (encoded(smooth(30, 30), "GIF", save_all=True, append_images=[smooth(30, 30).rotate(90)]), None),
}


class SmallClip:
    """Projects the 8 x 8 pixels of a picture; of a plain red one the embedding is no number. Memory holds `fits` pictures."""

    needed, preprocessing = 0, "none"

    def __init__(self, fits: int) -> None:
        self.fits = fits

    def prepare(self, pixels: np.ndarray, /) -> np.ndarray:
        return np.asarray(Image.fromarray(pixels).resize((8, 8)))

    def tokenise(self, caption: str, /) -> np.ndarray:
        return np.ones(1, np.int64)

    def embed_pixels(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        if len(pixels) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        flat = np.stack(pixels).reshape(len(pixels), -1).astype(np.float32)
        vectors = flat @ SECRET
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[(flat == np.tile([255, 0, 0], 64)).all(axis=1)] = np.nan
        return vectors

    def embed_tokens(self, tokens: Sequence[np.ndarray]) -> np.ndarray:
        if len(tokens) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return np.ones((len(tokens), 8), np.float32)


def scored(folder: pytest.TempPathFactory, bodies: Sequence[bytes], batch: int, fits: int) -> pa.Table:
    """The scores of pictures that lie one behind the other in a file."""
    root = folder.mktemp("pictures")
    (root / "pictures").write_bytes(b"".join(bodies))
    ends = np.cumsum([len(body) for body in bodies]).tolist()
    pictures = [
        StoredPicture("pictures", end - len(body), len(body), checksum_of(body)) for end, body in zip(ends, bodies, strict=True)
    ]
    loaded = LoadedScores(
        SmallClip(fits),
        of_pictures={"aesthetic": lambda found: found.embeddings[:, 0]},
        of_captions={"clip_similarity": lambda found: (found.embeddings * found.of_captions).sum(axis=1)},
        keeps_images=False,
        batch=batch,
        batches=Batches(batch),
    )
    return score_chunk(Storage(str(root)), pictures, range(len(bodies)), ["a"] * len(bodies), loaded, lambda first, last: None)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The scores of the good pictures, one at a time."""
    return scored(tmp_path_factory, GOOD, 1, 1)


@settings(max_examples=60)
@given(st.sampled_from(sorted(POISON)), st.integers(0, len(GOOD)), st.integers(1, 9), st.integers(1, 9))
def test_a_poisoned_picture_fails_alone(
    tmp_path_factory: pytest.TempPathFactory, alone: pa.Table, kind: str, place: int, batch: int, fits: int
) -> None:
    poison, reason = POISON[kind]
    table = scored(tmp_path_factory, [*GOOD[:place], poison, *GOOD[place:]], batch, fits)
    others = pa.concat_tables([table.slice(0, place), table.slice(place + 1)])
    assert table["error"][place].as_py() == reason and others["error"].null_count == len(GOOD)
    for name in ("aesthetic", "clip_similarity"):
        assert others[name].to_pylist() == pytest.approx(alone[name].to_pylist(), abs=1e-3)
        assert table[name][place].is_valid == (reason is None)


@pytest.mark.parametrize("kind", sorted(POISON))
def test_every_kind_is_met_in_the_middle_of_a_batch(tmp_path_factory: pytest.TempPathFactory, kind: str) -> None:
    table = scored(tmp_path_factory, [*GOOD[:3], POISON[kind][0], *GOOD[3:]], 8, 8)
    assert table["error"].to_pylist() == [None] * 3 + [POISON[kind][1]] + [None] * 3
