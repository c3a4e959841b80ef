"""How stage 3 writes conversations and cuts pictures, in training and in the processor of the model that it saves."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import distributed as dist

from trainer_bridge.data.chat_tokenizer import END, TEMPLATE, build_processor
from trainer_bridge.data.instructions.encoding import Encoder
from trainer_bridge.data.instructions.example import Example
from trainer_bridge.data.instructions.source import InstructionSource, open_source, rule_of
from trainer_bridge.data.instructions.template import OWN, ChatTemplate
from trainer_bridge.data.instructions.tiles import TileRule
from trainer_bridge.data.sequences import Encoded
from trainer_bridge.stages.chat_settings import ConversationExperiment


class ConversationFormat:
    """The template and the tiles of an experiment's conversations; of captioned shards our template and one tile.

    end  the token that ends an answer
    """

    def __init__(self, experiment: ConversationExperiment, tokenizer: Any, side: int, image_tokens: int) -> None:
        self.settings, self.seed, self.length = experiment.conversations, experiment.data.seed, experiment.model.length
        self.tokenizer, self.side, self.image_tokens = tokenizer, side, image_tokens
        self.template = ChatTemplate(tokenizer, self.settings.template) if self.settings.data else None
        self.end = self.template.end if self.template else END
        self.rule = TileRule(side, self.settings.min_dynamic_patch, self.settings.max_dynamic_patch)
        self.tiles: TileRule | None = None

    @cached_property
    def stored(self) -> Encoder:
        """What encodes the conversations that samples of shards have."""
        return Encoder(self.tokenizer, ChatTemplate(self.tokenizer, OWN), self.image_tokens, self.length)

    def source(self) -> InstructionSource | None:
        """The conversations to train on; None where there are only shards. All ranks call it."""
        if self.template is None:
            return None
        encoder = Encoder(self.tokenizer, self.template, self.image_tokens, self.length)
        open_own = partial(open_source, self.settings.data, encoder, self.rule, self.seed)
        source = open_own() if os.environ.get("LOCAL_RANK", "0") == "0" else None
        if dist.is_initialized():
            dist.barrier()  # one process of a machine finds where entries lie, the others then read it
        source = source or open_own()
        rules = [rule_of(each, self.rule) for each, _ in source.sets]
        self.tiles = replace(self.rule, least=min(rule.least for rule in rules), most=max(rule.most for rule in rules))
        return source

    def processor(self) -> Any:
        """The processor that gives a model prompts and pictures as in training."""
        if self.template is None or self.tiles is None:
            return build_processor(self.tokenizer, self.side, self.image_tokens, template=TEMPLATE)
        self.tokenizer.chat_template = self.template.jinja
        tiles = self.tiles.least, self.tiles.most
        return build_processor(self.tokenizer, self.side, self.image_tokens, tiles, self.template.jinja)


def encoded(example: Example) -> Encoded:
    """An example in tensors."""
    return Encoded(*(torch.from_numpy(array) for array in (example.ids, example.labels, example.tiles)))
