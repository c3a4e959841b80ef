"""Which samples have the same picture is known after their bytes are gone."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sharding import Sample
from tests.support.shards import IMAGE, write_dataset
from trainer_bridge.data.batch import content_key, slices
from trainer_bridge.data.loader import Loader


@given(st.lists(st.binary(max_size=3), min_size=2, max_size=2))
def test_keys_are_equal_where_contents_are(contents: list[bytes]) -> None:
    first, second = (content_key(content) for content in contents)
    assert (first == second) == (contents[0] == contents[1]) and 0 <= first < 1 << 63


def test_a_batch_tells_which_samples_have_one_picture(tmp_path: Path) -> None:
    samples = [Sample(number, IMAGE % (number % 3), f"caption {number}", b"{}") for number in range(8)]
    dataset = write_dataset(tmp_path, {"train": [samples]})
    batch = Loader(dataset, "train", 8, lambda image, rng: np.zeros((3, 2, 2), np.uint8), 0).load(0)
    pictures = [number % 3 for number in batch.sample_ids]
    same = np.equal.outer(batch.image_keys, batch.image_keys)
    assert np.array_equal(same, np.equal.outer(pictures, pictures))
    assert [part.image_keys for part in batch.split(3)] == [batch.image_keys[rows] for rows in slices(8, 3)]
