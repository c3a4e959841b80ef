"""A dialogue → token ids, and which of them are learned.

Texts of the data are encoded apart from the template's special tokens, so that `<|im_end|>` or `<IMG_CONTEXT>` in a text is the
text of these characters and nothing else. The tags of grounding (`<ref>`, `<box>` …) are tokens where the tokenizer has them.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from trainer_bridge.data.chat_tokenizer import IMAGE, IMAGE_END, IMAGE_START
from trainer_bridge.data.instructions.dialogue import Dialogue
from trainer_bridge.data.instructions.example import SampleFault
from trainer_bridge.data.instructions.template import ChatTemplate, Part, special_tokens
from trainer_bridge.models.losses import IGNORED

GROUNDING = {f"<{slash}{tag}>" for tag in ("ref", "box", "quad") for slash in ("", "/")}
PICTURE = (IMAGE_START, IMAGE_END, IMAGE)


class Encoder:
    """Dialogues → tokens of one language model. Called in several threads.

    image_tokens  tokens of a tile
    length        most tokens of a conversation: text after them is cut
    """

    def __init__(self, tokenizer: Any, template: ChatTemplate, image_tokens: int, length: int) -> None:
        self.template, self.image_tokens, self.length = template, image_tokens, length
        self.text = _text_tokenizer(tokenizer)
        self.start, self.end, self.image = (_token(tokenizer, token) for token in PICTURE)
        self.special = special_tokens(tokenizer)

    def encode(self, dialogue: Dialogue, tile_counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """(ids, labels) int32[T] of a dialogue whose pictures have so many tiles; SampleFault when nothing of it can be learned.

        Labels are ids in answers, the token that ends one included, and IGNORED elsewhere.
        """
        row = self._row(dialogue, tile_counts)
        ids, learned = row.tokens(self.text)
        if (ids[self.length :] == self.end).any():
            tiles = f"{sum(tile_counts)} tiles of {self.image_tokens} tokens"
            raise SampleFault("tiles", f"{tiles} with the text before them do not fit into {self.length}")
        ids, labels = ids[: self.length], np.where(learned, ids, IGNORED)[: self.length]
        if (labels[1:] == IGNORED).all():
            raise SampleFault("learned", f"its first answer begins after {self.length} tokens")
        return ids, labels

    def _row(self, dialogue: Dialogue, tile_counts: Sequence[int]) -> _Row:
        row, counts = _Row(), iter(tile_counts)
        around = self.template.around(tuple(message.role for message in dialogue.messages))
        before = True  # whether the answer before is learned: what ends it belongs to it
        for parts, message in zip(around, dialogue.messages, strict=False):
            answers = message.role == "assistant"
            self._add(row, parts, message.learned if answers else before)
            before = message.learned
            learned, texts = answers and before, _trimmed(message.texts) if self.template.trims else message.texts
            for number, text in enumerate(texts):
                if number:
                    row.add_tokens([self.start, *[self.image] * (self.image_tokens * next(counts)), self.end], False)
                row.add_text(text, learned)
        self._add(row, around[-1], before)
        return row

    def _add(self, row: _Row, parts: Sequence[Part], learned: bool) -> None:
        """Adds what a template has around messages; `learned`: whether the answer is that it belongs to, if it does to one."""
        for part in parts:
            if part.special:
                row.add_tokens([self.special[part.text]], part.learned and learned)
            else:
                row.add_text(part.text, part.learned and learned)


@dataclass
class _Row:
    """A conversation in the making: runs of text, each encoded as one, and tokens between them."""

    runs: list[_Run | tuple[list[int], bool]] = field(default_factory=list)

    def add_text(self, text: str, learned: bool) -> None:
        if not text:
            return
        if not self.runs or not isinstance(self.runs[-1], _Run):
            self.runs.append(_Run())
        run = self.runs[-1]
        assert isinstance(run, _Run)
        run.starts.append(run.size)
        run.texts.append(text)
        run.learned.append(learned)
        run.size += len(text)

    def add_tokens(self, ids: list[int], learned: bool) -> None:
        self.runs.append((ids, learned))

    def tokens(self, text: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
        """(ids int32[T], learned bool[T])."""
        encoded = iter(
            text.encode_batch(["".join(run.texts) for run in self.runs if isinstance(run, _Run)], add_special_tokens=False)
        )
        ids: list[int] = []
        learned: list[bool] = []
        for run in self.runs:
            if isinstance(run, _Run):
                encoding = next(encoded)
                ids += encoding.ids
                learned += run.learned_tokens(encoding)
            else:
                ids += run[0]
                learned += [run[1]] * len(run[0])
        return np.array(ids, dtype=np.int32), np.array(learned, dtype=bool)


@dataclass
class _Run:
    """Texts that follow each other, and which of them are learned; `size` in characters."""

    texts: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    learned: list[bool] = field(default_factory=list)
    size: int = 0

    def learned_tokens(self, encoding: Encoding) -> list[bool]:
        """Of each token, whether the text that it begins in is learned: one over the end of a prompt belongs to the prompt."""
        if len(set(self.learned)) == 1:
            return [self.learned[0]] * len(encoding.ids)
        return [self.learned[bisect_right(self.starts, start) - 1] for start, _ in encoding.offsets]


def _trimmed(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of a message as a template has them that trims messages."""
    if len(texts) == 1:
        return (texts[0].strip(),)
    return (texts[0].lstrip(), *texts[1:-1], texts[-1].rstrip())


def _text_tokenizer(tokenizer: Any) -> Tokenizer:
    """The tokenizer as one that knows no special tokens but those of grounding."""
    document = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in document["added_tokens"]:
        token["special"] = token["content"] not in GROUNDING and (token["special"] or token["content"] in PICTURE)
    text = Tokenizer.from_str(json.dumps(document))
    text.encode_special_tokens = True
    return text


def _token(tokenizer: Any, token: str) -> int:
    number = tokenizer.convert_tokens_to_ids(token)
    if number is None or (number == tokenizer.unk_token_id and token != tokenizer.unk_token):
        raise ValueError(f"the tokenizer has no token {token}, which pictures need")
    return int(number)
