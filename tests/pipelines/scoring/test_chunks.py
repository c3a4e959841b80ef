"""A score that is no number is NULL, whatever the model gave."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.manifest.join import read_family
from pipelines.manifest.pictures import StoredPicture
from pipelines.manifest.selection import WITH_PICTURE
from pipelines.runtime.picture_chunks import distinct_pictures, pending_samples
from pipelines.scoring.chunks import LoadedScores, score_chunk
from tests.support.pictured import PART, pictured


def test_scores_that_are_none_are_null_of_pictures_and_of_captions(tmp_path: Path) -> None:
    storage = pictured(tmp_path / "root")
    samples = pending_samples(storage, PART, read_family(storage, PART, "scores"), WITH_PICTURE, ["caption"]).slice(0, 4)
    pictures, picture_of = distinct_pictures(samples)
    assert all(isinstance(picture, StoredPicture) for picture in pictures)

    def model(batch) -> np.ndarray:
        return np.array([np.nan, np.inf, -np.inf, 0.5][: len(batch.captions or batch.pictures)], np.float32)

    loaded = LoadedScores(None, of_pictures={"aesthetic": model}, of_captions={"mine": model}, batch=8)
    scores = score_chunk(storage, pictures, picture_of, samples["caption"].to_pylist(), loaded, lambda first, last: None)
    assert scores["mine"].to_pylist() == [None, None, None, 0.5]
    assert scores["aesthetic"].null_count == 4


def test_a_bad_picture_fails_alone_with_its_reason(tmp_path: Path) -> None:
    storage = pictured(tmp_path / "root")
    samples = pending_samples(storage, PART, read_family(storage, PART, "scores"), WITH_PICTURE, ["caption"])
    pictures, picture_of = distinct_pictures(samples)
    pictures[1] = pictures[1]._replace(tar="images/gone.tar")
    pictures[2] = pictures[2]._replace(checksum=1)
    pictures[3] = pictures[3]._replace(offset=1 << 30)
    clip = NoClip(bad=(255, 0, 0))
    loaded = LoadedScores(clip, of_captions={"mine": lambda batch: batch.of_captions[:, 0]}, keeps_images=False, batch=3)
    table = score_chunk(storage, pictures, picture_of, ["a"] * len(samples), loaded, lambda first, last: None)
    reasons = dict(zip(picture_of, table["error"].to_pylist(), strict=True))
    assert reasons == {0: "not_finite", 1: "missing", 2: "changed", 3: "changed", 4: "undecodable"}
    assert [value for value in table["mine"].to_pylist() if value is not None] == [1.0] * picture_of.count(0)


def test_an_error_that_may_pass_fails_the_part_and_not_the_picture(tmp_path: Path) -> None:
    storage = pictured(tmp_path / "root")
    loaded = LoadedScores(None, keeps_images=False)
    place = StoredPicture("images", 0, 10)  # a folder: its bytes cannot be read, but it is there
    with pytest.raises(OSError):
        score_chunk(storage, [place], [0], ["a"], loaded, lambda first, last: None)


class NoClip:
    """A CLIP whose embedding of a picture is its colour, and of one colour no number."""

    needed, preprocessing = 0, "none"

    def __init__(self, bad: tuple[int, int, int]) -> None:
        self.bad = bad

    def prepare(self, pixels: np.ndarray, /) -> np.ndarray:
        return pixels[0, 0].astype(np.float32)

    def tokenise(self, caption: str, /) -> np.ndarray:
        return np.ones(1, np.int64)

    def embed_pixels(self, pixels) -> np.ndarray:
        vectors = np.stack(pixels)
        vectors[np.abs(vectors - self.bad).max(axis=1) < 9] = np.nan
        return vectors

    def embed_tokens(self, tokens) -> np.ndarray:
        return np.ones((len(tokens), 3), np.float32)
