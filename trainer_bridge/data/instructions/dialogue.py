"""A published entry → who says what, and where each picture stands.

LLaVA's and InternVL's `conversations` ({from: human | gpt | system, value}) and OpenAI's `messages` ({role, content}) are read as
they lie, with Qwen-VL's `<img>path</img>` in questions. As in the released loaders a lone picture without a tag comes before the
first question, a line apart; an answer before the first question is left out; and `<image>` in an answer is text. What is mended
is told in `notes`. A question that is left out takes its pictures with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sharding.named_pictures import TAG, tags_in, without_paths
from trainer_bridge.data.instructions.example import SampleFault

Role = Literal["system", "user", "assistant"]
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",  # as OpenAI's newer models call it
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
}
# what is not trained on, by the key that names it
UNSEEN = {
    "video": "a video",
    "videos": "a video",
    "audio": "a sound",
    "audios": "a sound",
    "input_audio": "a sound",
}
# Places of pictures, videos and sounds as other trainers mark them. Source: the prompts of Qwen2-VL, LLaVA-NeXT-Video, Llama 3.2,
# Phi-3-vision, DeepSeek-VL, InternLM-XComposer2 and MMMU.
OTHER_TAG = re.compile(
    r"<(?:video|audio|ImageHere|image_placeholder|image[ _-]?\d+)>|<\|(?:image|image_\d+|image_pad|video_pad)\|>|<img>\s*</img>"
)
# note → what was mended, as `check_conversations` tells it
NOTES = {
    "text_key": "a turn has its text under `text`, read as `value`",
    "last_question": "the last question has no answer and is left out",
    "first_answer": "it begins with an answer, which is left out",
    "img_tag": "a question names its picture within <img> and </img>, read as <image>",
    "no_tag": "its picture has no <image> and comes before the first question",
}


@dataclass(frozen=True)
class Message:
    """What one side says: `texts` with a picture between each two of them. `learned` of an answer: whether it is trained on."""

    role: Role
    texts: tuple[str, ...]
    learned: bool = True

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


class _Turn(NamedTuple):
    """A published turn.

    named    of each tag in a question the picture that it names itself, or None: the next that the entry lists
    learned  whether its `weight` is not 0, as OpenAI's format says that an answer is not trained on
    """

    role: Role
    text: str
    named: tuple[str | None, ...] = ()
    learned: bool = True


def read_dialogue(entry: Mapping[str, Any], own_pictures: Sequence[str] | None = None) -> Dialogue:
    """The dialogue of an entry; SampleFault in one line when it has none.

    own_pictures  names of the pictures, where they lie with the entry, whatever it calls them
    """
    notes: list[str] = []
    for key, what in UNSEEN.items():
        if entry.get(key):
            raise SampleFault("video", f"it has {what}, which is not trained on")
    turns = entry.get("conversations") or entry.get("messages")
    if not isinstance(turns, list) or not turns:
        raise SampleFault("turns", "it has no turns; give a list `conversations` or `messages`")
    said = [_turn(turn, notes) for turn in turns]
    if own_pictures is not None:
        said = [turn._replace(named=(None,) * len(turn.named)) for turn in said]
    kept = _alternating(said, notes)
    return _placed(said, kept, list(own_pictures) if own_pictures is not None else _listed(entry), notes)


def _turn(turn: Any, notes: list[str]) -> _Turn:
    """A published turn as it is read."""
    if not isinstance(turn, Mapping):
        raise SampleFault("role", "a turn is no object")
    name = turn.get("from", turn.get("role"))
    role = ROLES.get(name.lower()) if isinstance(name, str) else None
    if role is None:
        raise SampleFault("role", f"a turn is from {name!r}; known are {', '.join(ROLES)}")
    key = next((key for key in ("value", "content", "text") if turn.get(key) is not None), None)
    read = _text(turn[key], role, notes) if key else None
    if read is None:
        raise SampleFault("text", f"a turn of {name} has no text under `value` or `content`")
    notes += ["text_key"] * (key == "text")
    return _Turn(role, read[0].encode("utf-8", "replace").decode(), read[1], turn.get("weight") != 0)


def _text(value: Any, role: Role, notes: list[str]) -> tuple[str, tuple[str | None, ...]] | None:
    """The text of a turn and what its tags name; of a list of parts, as chat templates take it, each picture is a tag and a line
    feed. None where there is no text.
    """
    parts = [{"type": "text", "text": value}] if isinstance(value, str) else value
    if not isinstance(parts, list):
        return None
    texts: list[str] = []
    named: list[str | None] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            asks = role == "user"
            inline = tags_in(part["text"]) if asks else []
            notes += ["img_tag"] * any(path is not None for path in inline)
            texts.append(without_paths(part["text"]) if asks else part["text"])
            named += inline
        elif kind in ("image", "image_url"):
            if role != "user":
                raise SampleFault("place", f"a picture stands in a turn of {role}, not in a question")
            texts.append(f"{TAG}\n")
            named.append(_own_picture(part))
        elif kind in UNSEEN:
            raise SampleFault("video", f"it has {UNSEEN[kind]}, which is not trained on")
        else:
            return None
    return "".join(texts), tuple(named)


def _own_picture(part: Mapping[str, Any]) -> str | None:
    """The path in a part of a message, where it has one."""
    named = next((part[key] for key in ("image", "path", "url", "image_url") if part.get(key) is not None), None)
    if isinstance(named, Mapping):
        named = named.get("url")
    if not isinstance(named, str | None):
        raise SampleFault("reference", "a picture in a message is no path")
    return named


def _listed(entry: Mapping[str, Any]) -> list[str]:
    """The pictures that an entry names beside its turns."""
    named = entry.get("image") or entry.get("images") or []
    pictures = [named] if isinstance(named, str) else named
    if not isinstance(pictures, list) or not all(isinstance(path, str) and path for path in pictures):
        raise SampleFault("reference", "`image` is neither a path nor a list of paths")
    return pictures


def _alternating(said: list[_Turn], notes: list[str]) -> list[_Turn]:
    """The turns from the first question to the last answer, after that of the system; SampleFault when they do not alternate."""
    system = said[:1] if said[0].role == "system" else []
    turns = said[len(system) :]
    if turns and turns[0].role == "assistant":
        notes.append("first_answer")
        turns = turns[1:]
    if turns and turns[-1].role == "user":
        notes.append("last_question")
        turns = turns[:-1]
    if not turns:
        raise SampleFault("answer", "it has no question with an answer")
    expected = ["user", "assistant"] * (len(turns) // 2)
    if [turn.role for turn in turns] != expected:
        raise SampleFault(
            "order", f"its turns go {', '.join(turn.role for turn in said[:8])}; questions and answers must alternate"
        )
    if not any(turn.learned for turn in turns[1::2]):
        raise SampleFault("answer", "all its answers have weight 0")
    return system + turns


def _placed(said: Sequence[_Turn], kept: Sequence[_Turn], listed: list[str], notes: list[str]) -> Dialogue:
    """The dialogue of the turns that are kept, with each tag in a question the place of a picture.

    listed  the pictures that the entry names beside its turns, for all tags of its turns that name none
    """
    texts = [tuple(turn.text.split(TAG)) if turn.role == "user" else (turn.text,) for turn in kept]
    messages = [Message(turn.role, text, turn.learned) for turn, text in zip(kept, texts, strict=True)]
    tags = [path for turn in said for path in turn.named]
    other = next((match for turn in kept if turn.role == "user" and (match := OTHER_TAG.search(turn.text))), None)
    if other and not tags and not listed:
        raise SampleFault("other_tag", f"a question has {other[0]}; {TAG} stands for a picture, and nothing else is trained on")
    if not tags and len(listed) == 1:
        first = next(i for i, message in enumerate(messages) if message.role == "user")
        messages[first] = Message("user", ("", f"\n{messages[first].texts[0]}"), messages[first].learned)
        notes.append("no_tag")
        return Dialogue(tuple(messages), tuple(listed), tuple(dict.fromkeys(notes)))
    if tags.count(None) != len(listed):
        count = len(listed) + len(tags) - tags.count(None)
        raise SampleFault("tags", f"its questions have {len(tags)} {TAG} for {count} pictures")
    following = iter(listed)
    pictures = [next(following) if path is None else path for path in tags]
    shown = sum(message.pictures for message in messages)  # those of a last question that is left out come after them
    return Dialogue(tuple(messages), tuple(pictures[:shown]), tuple(dict.fromkeys(notes)))
