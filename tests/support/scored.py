"""Random samples with the columns that the rules of stage 1 read."""

import numpy as np
import pyarrow as pa


def scored_samples(rows: int, seed: int, unknown: float = 0.1) -> pa.Table:
    """table[rows] with NULL for a share of the scores and sizes."""
    chance = np.random.default_rng(seed)

    def with_nulls(values: np.ndarray) -> pa.Array:
        return pa.array(values, mask=chance.random(rows) < unknown)

    return pa.table(
        {
            "clip_similarity": with_nulls(chance.normal(0.3, 0.05, rows)),
            "watermark": with_nulls(chance.beta(1, 2, rows)),
            "unsafe": with_nulls(chance.beta(1, 6, rows)),
            "aesthetic": with_nulls(chance.normal(5, 1.2, rows)),
            "width": with_nulls(chance.integers(20, 2000, rows)),
            "height": with_nulls(chance.integers(20, 2000, rows)),
            "caption_chars": pa.array(chance.geometric(0.01, rows)),
            "fetch_status": pa.array(np.where(chance.random(rows) < 0.05, "failed", "ok")),
        }
    )
