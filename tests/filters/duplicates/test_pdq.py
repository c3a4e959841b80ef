"""PDQ is that of the reference implementation, of no size, and of no processor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.duplicates.pdq import COSINES, compiled, pdq, pdq_by_numpy

# (seed, height, width, levels, quality, hash) of `blocks`, by pdqhash 0.2.8, the Python binding of the reference implementation.
VECTORS = [
    (0, 512, 512, 256, 100, "b30571a38d14bb67bcfe810371503de235c09f9761bbff1ccec04c98ab61b225"),
    (1, 300, 200, 256, 100, "259f2490694b2c5913bbfb0584f253ece3c1dc0f83f6a49714b323d827d5ecc6"),
    (3, 130, 90, 256, 100, "1d8e19ccaa55a9d454aa562bb954562b55aae673e271c1e899cc572b3c9e994c"),
    (4, 511, 37, 256, 100, "326632663266c999cd99c999cd99cd993266cd993266c9993266cd99cd99c999"),
    (5, 400, 500, 20, 41, "2ec9e4a4b1fe89e3641902acfc367bd8d9c429b126d8dbe351a57ebdc0386470"),
    (6, 480, 360, 8, 6, "5c122f83747d10f9b491b8af639e61b1a7e0a5f766ee92be41004d3557a1e874"),
    (7, 300, 333, 2, 0, "2db18c0f13f76d374c66a6c4d434a0607c8e0b97d19ed836f4f4552648fb853e"),
]


def blocks(seed: int, height: int, width: int, levels: int) -> np.ndarray:
    """Blocks of 12 × 20 pixels in random colours: uint8[height, width, 3]."""
    colours = np.random.default_rng(seed).integers(0, levels, (-(-height // 12), -(-width // 20), 3))
    return np.kron(colours, np.ones((12, 20, 1), np.int64))[:height, :width].astype(np.uint8)


@pytest.mark.parametrize(("seed", "height", "width", "levels", "quality", "expected"), VECTORS)
def test_the_reference_vectors_are_reproduced(
    seed: int, height: int, width: int, levels: int, quality: int, expected: str
) -> None:
    digest, own_quality = pdq(blocks(seed, height, width, levels))
    assert (digest.hex(), own_quality) == (expected, quality)


def test_half_of_the_bits_are_set_and_a_flat_or_tiny_picture_has_no_quality() -> None:
    digest, _ = pdq(blocks(8, 200, 300, 256))
    assert int.from_bytes(digest).bit_count() == 128
    assert pdq(np.full((100, 80, 3), 7, np.uint8))[1] == 0
    assert pdq(np.zeros((4, 600, 3), np.uint8)) == (bytes(32), 0)


@pytest.mark.parametrize("times", [2, 3, 4])
def test_at_one_side_a_picture_and_its_copy_of_another_size_have_the_same_hash(times: int) -> None:
    small = blocks(9, 128, 128, 256)
    large = small.repeat(times, axis=0).repeat(times, axis=1)
    hashes = [int.from_bytes(pdq(pixels, 512)[0]) for pixels in (small, large)]
    assert (hashes[0] ^ hashes[1]).bit_count() <= (0 if 512 % (128 * times) == 0 else 8)


@pytest.mark.skipif(compiled is None, reason="installed without a C compiler")
@given(st.integers(0, 99), st.integers(1, 200), st.integers(1, 200), st.sampled_from([1, 4, 256]), st.sampled_from([0, 64, 300]))
def test_compiled_and_numpy_give_the_same_bits(seed: int, height: int, width: int, levels: int, side: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, levels, (height, width, 3), np.uint8)
    assert pdq(pixels, side) == pdq_by_numpy(pixels, side)
    assert pdq(pixels[::-1, ::-1], side) == pdq_by_numpy(pixels[::-1, ::-1], side)


@pytest.mark.skipif(compiled is None, reason="installed without a C compiler")
def test_the_compiled_hash_reads_nothing_outside_the_picture() -> None:
    axis, tall = (np.zeros(64, np.int32), np.ones((64, 8), np.float32)), (np.full(64, -1, np.int32), np.ones((64, 8), np.float32))
    for arguments in (
        (bytes(11), 2, 2, axis, axis, COSINES),  # not 3 bytes a pixel
        (bytes(3 * 7 * 8), 7, 8, axis, axis, COSINES),  # 8 taps of 7 rows
        (bytes(3 * 8 * 8), 8, 8, tall, axis, COSINES),  # begins before the first row
        (bytes(3 * 8 * 8), 8, 8, axis, (axis[0][:63], axis[1]), COSINES),
        (bytes(3 * 8 * 8), 8, 8, axis, axis, axis),  # 64 frequencies instead of 16
    ):
        with pytest.raises(ValueError, match="picture"):
            compiled.pdq(*arguments)
