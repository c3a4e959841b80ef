"""What many rules ask of the same captions is found out once: the answer for the captions asked of last is kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import pyarrow as pa

Rest = ParamSpec("Rest")
Answer = TypeVar("Answer")


def remembers_last(
    ask: Callable[Concatenate[pa.ChunkedArray, Rest], Answer],
) -> Callable[Concatenate[pa.ChunkedArray, Rest], Answer]:
    """The function of captions (string[N]) that remembers its last answer, and gives it where the same is asked again."""
    last: list[tuple[pa.ChunkedArray, object, Answer]] = []

    @wraps(ask)
    def remembering(captions: pa.ChunkedArray, /, *rest: Rest.args, **options: Rest.kwargs) -> Answer:
        asked = rest, options
        if not (last and last[0][1] == asked and _places(last[0][0]) == _places(captions)):
            last[:] = [(captions, asked, ask(captions, *rest, **options))]
        return last[0][2]

    return remembering


def _places(captions: pa.ChunkedArray) -> list[tuple[int, int, int]]:
    """Where in memory captions lie. As long as one holds them, nothing else comes to lie there."""
    return [(chunk.buffers()[1].address, chunk.offset, len(chunk)) for chunk in captions.chunks if len(chunk)]
