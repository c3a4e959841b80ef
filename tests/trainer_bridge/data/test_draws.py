"""What is drawn for a sample depends on seed and position alone, and differs between them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer_bridge.data.draws import generators

positions = st.lists(st.integers(0, 1 << 40), min_size=1, max_size=20)


@given(st.integers(0, 1 << 40), positions, st.randoms())
def test_a_draw_does_not_depend_on_the_samples_beside(seed: int, at: list[int], random) -> None:
    alone = {position: generators(seed, np.array([position]))[0].random(3).tolist() for position in at}
    shuffled = random.sample(at, len(at))
    assert [draws.random(3).tolist() for draws in generators(seed, np.array(shuffled))] == [alone[each] for each in shuffled]


def test_draws_are_uniform_and_differ_by_seed_and_position() -> None:
    drawn = np.array([[draws.random() for draws in generators(seed, np.arange(4000))] for seed in (0, 1)])
    assert len(np.unique(drawn)) == drawn.size
    assert np.abs(np.histogram(drawn, 10, (0, 1))[0] - drawn.size / 10).max() < 5 * (drawn.size * 0.09) ** 0.5
    assert np.abs(np.corrcoef(drawn[0][:-1], drawn[0][1:])[0, 1]) < 0.06 and np.abs(np.corrcoef(drawn)[0, 1]) < 0.06
