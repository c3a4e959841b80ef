"""Conversations as tokens: equal to transformers' processor and to the released format, and learned on answers alone."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.chat_tokenizers import TOKENIZERS, small
from trainer_bridge.data.chat_tokenizer import IMAGE, IMAGE_END, IMAGE_START, build_processor
from trainer_bridge.data.instructions.dialogue import Dialogue, Message, read_dialogue
from trainer_bridge.data.instructions.encoding import Encoder
from trainer_bridge.data.instructions.example import SampleFault
from trainer_bridge.data.instructions.template import BASE, TEMPLATES, ChatTemplate
from trainer_bridge.data.instructions.tiles import TileRule
from trainer_bridge.models.losses import IGNORED

TILE = 4  # tokens
RULE = TileRule(16, 1, 6)
QUESTIONS = ["What is it?", "\nWhat?\n", "两只狗吗？", "a <ref>dog</ref> at <box>[[1, 2, 30, 400]]</box>", " spaced ", ""]
ANSWERS = ["A dog.", "\n\nA dog and a cat.\n", "两只狗", "<box>[[0, 0, 9, 9]]</box>", "1234", ""]
SIZES = [(16, 16), (40, 20), (20, 60)]


def shapes() -> Iterator[tuple[dict[str, Any], list[tuple[int, int]]]]:
    """Conversations as `messages` with the sizes of their pictures: system, turns, places of pictures and kinds of text."""
    places: list[list[list[str]]] = [
        [["text"]],
        [["image", "text"]],
        [["text", "image"]],
        [["text", "image", "text"]],
        [["image", "image", "text"]],
        [["text"], ["image", "text"]],
        [["image", "text"], ["text"]],
        [["image", "text"], ["text"], ["image", "text", "image"]],
        [["text", "image", "text"], ["text", "image", "text"], ["text"]],
    ]
    for number, (system, turns, kind) in enumerate(product((False, True), places, range(3))):
        messages: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}] if system else []
        sizes = []
        for turn, parts in enumerate(turns):
            text = QUESTIONS[(kind * 2 + turn) % len(QUESTIONS)]
            content = [{"type": "image", "image": "x"} if part == "image" else {"type": "text", "text": text} for part in parts]
            sizes += [SIZES[(number + len(sizes) + i) % len(SIZES)] for i in range(parts.count("image"))]
            answer = ANSWERS[(kind * 2 + turn) % len(ANSWERS)]
            messages += [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
        yield {"messages": messages}, sizes


def encoder(tokenizer: Any, template: str, length: int = 4096) -> Encoder:
    return Encoder(tokenizer, ChatTemplate(tokenizer, template), TILE, length)


def tile_counts(sizes: Sequence[tuple[int, int]]) -> list[int]:
    rule = RULE.shared(len(sizes))
    return [rule.count(*size) for size in sizes]


def test_there_are_fifty_shapes() -> None:
    assert len(list(shapes())) >= 50


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("template", [*TEMPLATES, BASE])
def test_tokens_are_those_of_transformers_processor(name: str, template: str) -> None:
    tokenizer = TOKENIZERS[name]()
    own = encoder(tokenizer, template)
    for entry, sizes in shapes():
        rule = RULE.shared(len(sizes))
        processor = build_processor(tokenizer, RULE.side, TILE, (rule.least, rule.most), own.template.jinja)
        text = processor.apply_chat_template(entry["messages"], tokenize=False)
        pictures = [Image.new("RGB", size) for size in sizes]
        theirs = processor(images=pictures or None, text=text, add_special_tokens=False, return_tensors="np")
        ids, _ = own.encode(read_dialogue(entry), tile_counts(sizes))
        assert ids.tolist() == np.asarray(theirs["input_ids"])[0].tolist(), text
        if pictures:
            assert len(theirs["pixel_values"]) == sum(tile_counts(sizes))


def released(tokenizer: Any, dialogue: Dialogue, counts: list[int], end: str, system: str) -> tuple[list[int], list[int]]:
    """As InternVL's released code writes a conversation: turn by turn, labels behind the answer's header to its end token."""
    left = iter(counts)
    ids: list[int] = []
    labels: list[int] = []
    messages = list(dialogue.messages)
    if messages[0].role != "system":
        messages = [Message("system", (system,)), *messages]
    for message in messages:
        text = message.texts[0]
        for after in message.texts[1:]:
            text += f"{IMAGE_START}{IMAGE * (TILE * next(left))}{IMAGE_END}{after}"
        turn = tokenizer(f"<|im_start|>{message.role}\n{text}<|im_end|>{end}", add_special_tokens=False)["input_ids"]
        header = len(tokenizer(f"<|im_start|>{message.role}\n", add_special_tokens=False)["input_ids"])
        after_end = len(turn) - (1 if end else 0)
        ids += turn
        labels += [token if message.role == "assistant" and header <= i < after_end else IGNORED for i, token in enumerate(turn)]
    return ids, labels


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(("template", "end"), [("internvl2_5", "\n"), ("mono", "")])
def test_tokens_and_labels_are_those_of_the_released_format(name: str, template: str, end: str) -> None:
    tokenizer = TOKENIZERS[name]()
    own = encoder(tokenizer, template)
    system = TEMPLATES[template].partition("system\n")[2].partition("<|im_end|>")[0]
    begin = [tokenizer.bos_token_id] if template == "mono" and tokenizer.bos_token_id is not None else []
    for entry, sizes in shapes():
        dialogue = read_dialogue(entry)
        ids, labels = own.encode(dialogue, tile_counts(sizes))
        expected = released(tokenizer, dialogue, tile_counts(sizes), end, system)
        assert (ids.tolist(), labels.tolist()) == (begin + expected[0], [IGNORED] * len(begin) + expected[1])


@pytest.mark.parametrize("name", TOKENIZERS)
def test_special_tokens_in_texts_are_text(name: str) -> None:
    tokenizer = TOKENIZERS[name]()
    tokens = [IMAGE, IMAGE_START, IMAGE_END, "<|im_start|>", "<|im_end|>", str(tokenizer.pad_token)]
    said = " ".join(tokens)
    dialogue = Dialogue((Message("user", (said,)), Message("assistant", (said,))), ())
    ids, _ = encoder(tokenizer, "chatml").encode(dialogue, [])
    counts = {token: ids.tolist().count(tokenizer.convert_tokens_to_ids(token)) for token in tokens}
    assert counts == dict.fromkeys(tokens, 0) | {"<|im_start|>": 2, "<|im_end|>": 2}
    assert tokenizer.decode(ids).count(said) == 2


TEXT = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    [*QUESTIONS, *ANSWERS, "<|im_end|>", IMAGE, "<image>", "\ue0000\ue001", "\n\n"]
)


@st.composite
def dialogues(draw: st.DrawFn) -> tuple[Dialogue, list[int]]:
    questions = draw(st.lists(st.lists(TEXT, min_size=1, max_size=3), min_size=1, max_size=3))
    messages = [Message("system", (draw(TEXT),))] if draw(st.booleans()) else []
    for texts in questions:
        messages += [Message("user", tuple(texts)), Message("assistant", (draw(TEXT),))]
    pictures = sum(len(texts) - 1 for texts in questions)
    counts = draw(st.lists(st.integers(1, 7), min_size=pictures, max_size=pictures))
    return Dialogue(tuple(messages), tuple(map(str, range(pictures)))), counts


@settings(deadline=None)
@given(dialogues(), st.sampled_from(sorted(TOKENIZERS)), st.sampled_from(sorted(TEMPLATES)))
def test_every_learned_token_is_of_an_answer_and_every_picture_stands_at_its_tag(
    drawn: tuple[Dialogue, list[int]], name: str, template: str
) -> None:
    (dialogue, counts), tokenizer = drawn, TOKENIZERS[name]()
    ids, labels = encoder(tokenizer, template, 1 << 20).encode(dialogue, counts)
    assert set((labels == ids)[labels != IGNORED]) <= {True}
    learned = np.split(labels, np.flatnonzero(np.diff(labels != IGNORED)) + 1)
    answers = [tokenizer.decode(run) for run in learned if run[0] != IGNORED]
    said = [message.texts[0] for message in dialogue.messages if message.role == "assistant"]
    space = " " * (template == "pairmill")
    for answer, text in zip(answers, said, strict=True):
        # A tokenizer may join the header's line feed with those that an answer begins with: these belong to the header.
        assert f"{space}{text}<|im_end|>".lstrip("\n") == answer.lstrip("\n")
    start, end = (tokenizer.convert_tokens_to_ids(token) for token in (IMAGE_START, IMAGE_END))
    image = tokenizer.convert_tokens_to_ids(IMAGE)
    runs = list(zip(np.flatnonzero(ids == start), np.flatnonzero(ids == end), strict=True))
    assert [last - first - 1 for first, last in runs] == [TILE * count for count in counts]
    assert (ids == image).sum() == TILE * sum(counts)
    pieces = tokenizer.decode(ids).replace(IMAGE_START + IMAGE_END, "")  # what is said before and after each picture, in order
    for message in dialogue.messages:
        for text in message.texts:
            pieces = pieces[pieces.index(text) + len(text) :]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("template", sorted(TEMPLATES))
@pytest.mark.parametrize("weights", [(0, 1, 1), (1, 0, None), (0, 1.0, 0), (1, 0, 0)])
def test_an_answer_of_weight_0_is_read_and_not_learned(name: str, template: str, weights: tuple[Any, ...]) -> None:
    tokenizer = TOKENIZERS[name]()
    plain = [{"role": role, "content": f"{role} {number}"} for number in range(len(weights)) for role in ("user", "assistant")]
    weighted = [turn | ({"weight": weights[i // 2]} if i % 2 else {"weight": 0}) for i, turn in enumerate(plain)]
    own = encoder(tokenizer, template)
    ids, labels = own.encode(read_dialogue({"messages": weighted}), [])
    all_ids, all_labels = own.encode(read_dialogue({"messages": plain}), [])
    assert ids.tolist() == all_ids.tolist()
    runs = [np.flatnonzero(run >= 0) for run in (labels, all_labels)]
    kept = [
        part
        for part, weight in zip(np.split(runs[1], np.flatnonzero(np.diff(runs[1]) > 1) + 1), weights, strict=True)
        if weight != 0
    ]
    assert runs[0].tolist() == np.concatenate(kept).tolist()


def test_text_is_cut_but_pictures_are_not() -> None:
    tokenizer = TOKENIZERS["small"]()
    dialogue = read_dialogue(
        {
            "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A dog. " * 50}],
            "image": "a",
        }
    )
    whole, _ = encoder(tokenizer, "chatml").encode(dialogue, [3])
    ids, labels = encoder(tokenizer, "chatml", 60).encode(dialogue, [3])
    assert ids.tolist() == whole[:60].tolist() and (labels != IGNORED).any()
    with pytest.raises(SampleFault, match="3 tiles of 4 tokens with the text before them do not fit into 12") as fault:
        encoder(tokenizer, "chatml", 12).encode(dialogue, [3])
    assert fault.value.kind == "tiles"
    with pytest.raises(SampleFault, match="begins after 24 tokens") as fault:
        encoder(tokenizer, "chatml", 24).encode(dialogue, [3])
    assert fault.value.kind == "learned"


def test_a_template_is_rendered_twice_however_long_a_conversation_is(monkeypatch: pytest.MonkeyPatch) -> None:
    template = ChatTemplate(small(), "internvl2_5")
    render, rendered = template._render, list[Any]()
    monkeypatch.setattr(template, "_render", lambda *told: rendered.append(told) or render(*told))
    around = template.around(("user", "assistant") * 50)
    assert len(rendered) == 2 and len(around) == 101 and len(set(around[1:-1:2])) == 1


def test_a_template_of_others_that_trims_and_refuses_a_system() -> None:
    tokenizer = TOKENIZERS["byte_level"]()
    before = tokenizer.chat_template
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ bos_token }}"
        "{% for m in messages %}{% if m['role'] == 'user' %}[Q] {{ m['content'] | trim }} [/Q]{% else %}"
        " {{ m['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}"
    )
    try:
        own = encoder(tokenizer, BASE)
        dialogue = Dialogue((Message("user", (" a", "b ")), Message("assistant", (" c ",))), ("x",))
        ids, labels = own.encode(dialogue, [1])
        assert tokenizer.decode(ids) == f"<|endoftext|>[Q] a<img>{IMAGE * TILE}</img>b [/Q] c<|im_end|>"
        assert tokenizer.decode(labels[labels != IGNORED]) == " c<|im_end|>"
        with pytest.raises(SampleFault, match="no system"):
            own.encode(Dialogue((Message("system", ("s",)), *dialogue.messages), ("x",)), [1])
    finally:
        tokenizer.chat_template = before
