"""Answers of a stage-3 model to questions about pictures, written and cut as its processor says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from sharding.decode import decode_picture
from trainer_bridge.data.instructions.dialogue import Dialogue, Message
from trainer_bridge.data.instructions.encoding import Encoder
from trainer_bridge.data.instructions.source import InstructionSource
from trainer_bridge.data.instructions.template import ChatTemplate
from trainer_bridge.models.losses import IGNORED, world_size

UNLIMITED = 1 << 30
TRIED, SAMPLES, SAMPLE_TOKENS = 16, 2, 48  # of the conversations that are shown in training


class Answerer:
    """Greedy answers of `chat`; `run` calls a function of the model, in training as a forward pass of DeepSpeed."""

    def __init__(self, chat: Any, processor: Any, device: torch.device, run: Callable[..., Any] | None = None) -> None:
        self.chat, self.pictures, self.device = chat, processor.image_processor, device
        self.run = run or (lambda function, *inputs, **named: function(*inputs, **named))
        self.tokenizer = processor.tokenizer
        self.tokenizer.chat_template = processor.chat_template
        self.template = ChatTemplate(self.tokenizer)
        self.encoder = Encoder(self.tokenizer, self.template, processor.image_seq_length, UNLIMITED)

    def answer(self, dialogues: Sequence[Dialogue], pictures: Sequence[Sequence[Image.Image]], tokens: int) -> list[str]:
        """The answer, of at most so many tokens, that each dialogue ends with; what it has as its last answer is not read."""
        parts = [self._tiles(each) for each in pictures]
        rows = [self._prompt(dialogue, counts) for dialogue, (_, counts) in zip(dialogues, parts, strict=True)]
        longest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows], device=self.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=self.device)
        tiles = [tiles for tiles, counts in parts if counts]
        options: dict[str, Any] = {"pixel_values": torch.cat(tiles).to(self.device)} if tiles else {}
        options |= {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": pad}
        options["eos_token_id"] = self.tokenizer.convert_tokens_to_ids(self.template.end)
        # Under ZeRO-3 a rank that is done must go on for as long as another is not.
        told = self.run(self.chat.generate, input_ids=ids, attention_mask=mask, synced_gpus=world_size() > 1, **options)
        return [text.strip() for text in self.tokenizer.batch_decode(told[:, longest:], skip_special_tokens=True)]

    def _prompt(self, dialogue: Dialogue, counts: Sequence[int]) -> list[int]:
        """The tokens before the last answer."""
        ids, labels = self.encoder.encode(dialogue, counts)
        learned = np.flatnonzero(labels != IGNORED)
        starts = learned[np.append(True, np.diff(learned) > 1)]
        return [int(token) for token in ids[: starts[-1]]]

    def _tiles(self, pictures: Sequence[Image.Image]) -> tuple[torch.Tensor, list[int]]:
        """(float32[K, 3, S, S], tiles of each): several pictures share the tiles, as in training."""
        if not pictures:
            return torch.zeros(0), []
        processor = self.pictures
        most = max(1, processor.max_patches // len(pictures))
        limits = {"crop_to_patches": most > 1, "min_patches": min(processor.min_patches, most), "max_patches": most}
        result = processor(images=list(pictures), return_tensors="pt", **limits)
        return result["pixel_values"], [int(count) for count in result["num_patches"]]


def sample_answers(answerer: Answerer, source: InstructionSource) -> list[dict[str, str]]:
    """Question, answer, and the answer in the data, of the first conversations that can be read."""
    rows = []
    for position in range(min(TRIED, source.total)):
        try:
            dialogue, encoded = source.dialogue(position)
            question = first_question(dialogue)
            pictures = [decode_picture(data) for data in encoded[: len(question.pictures)]]
        except ValueError:  # a fault, which the loader names
            continue
        (answer,) = answerer.answer([question], [pictures], SAMPLE_TOKENS)
        given = next(message.texts[0] for message in dialogue.messages if message.role == "assistant")
        rows.append({"question": "<image>".join(question.messages[-2].texts), "answer": answer, "given": given})
        if len(rows) == SAMPLES:
            break
    return rows


def first_question(dialogue: Dialogue) -> Dialogue:
    """A conversation up to its first answer, which is empty."""
    end = next(i for i, message in enumerate(dialogue.messages) if message.role == "assistant")
    messages = dialogue.messages[:end]
    return Dialogue((*messages, Message("assistant", ("",))), dialogue.pictures[: sum(each.pictures for each in messages)])
