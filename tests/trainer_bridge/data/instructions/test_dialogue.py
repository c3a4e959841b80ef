"""Entries as others publish them: what is read of each shape, and which fault a broken one is."""

from typing import Any

import pytest

from trainer_bridge.data.instructions.dialogue import Message, read_dialogue
from trainer_bridge.data.instructions.example import FAULTS, SampleFault

Q, A = {"from": "human", "value": "why?"}, {"from": "gpt", "value": "so"}


def entry(*turns: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"conversations": list(turns), **fields}


SHAPES: dict[str, tuple[dict[str, Any], list[tuple[str, tuple[str, ...]]], list[str], list[str]]] = {
    "text alone": (entry(Q, A), [("user", ("why?",)), ("assistant", ("so",))], [], []),
    "messages": (
        {"messages": [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "so"}]},
        [("user", ("why?",)), ("assistant", ("so",))],
        [],
        [],
    ),
    "system": (
        entry({"from": "system", "value": "be brief"}, Q, A),
        [("system", ("be brief",)), ("user", ("why?",)), ("assistant", ("so",))],
        [],
        [],
    ),
    "tag in place": (
        entry({"from": "human", "value": "left <image>\nright"}, A, image="a.jpg"),
        [("user", ("left ", "\nright")), ("assistant", ("so",))],
        ["a.jpg"],
        [],
    ),
    "two in one question": (
        entry({"from": "human", "value": "<image> or <image>?"}, A, image=["a.jpg", "b.jpg"]),
        [("user", ("", " or ", "?")), ("assistant", ("so",))],
        ["a.jpg", "b.jpg"],
        [],
    ),
    "second question": (
        entry(Q, A, {"from": "human", "value": "and <image>?"}, A, image="b.jpg"),
        [("user", ("why?",)), ("assistant", ("so",)), ("user", ("and ", "?")), ("assistant", ("so",))],
        ["b.jpg"],
        [],
    ),
    "no tag": (entry(Q, A, image="a.jpg"), [("user", ("", "\nwhy?")), ("assistant", ("so",))], ["a.jpg"], ["no_tag"]),
    "tag in an answer": (
        entry(Q, {"from": "gpt", "value": "write <image> there"}),
        [("user", ("why?",)), ("assistant", ("write <image> there",))],
        [],
        [],
    ),
    "text for value": (
        entry(Q, {"from": "gpt", "text": "so"}),
        [("user", ("why?",)), ("assistant", ("so",))],
        [],
        ["text_key"],
    ),
    "last question": (entry(Q, A, Q), [("user", ("why?",)), ("assistant", ("so",))], [], ["last_question"]),
    "first answer": (entry(A, Q, A), [("user", ("why?",)), ("assistant", ("so",))], [], ["first_answer"]),
    "parts": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image", "image": "a.jpg"}, {"type": "text", "text": "why?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "so"}]},
            ]
        },
        [("user", ("", "\nwhy?")), ("assistant", ("so",))],
        ["a.jpg"],
        [],
    ),
    "half a surrogate": (
        entry({"from": "human", "value": "\ud83d?"}, A),
        [("user", ("??",)), ("assistant", ("so",))],
        [],
        [],
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_published_shapes_are_read_as_they_lie(shape: str) -> None:
    published, messages, pictures, notes = SHAPES[shape]
    dialogue = read_dialogue(published)
    assert list(dialogue.messages) == [Message(role, texts) for role, texts in messages]  # type: ignore[arg-type]
    assert (list(dialogue.pictures), list(dialogue.notes)) == (pictures, notes)


BROKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "no turns": ("turns", {"id": 1}),
    "empty": ("turns", entry()),
    "no list": ("turns", {"conversations": "why?"}),
    "unknown role": ("role", entry({"from": "martian", "value": "x"}, A)),
    "turn is text": ("role", {"conversations": ["x"]}),
    "no text": ("text", entry({"from": "human"}, A)),
    "number": ("text", entry({"from": "human", "value": 3}, A)),
    "two questions": ("order", entry(Q, Q, A)),
    "system between": ("order", entry(Q, A, {"from": "system", "value": "x"}, A)),
    "question alone": ("answer", entry(Q)),
    "system alone": ("answer", entry({"from": "system", "value": "x"})),
    "fewer pictures": ("tags", entry({"from": "human", "value": "<image> <image>"}, A, image="a.jpg")),
    "more pictures": ("tags", entry({"from": "human", "value": "<image>"}, A, image=["a.jpg", "b.jpg"])),
    "many without a tag": ("tags", entry(Q, A, image=["a.jpg", "b.jpg"])),
    "tag without a picture": ("tags", entry({"from": "human", "value": "<image>"}, A)),
    "video": ("video", entry(Q, A, video="a.mp4")),
    "picture is a number": ("reference", entry(Q, A, image=7)),
    "picture is an object": ("reference", entry(Q, A, image=[{"bytes": "x"}])),
}


@pytest.mark.parametrize("shape", BROKEN)
def test_broken_entries_are_a_named_fault(shape: str) -> None:
    kind, published = BROKEN[shape]
    with pytest.raises(SampleFault) as fault:
        read_dialogue(published)
    assert fault.value.kind == kind and kind in FAULTS and "\n" not in str(fault.value)
