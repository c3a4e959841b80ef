"""The loader's sequence of samples does not depend on stops or on the number of ranks."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.shards import IMAGE, numbered_dataset
from trainer_bridge.data.loader import Loader


@settings(max_examples=15)
@given(st.integers(1, 3), st.integers(0, 5), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]))
def test_the_sequence_of_samples_does_not_depend_on_stops_or_world_size(
    tmp_path_factory: pytest.TempPathFactory, seed: int, stop: int, before: int, after: int
) -> None:
    dataset = numbered_dataset(tmp_path_factory.mktemp("shards"), [7, 9, 4])
    batch, steps = 8, 7

    def transform(image: bytes, generator: np.random.Generator) -> np.ndarray:
        return np.array([[[int(image.split()[-1]), int(generator.integers(1 << 30))]]])

    def sequence(first: int, last: int, world: int) -> list:
        ranks = [Loader(dataset, "train", batch, transform, seed, rank, world) for rank in range(world)]
        samples = []
        for step in range(first, last):
            for loader in ranks:
                share = loader.load(step)
                samples += list(zip(share.sample_ids, share.captions, share.pixels.flatten(1).tolist(), strict=True))
        return samples

    undisturbed = sequence(0, steps, 1)
    assert sequence(0, min(stop, steps), before) + sequence(min(stop, steps), steps, after) == undisturbed


def test_batches_are_those_of_load_and_a_fault_is_counted(tmp_path: Path) -> None:
    dataset = numbered_dataset(tmp_path, [16])

    def transform(image: bytes, generator: np.random.Generator) -> np.ndarray:
        if image == IMAGE % 3:
            raise ValueError("not a picture")
        return np.zeros((3, 2, 2), np.uint8)

    loader = Loader(dataset, "train", 8, transform, 0)
    batches = list(loader.batches(0, 2))
    assert [b.sample_ids for b in batches] == [loader.load(s).sample_ids for s in range(2)]
    assert sum(b.faults for b in batches) == 1
    assert all(len(b.captions) == len(b.pixels) == 8 for b in batches)


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not divide among 3 ranks"):
        Loader(numbered_dataset(tmp_path, [9]), "train", 8, lambda image, generator: np.zeros(1), 0, 0, 3)
