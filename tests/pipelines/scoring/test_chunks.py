"""A score that is no number is NULL, whatever the model gave."""

from pathlib import Path

import numpy as np

from pipelines.manifest.join import read_family
from pipelines.manifest.pictures import StoredPicture
from pipelines.manifest.selection import WITH_PICTURE
from pipelines.runtime.picture_chunks import distinct_pictures, pending_samples
from pipelines.scoring.chunks import LoadedScores, score_chunk
from pipelines.scoring.settings import ScoreSettings
from tests.support.pictured import PART, pictured


def test_scores_that_are_none_are_null_of_pictures_and_of_captions(tmp_path: Path) -> None:
    storage = pictured(tmp_path / "root")
    samples = pending_samples(storage, PART, read_family(storage, PART, "scores"), WITH_PICTURE, ["caption"]).slice(0, 4)
    pictures, picture_of = distinct_pictures(samples)
    assert all(isinstance(picture, StoredPicture) for picture in pictures)

    def model(batch) -> np.ndarray:
        return np.array([np.nan, np.inf, -np.inf, 0.5][: len(batch.captions or batch.pictures)], np.float32)

    loaded = LoadedScores(None, {"aesthetic": model}, {"mine": model})
    scores = score_chunk(
        storage, pictures, picture_of, samples["caption"].to_pylist(), loaded, ScoreSettings(batch=8), lambda first, last: None
    )
    assert scores["mine"].to_pylist() == [None, None, None, 0.5]
    assert scores["aesthetic"].null_count == 4
