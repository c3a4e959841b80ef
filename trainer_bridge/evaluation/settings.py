"""What an experiment evaluates on, besides the held-out split of its shards: tables `[[evaluation]]`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from infra.compat.settings import Section


class EvaluationSettings(Section):
    """An evaluation on a set that is not trained on.

    name         what its figures are called; empty: the last part of its path
    kind         retrieval, classification, captions or matching; empty: those that the stage computes on held-out shards
    shards       the URI of indexed shards; or
    data         a folder in a layout of `evaluation/layouts` (ImageNet, COCO, Karpathy's splits, Flickr30K, XTD)
    layout       the name of that layout; empty: it is recognised
    images       the folder of its pictures, where that is not within or beside it
    split        of shards, heldout; of XTD a language; else what the layout has; empty: the one that is used for evaluation
    classes      a file of the names of classes in one or several languages, for classification
    samples      most samples of shards, or pictures of a folder, from the start; 0: all; unset: 4000 of shards, else all
    by_language  figures for the texts of each language too
    """

    name: str = ""
    kind: Literal["", "retrieval", "classification", "captions", "matching"] = ""
    shards: str = ""
    data: str = ""
    layout: str = ""
    images: str = ""
    split: str = ""
    classes: str = ""
    samples: int | None = Field(None, ge=0)
    by_language: bool = False

    @property
    def place(self) -> str:
        """Where the set lies."""
        return self.shards or self.data
