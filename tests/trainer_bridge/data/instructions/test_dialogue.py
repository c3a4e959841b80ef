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
    "last question with its picture": (
        entry(Q, A, {"from": "human", "value": "and <image>?"}, image="a.jpg"),
        [("user", ("why?",)), ("assistant", ("so",))],
        [],
        ["last_question"],
    ),
    "first picture of two, the last question out": (
        entry({"from": "human", "value": "<image>why?"}, A, {"from": "human", "value": "and <image>?"}, image=["a.jpg", "b.jpg"]),
        [("user", ("", "why?")), ("assistant", ("so",))],
        ["a.jpg"],
        ["last_question"],
    ),
    "pictures that parts name, and that the entry lists": (
        {
            "images": ["b.jpg"],
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image", "path": "a.jpg"}, {"type": "text", "text": "or "}, {"type": "image"}],
                },
                {"role": "assistant", "content": "so"},
            ],
        },
        [("user", ("", "\nor ", "\n")), ("assistant", ("so",))],
        ["a.jpg", "b.jpg"],
        [],
    ),
    "pictures within texts, as Qwen-VL has them": (
        entry(
            {"from": "user", "value": "Picture 1: <img>a b.jpg</img>\nPicture 2: <image>\n<img> https://c/d.png </img>?"},
            {"from": "assistant", "value": "<img>so</img>"},
            image="b.jpg",
        ),
        [("user", ("Picture 1: ", "\nPicture 2: ", "\n", "?")), ("assistant", ("<img>so</img>",))],
        ["a b.jpg", "b.jpg", "https://c/d.png"],
        ["img_tag"],
    ),
    "another tag for the only picture": (
        entry({"from": "human", "value": "See <image 1>."}, A, image="a.jpg"),
        [("user", ("", "\nSee <image 1>.")), ("assistant", ("so",))],
        ["a.jpg"],
        ["no_tag"],
    ),
    "other tags beside <image> are text": (
        entry({"from": "human", "value": "<image>\nWhat does <image 1> show, and <img> of HTML?"}, A, image="a.jpg"),
        [("user", ("", "\nWhat does <image 1> show, and <img> of HTML?")), ("assistant", ("so",))],
        ["a.jpg"],
        [],
    ),
    "developer": (
        {"messages": [{"role": role, "content": role} for role in ("developer", "user", "assistant")]},
        [("system", ("developer",)), ("user", ("user",)), ("assistant", ("assistant",))],
        [],
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


def test_a_picture_beside_an_entry_is_the_one_that_it_names() -> None:
    asked = [{"role": "user", "content": [{"type": "image", "image": "a.jpg"}, {"type": "text", "text": "why?"}]}]
    dialogue = read_dialogue({"messages": [*asked, {"role": "assistant", "content": "so"}]}, ["own"])
    assert (dialogue.messages[0].texts, dialogue.pictures) == (("", "\nwhy?"), ("own",))


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
    "answers of weight 0": ("answer", entry(Q, A | {"weight": 0})),
    "question alone": ("answer", entry(Q)),
    "system alone": ("answer", entry({"from": "system", "value": "x"})),
    "fewer pictures": ("tags", entry({"from": "human", "value": "<image> <image>"}, A, image="a.jpg")),
    "more pictures": ("tags", entry({"from": "human", "value": "<image>"}, A, image=["a.jpg", "b.jpg"])),
    "many without a tag": ("tags", entry(Q, A, image=["a.jpg", "b.jpg"])),
    "tag without a picture": ("tags", entry({"from": "human", "value": "<image>"}, A)),
    "video": ("video", entry(Q, A, video="a.mp4")),
    "sound": ("video", entry(Q, A, audio="a.wav")),
    "videos": ("video", entry(Q, A, videos=["a.mp4"])),
    "sounds": ("video", entry(Q, A, audios=["a.wav"])),
    "a path within a text twice": ("tags", entry({"from": "user", "value": "<img>a.jpg</img>"}, A, image="a.jpg")),
    **{
        f"another tag, {tag}": ("other_tag", entry({"from": "human", "value": f"{tag}\nwhy?"}, A))
        for tag in (
            "<video>",
            "<audio>a.wav</audio>",
            "<image 1>",
            "<image_0>",
            "<image-2>",
            "<ImageHere>",
            "<image_placeholder>",
            "<|image|>",
            "<|image_1|>",
            "<|vision_start|><|image_pad|><|vision_end|>",
            "<|video_pad|>",
            "<img></img>",
        )
    },
    "a part is a video": ("video", {"messages": [{"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}, A]}),
    "picture in an answer": ("place", entry(Q, {"from": "gpt", "value": [{"type": "image", "image": "a.jpg"}]})),
    "picture before all": ("place", entry({"from": "system", "value": [{"type": "image", "image": "a.jpg"}]}, Q, A)),
    "picture is a number": ("reference", entry(Q, A, image=7)),
    "picture is an object": ("reference", entry(Q, A, image=[{"bytes": "x"}])),
}


@pytest.mark.parametrize("shape", BROKEN)
def test_broken_entries_are_a_named_fault(shape: str) -> None:
    kind, published = BROKEN[shape]
    with pytest.raises(SampleFault) as fault:
        read_dialogue(published)
    assert fault.value.kind == kind and kind in FAULTS and "\n" not in str(fault.value)
