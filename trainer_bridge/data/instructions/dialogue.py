"""A published entry → who says what, and where each picture stands.

LLaVA's and InternVL's `conversations` ({from: human | gpt | system, value}) and OpenAI's `messages` ({role, content}) are read as
they lie. As in the released loaders a lone picture without a tag comes before the first question, a line apart; an answer before
the first question is left out; and `<image>` in an answer is text. What is mended is told in `notes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer_bridge.data.instructions.example import SampleFault

Role = Literal["system", "user", "assistant"]
ROLES: dict[str, Role] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
}
TAG = "<image>"
# note → what was mended, as `check_conversations` tells it
NOTES = {
    "text_key": "a turn has its text under `text`, read as `value`",
    "last_question": "the last question has no answer and is left out",
    "first_answer": "it begins with an answer, which is left out",
    "no_tag": "its picture has no <image> and comes before the first question",
}


@dataclass(frozen=True)
class Message:
    """What one side says: `texts` with a picture between each two of them."""

    role: Role
    texts: tuple[str, ...]

    @property
    def pictures(self) -> int:
        """How many pictures stand in it."""
        return len(self.texts) - 1


@dataclass(frozen=True)
class Dialogue:
    """Messages: of the system or none, then question and answer in turn. `pictures` are as the entry names them, in order."""

    messages: tuple[Message, ...]
    pictures: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_dialogue(entry: Mapping[str, Any], own_pictures: Sequence[str] | None = None) -> Dialogue:
    """The dialogue of an entry; SampleFault in one line when it has none.

    own_pictures  names of the pictures, where they lie with the entry and are not named in it
    """
    notes: list[str] = []
    if entry.get("video"):
        raise SampleFault("video", "it has a video, which is not trained on")
    turns = entry.get("conversations") or entry.get("messages")
    if not isinstance(turns, list) or not turns:
        raise SampleFault("turns", "it has no turns; give a list `conversations` or `messages`")
    inline: list[str] = []
    said = _alternating([_turn(turn, inline, notes) for turn in turns], notes)
    listed = list(own_pictures) if own_pictures is not None else _listed(entry)
    return _placed(said, listed + inline, notes)


def _turn(turn: Any, inline: list[str], notes: list[str]) -> tuple[Role, str]:
    """(role, text) of a published turn; pictures that it names itself are added to `inline`."""
    if not isinstance(turn, Mapping):
        raise SampleFault("role", "a turn is no object")
    name = turn.get("from", turn.get("role"))
    role = ROLES.get(name.lower()) if isinstance(name, str) else None
    if role is None:
        raise SampleFault("role", f"a turn is from {name!r}; known are {', '.join(ROLES)}")
    key = next((key for key in ("value", "content", "text") if turn.get(key) is not None), None)
    text = _text(turn[key], inline) if key else None
    if text is None:
        raise SampleFault("text", f"a turn of {name} has no text under `value` or `content`")
    notes += ["text_key"] * (key == "text")
    return role, text.encode("utf-8", "replace").decode()


def _text(value: Any, inline: list[str]) -> str | None:
    """The text of a turn; of a list of parts, as chat templates take it, each picture is a tag and a line feed."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return None
    texts = []
    for part in value:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in ("image", "image_url"):
            texts.append(f"{TAG}\n")
            inline += _own_picture(part)
        else:
            return None
    return "".join(texts)


def _own_picture(part: Mapping[str, Any]) -> list[str]:
    """The path in a part of a message, where it has one: without one it is the next picture that the entry lists."""
    named = next((part[key] for key in ("image", "path", "url", "image_url") if part.get(key) is not None), None)
    if isinstance(named, Mapping):
        named = named.get("url")
    if named is None:
        return []
    if not isinstance(named, str):
        raise SampleFault("reference", "a picture in a message is no path")
    return [named]


def _listed(entry: Mapping[str, Any]) -> list[str]:
    """The pictures that an entry names beside its turns."""
    named = entry.get("image") or entry.get("images") or []
    pictures = [named] if isinstance(named, str) else named
    if not isinstance(pictures, list) or not all(isinstance(path, str) and path for path in pictures):
        raise SampleFault("reference", "`image` is neither a path nor a list of paths")
    return pictures


def _alternating(said: list[tuple[Role, str]], notes: list[str]) -> list[tuple[Role, str]]:
    """The turns from the first question to the last answer, after that of the system; SampleFault when they do not alternate."""
    system = said[:1] if said[0][0] == "system" else []
    turns = said[len(system) :]
    if turns and turns[0][0] == "assistant":
        notes.append("first_answer")
        turns = turns[1:]
    if turns and turns[-1][0] == "user":
        notes.append("last_question")
        turns = turns[:-1]
    if not turns:
        raise SampleFault("answer", "it has no question with an answer")
    expected = ["user", "assistant"] * (len(turns) // 2)
    if [role for role, _ in turns] != expected:
        raise SampleFault(
            "order", f"its turns go {', '.join(role for role, _ in said[:8])}; questions and answers must alternate"
        )
    return system + turns


def _placed(said: Sequence[tuple[Role, str]], pictures: list[str], notes: list[str]) -> Dialogue:
    """The dialogue, with each tag in a question the place of a picture."""
    messages = [Message(role, tuple(text.split(TAG)) if role == "user" else (text,)) for role, text in said]
    tags = sum(message.pictures for message in messages)
    if tags == 0 and len(pictures) == 1:
        first = next(i for i, message in enumerate(messages) if message.role == "user")
        messages[first] = Message("user", ("", f"\n{messages[first].texts[0]}"))
        notes.append("no_tag")
    elif tags != len(pictures):
        raise SampleFault("tags", f"its questions have {tags} {TAG} for {len(pictures)} pictures")
    return Dialogue(tuple(messages), tuple(pictures), tuple(dict.fromkeys(notes)))
