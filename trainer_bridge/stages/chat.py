"""Stage 3: InternViT → MLP → language model, trained on answers; first the MLP alone, then the language model too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist

from infra.compat.torchvision_operators import define_missing_operators
from sharding.index import Dataset
from trainer_bridge.checkpoints.model_folders import is_chat, load_contrastive
from trainer_bridge.config import ChatExperiment
from trainer_bridge.data.chat_tokenizer import IMAGE, encode_chats, new_tokenizer, prepared, processor_of, save_chat
from trainer_bridge.data.conversations import Chat, conversation, given, language_of
from trainer_bridge.data.loader import Batch
from trainer_bridge.data.transforms import decode, normalise, whole
from trainer_bridge.evaluation.captioning import answers
from trainer_bridge.models.internvl import (
    Answering,
    ChatConfig,
    add_dropout,
    build,
    image_tokens,
    is_trained,
    load_chat,
    load_language,
    new_language,
)
from trainer_bridge.stages.stage import Stage, captions_of, groups


class ChatStage(Stage):
    """Starts from a stage-1 model and a language model, or goes on from a folder in the Hugging Face layout."""

    config_type = ChatExperiment

    def __init__(self, config: ChatExperiment, dataset: Dataset, start: Path | None, out: Path) -> None:
        if start is None:
            raise ValueError("the chat stage starts from a stage-1 model or an InternVL folder; name it with --from")
        self.config = config
        if is_chat(start):
            define_missing_operators()
            from transformers import AutoTokenizer

            self.chat, self.tokenizer = load_chat(start), AutoTokenizer.from_pretrained(start)
        else:
            self.chat, self.tokenizer = _joined(config.model, dataset, start, out)
        for name, parameter in self.chat.named_parameters():
            parameter.requires_grad_(is_trained(name, config.model.train))
        if config.model.dropout:
            add_dropout(self.chat.model.language_model, config.model.dropout)
        self.model = Answering(self.chat)
        self.side = self.chat.config.vision_config.image_size[0]
        self.image_tokens = self.chat.config.image_seq_length

    def transform(self, image: bytes, chance: np.random.Generator) -> np.ndarray:
        """Stored bytes → uint8[3, S, S], the whole picture."""
        return whole(decode(image, self.side), self.side)

    def parameters(self) -> list[dict[str, Any]]:
        """What `model.train` names."""
        return groups(self.model.named_parameters(), {"": self.config.optimizer.lr}, self.config.optimizer.weight_decay)

    def losses(self, engine: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
        """Next token on the answers."""
        chats = self._chats(batch)
        ids, attention, labels = (
            table.to(device) for table in encode_chats(self.tokenizer, chats, self.image_tokens, self.config.model.length)
        )
        pixels = batch.pixels[shown(chats)].to(device)
        return {"answers": engine(ids, attention, labels, normalise(pixels))}

    def _chats(self, batch: Batch) -> list[Chat]:
        """A conversation per sample: its own, or made from its caption and others of the batch in its language."""
        abouts = [json.loads(data) for data in batch.json]
        by_language: dict[str, list[str]] = {}
        for caption, about in zip(batch.captions, abouts, strict=True):
            by_language.setdefault(language_of(about.get("language")), []).append(caption)
        chats, talk = [], self.config.talk.model_dump()
        for caption, about, position in zip(batch.captions, abouts, batch.positions, strict=True):
            chance = np.random.default_rng([self.config.data.seed, position, 1])
            locale = about.get("language")
            others, also = by_language[language_of(locale)], about.get("also", ())
            chats.append(given(about) or conversation(caption, locale, others, chance, also, **talk))
        return chats

    def save(self, folder: Path, state: dict[str, Tensor]) -> None:
        """The native Hugging Face layout: config, safetensors, tokenizer, processors, chat template."""
        self.model.load_state_dict(state)
        processor = processor_of(self.tokenizer, self.side, self.image_tokens)
        save_chat(folder, self.chat, processor, self.config.model_dump(mode="json"))

    def evaluate(self, folder: Path, dataset: Dataset) -> dict[str, float]:
        """Of held-out pictures with a known noun: in how many descriptions it stands."""
        return answers(folder, dataset, "heldout")


def shown(chats: Sequence[Chat]) -> list[int]:
    """Which picture of the batch each conversation is shown: its own, or where it is told what is on it the next one."""
    return [(place + 1) % len(chats) if chat.told else place for place, chat in enumerate(chats)]


def _joined(config: ChatConfig, dataset: Dataset, start: Path, out: Path) -> tuple[Any, Any]:
    """(model, tokenizer): the InternViT of a stage-1 model with a language model, the MLP new."""
    stage1, _ = load_contrastive(start)
    vision = stage1.image_tower
    if bool(config.language) == bool(config.language_checkpoint):
        raise ValueError("set one of model.language and model.language_checkpoint, or --from from an InternVL folder")
    if config.language is None:
        language, tokenizer = load_language(config.language_checkpoint)
        tokenizer = prepared(tokenizer)
        language.resize_token_embeddings(max(len(tokenizer), language.config.vocab_size))
    else:
        folder = out / "tokenizer"
        if dist.get_rank() == 0 and not folder.exists():
            new_tokenizer(captions_of(dataset), config.language.vocabulary).save_pretrained(folder)
        dist.barrier()
        define_missing_operators()
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder)
        language = new_language(config.language, config.length, tokenizer.pad_token_id, tokenizer.eos_token_id)
    image_tokens(vision.config, config.downsample)
    return build(vision, language, tokenizer.convert_tokens_to_ids(IMAGE), config.downsample), tokenizer
