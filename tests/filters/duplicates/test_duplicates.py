"""The search for copies gives what an exhaustive comparison gives, in any order of rows."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.duplicates import index
from filters.duplicates.hashes import PICTURE_HASH, caption_key, without_brightness
from filters.duplicates.index import keep_first, pairs_within
from infra.benchmarks.tools.photographs import photograph
from sharding.decode import decode_picture

near_hashes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**10 - 1)), max_size=40)


def exhaustive(keys: np.ndarray, hashes: np.ndarray, distance: int) -> set[tuple[int, int]]:
    return {
        (i, j)
        for j in range(len(keys))
        for i in range(j)
        if keys[i] == keys[j] and int(hashes[i] ^ hashes[j]).bit_count() <= distance
    }


@settings(deadline=None)
@given(near_hashes, st.integers(0, 6), st.booleans())
def test_pairs_are_those_of_an_exhaustive_comparison(rows: list, distance: int, banded: bool) -> None:
    keys = np.array([key for key, _ in rows], dtype=np.uint64)
    # Spread over the word, so that every band sees some of the bits.
    hashes = np.array([int(f"{value:010b}", 2) * 0x0041041041041041 & (2**64 - 1) for _, value in rows], dtype=np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "LARGE_GROUP", 3 if banded else 4096)
        first, second = pairs_within(keys, hashes, distance)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == exhaustive(keys, hashes, distance)


@settings(deadline=None)
@given(near_hashes, st.integers(0, 6), st.randoms())
def test_every_copy_is_near_its_kept_row_and_no_two_kept_rows_are_near(rows: list, distance: int, chance) -> None:
    keys = np.array([key for key, _ in rows], dtype=np.uint64)
    hashes = np.array([value for _, value in rows], dtype=np.uint64)
    pairs = list(zip(*(part.tolist() for part in pairs_within(keys, hashes, distance)), strict=True))
    chance.shuffle(pairs)
    first, second = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    copy_of = keep_first(first, second, len(rows))
    near = exhaustive(keys, hashes, distance)
    for row, kept in enumerate(copy_of.tolist()):
        if kept >= 0:
            assert (kept, row) in near and copy_of[kept] < 0
    kept_rows = np.flatnonzero(copy_of < 0).tolist()
    assert not any((i, j) in near for i in kept_rows for j in kept_rows)


def test_equal_words_have_one_key_whatever_their_case_width_and_punctuation() -> None:
    texts = ["A  red fox.", "a red fox", "A RED FOX!", "Ａ red—fox", "a red foxes"]
    keys = caption_key(pa.chunked_array([texts])).to_pylist()
    assert len(set(keys[:4])) == 1 and keys[4] != keys[0]
    assert caption_key(pa.chunked_array([["红色，狐狸。"]])).to_pylist() == ["红色 狐狸"]


# phash of `photograph(seed)`, seed 0, 1, …, by ImageHash 4.3.2. COYO's hashes, in all rows of its README, too have 32 bits set,
# the first among them.
IMAGE_HASHES = ["9f59f29499ac21c6", "bd851d696a99f026", "b5c8aa32ad95a7e0", "859ef24ff2307c21"]


def test_the_hash_is_that_of_imagehash_without_the_bit_of_brightness() -> None:
    published = without_brightness(pa.chunked_array([[int(digits, 16) for digits in IMAGE_HASHES]], pa.uint64())).to_numpy()
    ours = PICTURE_HASH.of_images([decode_picture(photograph(seed)) for seed in range(len(IMAGE_HASHES))])
    assert np.bitwise_count(published ^ ours).max() <= 2
