"""What a training gets of a published conversation: an example, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

# kind of fault → what it means, as `check_conversations` tells it
FAULTS = {
    "json": "the entry is no JSON object",
    "turns": "it has no list of turns under `conversations` or `messages`, or an empty one",
    "role": "a turn is from nobody known",
    "text": "a turn has no text",
    "order": "turns do not alternate between question and answer",
    "answer": "no turn is an answer that is trained on",
    "video": "it has a video or a sound",
    "place": "a picture stands in an answer, or in a turn of the system",
    "reference": "a picture is named by something else than a path",
    "other_tag": "it has no picture, and a tag that stands for a picture, a video or a sound elsewhere",
    "tags": "there are not as many <image> as pictures",
    "missing": "a picture cannot be read",
    "picture": "a picture cannot be decoded",
    "template": "the chat template refuses it",
    "tiles": "a picture does not stand whole within `length`",
    "learned": "no token of an answer stands within `length`",
}


LONGEST = 400  # characters of a fault's text: an entry may name a picture by a megabyte


@dataclass(frozen=True)
class Example:
    """A conversation as tokens.

    ids     int32[T]
    labels  int32[T]: ids where an answer is learned, elsewhere `IGNORED`; labels[t] is predicted from ids before t
    tiles   uint8[K, 3, S, S] RGB, in the order of their runs of <IMG_CONTEXT> in `ids`
    name    where it lies, for messages: file and line
    """

    ids: np.ndarray
    labels: np.ndarray
    tiles: np.ndarray
    name: str


class SampleFault(ValueError):
    """Why an entry gives no example: `kind` is a key of `FAULTS`.

    Its text quotes others' data: one short line of it, which any file and terminal takes.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(_harmless(detail))
        self.kind = kind

    def at(self, name: str) -> SampleFault:
        """The same, with where the entry lies."""
        return SampleFault(self.kind, f"{name}: {self}")


def _harmless(text: str) -> str:
    """The start and the end of a text, with what is not printable as U+FFFD."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


class Examples(Protocol):
    """Examples of an endless training by position; each is a function of (seed, position) alone.

    total  positions of an epoch
    """

    total: int

    def load_many(self, positions: np.ndarray) -> Sequence[Example | SampleFault]:
        """The example at each of the positions int64[N], with its tiles. The text of a fault names the entry."""

    def describe(self) -> str:
        """In one line: what is loaded."""
