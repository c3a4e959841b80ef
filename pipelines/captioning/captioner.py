"""What a captioner is: a kind of model that describes pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.captioning.settings import CaptionSettings

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Caption:
    """A model's description of a picture, of `tokens` tokens; `text` is None where it is empty.

    finish  why it ends: "stop" (the model ended it), "length" (cut at `caption.max_tokens`) or "empty"
    """

    text: str | None
    tokens: int
    finish: str


Describe = Callable[[Sequence["Image.Image"], Sequence[str]], Sequence[Caption]]


@dataclass(frozen=True)
class Captioner:
    """A kind of model, of which `caption --model` names one.

    name        as in `caption.captioner`
    provenance  --model -> what its captions depend on besides prompt and settings: its name, "model", and the "sha256" of its
                weights. RequestError when there is no such model
    load        (--model, settings) -> a function that maps N pictures (RGB, of any size) and a list of questions, asked one
                after the other of each picture, to N captions, the answers to the last question; done once per worker.
                RequestError when the model does not load
    """

    name: str
    provenance: Callable[[str], Mapping[str, str]]
    load: Callable[[str, CaptionSettings], Describe]
