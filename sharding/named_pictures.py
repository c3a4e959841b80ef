"""Which pictures a published conversation names, LLaVA's or OpenAI's, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

TAG = "<image>"
TURNS, TEXTS = ("conversations", "messages"), ("value", "content", "text")
ASKING = {"human", "user"}  # who may show pictures by a tag
INLINE = ("image", "path", "url", "image_url")  # where a part of a message, as chat templates take it, may name a picture


def named_pictures(entry: Mapping[str, Any]) -> list[str]:
    """The pictures in the order of their tags, those that have none last. A tag is of the next picture that is named beside the
    turns; a part of a message may name its own.
    """
    listed = [text for each in (*_listed(entry.get("image")), *_listed(entry.get("images"))) if (text := _path(each))]
    following, shown = iter(listed), list[str]()
    for own in _tags(entry):
        path = own or next(following, None)
        shown += [path] if path else []
    return [*shown, *following]


def without_names(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry as it stands beside its pictures in shards: it names none, so that each tag is of the next one."""
    own = {key: value for key, value in entry.items() if key not in ("image", "images")}
    for key in TURNS:
        if isinstance(own.get(key), list):
            own[key] = [_unnamed(turn) for turn in own[key]]
    return own


def _tags(entry: Mapping[str, Any]) -> Iterator[str | None]:
    """Of each place of a picture the path that it names itself, or None."""
    for turn in (turn for key in TURNS for turn in _listed(entry.get(key)) if isinstance(turn, Mapping)):
        said_by = turn.get("from", turn.get("role"))
        asks = isinstance(said_by, str) and said_by.lower() in ASKING
        for part in (part for key in TEXTS for part in _listed(turn.get(key))):
            text = part.get("text") if isinstance(part, Mapping) else part
            if isinstance(text, str):
                yield from [None] * (text.count(TAG) if asks else 0)
            elif isinstance(part, Mapping) and part.get("type") in ("image", "image_url"):
                yield next((path for key in INLINE if (path := _path(part.get(key)))), None)


def _path(value: Any) -> str:
    named = value.get("url") if isinstance(value, Mapping) else value
    return named if isinstance(named, str) else ""


def _unnamed(turn: Any) -> Any:
    if not isinstance(turn, Mapping):
        return turn
    return {
        key: [_without(part) for part in value] if key in TEXTS and isinstance(value, list) else value
        for key, value in turn.items()
    }


def _without(part: Any) -> Any:
    return {key: value for key, value in part.items() if key not in INLINE} if isinstance(part, Mapping) else part


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
