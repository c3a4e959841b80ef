"""One-entry cache keyed on the caption array's identity, shared by rules run on the same batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import pyarrow as pa

from infra.compat.content import State

Rest = ParamSpec("Rest")
Result = TypeVar("Result")


def cache_last_call(
    function: Callable[Concatenate[pa.ChunkedArray, Rest], Result],
) -> Callable[Concatenate[pa.ChunkedArray, Rest], Result]:
    """A function of captions (string[N]) whose last result is returned again when the same array and arguments follow."""
    last = State[str, tuple[pa.ChunkedArray, object, Result]]()

    @wraps(function)
    def cached(captions: pa.ChunkedArray, /, *rest: Rest.args, **options: Rest.kwargs) -> Result:
        arguments = rest, options
        if not last or last["call"][1] != arguments or _addresses(last["call"][0]) != _addresses(captions):
            last.clear()  # the results for two arrays at a time would be most of what a worker holds
            last["call"] = captions, arguments, function(captions, *rest, **options)
        return last["call"][2]

    return cached


def _addresses(captions: pa.ChunkedArray) -> list[tuple[int, int, int]]:
    """Where captions lie in memory; nothing else can lie there while the cache holds them."""
    return [(chunk.buffers()[1].address, chunk.offset, len(chunk)) for chunk in captions.chunks if len(chunk)]
