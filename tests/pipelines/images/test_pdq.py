"""PDQ of a fetched picture: that of its copies of other sizes and forms, and off where the settings say so."""

import io

import numpy as np
import pytest
from PIL import Image

from infra.benchmarks.tools.photographs import photograph
from pipelines.corpus.evaluation_hashing import picture_hashes
from pipelines.images.pdq import pdq_of_pixels
from pipelines.images.settings import ImageSettings
from sharding.decode import decode_picture
from tests.support.images import encoded, stored_of

BODIES = [photograph(seed) for seed in range(4)]
COPIES = {
    "a quarter": lambda image: image.resize((128, 128), Image.Resampling.LANCZOS),
    "twice": lambda image: image.resize((1024, 1024), Image.Resampling.BICUBIC),
    "stretched": lambda image: image.resize((300, 420), Image.Resampling.BICUBIC),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "brighter": lambda image: image.point(lambda value: value * 1.1),
    "quality 30": lambda image: decode_picture(encoded(image, "JPEG", quality=30)),
}


def bits_between(first: str, second: str) -> int:
    return (int(first, 16) ^ int(second, 16)).bit_count()


@pytest.mark.parametrize("copy", COPIES)
def test_copies_have_nearly_the_same_hash(copy: str) -> None:
    for body in BODIES:
        image = decode_picture(body)
        hashes = [pdq_of_pixels(np.asarray(each))[0].hex() for each in (image, COPIES[copy](image))]
        assert bits_between(*hashes) <= 20


@pytest.mark.parametrize("resize", ["keep", "shorter_side", "centre_crop"])
@pytest.mark.parametrize("size", [64, 200, 512])
def test_a_stored_picture_has_the_hash_that_an_evaluation_set_has_of_it(resize: str, size: int) -> None:
    for body in BODIES:
        stored = stored_of(body, ImageSettings(size=size, resize=resize))
        _, digest, quality = picture_hashes(decode_picture(body))
        assert stored.pdq is not None and bits_between(stored.pdq, digest.hex()) <= 16 and stored.pdq_quality >= 50 <= quality


def test_other_pictures_have_other_hashes_and_a_flat_one_no_quality() -> None:
    hashes = [pdq_of_pixels(np.asarray(decode_picture(body)))[0].hex() for body in BODIES]
    assert min(bits_between(a, b) for place, a in enumerate(hashes) for b in hashes[:place]) > 60
    assert stored_of(encoded(Image.new("RGB", (300, 200), "red"), "PNG"), ImageSettings()).pdq_quality == 0


def test_the_setting_turns_it_off() -> None:
    stored = stored_of(BODIES[0], ImageSettings(pdq=False))
    assert (stored.pdq, stored.pdq_quality) == (None, None)
    assert Image.open(io.BytesIO(stored.data)).size == (512, 512)
