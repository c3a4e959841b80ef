"""A batch of captioned pictures → conversations: each sample's own, or one drawn from its caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sharding.sample import metadata_of
from trainer_bridge.data.batch import Batch
from trainer_bridge.data.chat_tokenizer import encode_conversations
from trainer_bridge.data.conversations import Conversation, draw_conversation, language_of
from trainer_bridge.data.instructions.dialogue import read_dialogue
from trainer_bridge.data.instructions.encoding import Encoder
from trainer_bridge.data.instructions.example import SampleFault
from trainer_bridge.data.sequences import Encoded, nothing
from trainer_bridge.models.losses import gather_texts, rank, world_size
from trainer_bridge.models.negatives import append_rows_of_others
from trainer_bridge.stages.chat_settings import ChatExperiment

OWN = {"conversations", "messages"}  # members of a json that hold a conversation


def encoded(
    batch: Batch, tokenizer: Any, image_tokens: int, experiment: ChatExperiment, device: torch.device, stored: Encoder
) -> list[Encoded]:
    """The conversation of each sample, with one picture; of a sample that is not valid too.

    `stored` encodes those that samples have in their json. A sample whose own has a fault is no longer valid, and named in the
    batch's faults.
    """
    drawn = conversations(batch, experiment, device)
    index = torch.tensor(image_index(drawn, rank(), world_size()), device=device)
    pixels, places = append_rows_of_others(batch.pixels.to(device, non_blocking=True), index)
    result = []
    for row, (conversation, place) in enumerate(zip(drawn, places.tolist(), strict=True)):
        if conversation.turns:
            ids, labels = encode_conversations(tokenizer, [conversation], image_tokens, experiment.model.length)
            result.append(Encoded(ids[0], labels[0], pixels[place][None]))
        else:
            result.append(_own(batch, row, stored, pixels[place][None]))
    return result


def _own(batch: Batch, row: int, stored: Encoder, picture: torch.Tensor) -> Encoded:
    """The conversation that a sample has in its json member, about its picture."""
    try:
        dialogue = read_dialogue(metadata_of(batch.json[row]), ["its picture"])
        shown = len(dialogue.pictures)  # none, where it stands in a last question that is left out
        ids, labels = stored.encode(dialogue, [1] * shown)
    except SampleFault as fault:
        if batch.valid[row]:
            batch.valid[row] = False
            batch.faults.append(f"sample {batch.sample_ids[row]}: {fault}")
        return nothing(picture.shape[-1], picture.device)
    return Encoded(torch.from_numpy(ids), torch.from_numpy(labels), picture[:shown])


def conversations(batch: Batch, experiment: ChatExperiment, device: torch.device) -> list[Conversation]:
    """One for each sample, drawn from its caption and others of the global batch in its language; empty where it has its own."""
    metadata = [metadata_of(data) for data in batch.json]
    locales = [entry.get("language") for entry in metadata]
    by_language: dict[str, list[str]] = {}
    columns = ([language_of(locale) for locale in locales], batch.captions, ["1" * valid for valid in batch.valid.tolist()])
    for language, caption, valid in zip(*(gather_texts(column, device) for column in columns), strict=True):
        by_language.setdefault(language, []).extend([caption] if valid else [])
    translation = experiment.translation
    return [
        Conversation([])
        if OWN & entry.keys()
        else draw_conversation(
            caption,
            locale,
            by_language[language_of(locale)],
            np.random.default_rng([experiment.data.seed, position, 1]),
            entry.get("also", ()),
            translated=translation.share,
            target_languages=translation.target_languages,
        )
        for caption, locale, entry, position in zip(batch.captions, locales, metadata, batch.positions, strict=True)
    ]


def image_index(conversations: Sequence[Conversation], rank: int, world: int) -> list[int]:
    """The sample of the global batch whose picture each conversation of a rank is shown: its own, or the next one's.

    That is where an answer is given: a translation must be learned from the given text, not from the picture.
    """
    count = len(conversations)
    own = range(rank * count, (rank + 1) * count)
    return [(i + 1) % (world * count) if chat.given_turns else i for i, chat in zip(own, conversations, strict=True)]
