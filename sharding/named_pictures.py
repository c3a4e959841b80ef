"""Which pictures a published conversation names, LLaVA's or OpenAI's, in the order in which they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

TAG = "<image>"
TAGS = re.compile(rf"{TAG}|<img>\s*([^<>\s][^<>\n]*?)\s*</img>")  # or a path within the text. Source: Qwen-VL's conversations
TURNS, TEXTS = ("conversations", "messages"), ("value", "content", "text")
ASKING = {"human", "user"}  # who may show pictures by a tag
INLINE = ("image", "path", "url", "image_url")  # where a part of a message, as chat templates take it, may name a picture


def tags_in(text: str) -> list[str | None]:
    """Of each tag in a question the path that it names itself, or None."""
    return [match[1] for match in TAGS.finditer(text)]


def without_paths(text: str) -> str:
    """A question whose tags are all `<image>`."""
    return TAGS.sub(TAG, text)


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
        asks = _asks(turn)
        for part in (part for key in TEXTS for part in _listed(turn.get(key))):
            text = part.get("text") if isinstance(part, Mapping) else part
            if isinstance(text, str):
                yield from tags_in(text) if asks else ()
            elif isinstance(part, Mapping) and part.get("type") in ("image", "image_url"):
                yield next((path for key in INLINE if (path := _path(part.get(key)))), None)


def _path(value: Any) -> str:
    named = value.get("url") if isinstance(value, Mapping) else value
    return named if isinstance(named, str) else ""


def _asks(turn: Mapping[str, Any]) -> bool:
    said_by = turn.get("from", turn.get("role"))
    return isinstance(said_by, str) and said_by.lower() in ASKING


def _unnamed(turn: Any) -> Any:
    if not isinstance(turn, Mapping):
        return turn
    asks = _asks(turn)
    return {key: _without(value, asks) if key in TEXTS else value for key, value in turn.items()}


def _without(value: Any, asks: bool) -> Any:
    """A text, or a list of parts, that names no picture."""
    if isinstance(value, str):
        return without_paths(value) if asks else value
    if isinstance(value, list):
        return [_without(part, asks) for part in value]
    if isinstance(value, Mapping):
        return {key: _without(part, asks) if key == "text" else part for key, part in value.items() if key not in INLINE}
    return value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
