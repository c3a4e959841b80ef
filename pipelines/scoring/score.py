"""What a score is: a number per sample, computed from its picture, or from its picture and caption."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.compat.settings import Section
from pipelines.manifest.precedence import PRECEDENCE
from pipelines.manifest.tables import FAMILIES
from pipelines.scoring.settings import ScoreSettings

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Batch:
    """N pictures to score.

    load_pictures  gives the pictures
    embeddings     their CLIP embeddings, float32[N, D], L2-normalised; None where the settings name no CLIP
    captions       a caption of each, not blank; None for a score that does not read captions
    of_captions    the captions' CLIP embeddings, float32[N, D], L2-normalised; None as the two above
    """

    load_pictures: Callable[[], Sequence[Image.Image]]
    embeddings: np.ndarray | None = None
    captions: Sequence[str] | None = None
    of_captions: np.ndarray | None = None

    @cached_property
    def pictures(self) -> Sequence[Image.Image]:
        """The N pictures, RGB, of any size."""
        return self.load_pictures()


Scorer = Callable[[Batch], np.ndarray]


@dataclass(frozen=True)
class PixelScorer:
    """A scorer by a model that looks at pictures of one size: they are made ready by the threads that decode.

    prepare  uint8[H, W, 3], upright sRGB → what the model takes of a picture; for several threads
    score    prepared pictures → float32[N], NaN where there is no score
    needed   sides in pixels that a picture should have before it is prepared: JPEGs may be decoded at a scale; 0: all it has
    """

    prepare: Callable[[np.ndarray], np.ndarray]
    score: Callable[[Sequence[np.ndarray]], np.ndarray]
    needed: int = 0


@dataclass(frozen=True)
class Score:
    """A score with the model behind it.

    name            the column of the family `scores` that it fills (float32)
    provenance      settings -> what its values depend on, as JSON values (model, sha256 of its weights); None where the settings
                    name no model for it: then it is not computed. RequestError when they are wrong
    load            (settings, device) -> a function Batch[N] -> float32[N], NaN where there is no score, or a PixelScorer; done
                    once per worker. RequestError when the model does not load
    reads_pictures  whether a batch's pictures are looked at; where no score does they are not kept
    reads_captions  whether a batch holds a caption for each picture. If not, each distinct picture is scored once
    settings        the class of its own settings, `score.by_score.<name>`, which `ScoreSettings.own` reads; none by default.
                    A path among them is a `Location`: in a recipe it is relative to the recipe's folder
    """

    name: str
    provenance: Callable[[ScoreSettings], Mapping[str, Any] | None]
    load: Callable[[ScoreSettings, str], Scorer | PixelScorer]
    reads_captions: bool = False
    reads_pictures: bool = True
    settings: type[Section] = Section

    def __post_init__(self) -> None:
        is_taken = self.name == "error" or (self.name in PRECEDENCE and self.name not in FAMILIES["scores"].names)
        if is_taken or not self.name.isidentifier():
            raise ValueError(f"score {self.name!r} cannot be a new column of the manifest; choose another name")
