"""The settings of stage 3."""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from infra.compat.settings import Section
from sharding.conversation_sets import MOST_TILES
from trainer_bridge.data.conversations import TARGET_LANGUAGES, TRANSLATED
from trainer_bridge.data.instructions.template import BASE
from trainer_bridge.data.sequences import Weighting
from trainer_bridge.models.internvl import ChatConfig, ConversationModelConfig
from trainer_bridge.models.lora import LoraSettings
from trainer_bridge.stages.settings import Experiment, OneRate


class TranslationSettings(Section):
    """Conversations about captions that are known in several languages.

    share             of them that translate instead of describing the picture
    target_languages  most languages that one translates into
    """

    share: float = Field(TRANSLATED, ge=0, le=1)
    target_languages: int = Field(TARGET_LANGUAGES, ge=1)


class ConversationSettings(Section):
    """Conversations as others publish them, to train on in place of shards.

    data               a meta file of InternVL, or a file of conversations, JSON lines or a list (URI); --data names another
    template           how they are written: base (that of the model it starts from), chatml, internvl2_5, mono, pairmill
    min_dynamic_patch  least and most tiles of a picture, besides its thumbnail; a set of the meta file may say otherwise
    """

    data: str = ""
    template: str = BASE
    min_dynamic_patch: int = Field(1, ge=1, le=MOST_TILES)
    max_dynamic_patch: int = Field(6, ge=1, le=MOST_TILES)

    @model_validator(mode="after")
    def _ordered(self) -> ConversationSettings:
        if self.min_dynamic_patch > self.max_dynamic_patch:
            raise ValueError("min_dynamic_patch is more than max_dynamic_patch; lower it")
        return self


class PackingSettings(Section):
    """Several conversations in one sequence, none of which sees another. A pack is a micro-batch; `run.micro_batch` is not used.

    tokens  most tokens of a pack
    tiles   most tiles of a pack, which the image tower sees at once
    """

    tokens: int = Field(ge=8)
    tiles: int = Field(ge=1)


class LossSettings(Section):
    """How much each conversation counts in the loss.

    weight  token: each learned token as much as any other; sample: each conversation as much as any other; square: in between,
            by the square root of its learned tokens, as InternVL 2.5
    """

    weight: Weighting = "token"


class ConversationExperiment(Experiment):
    """The settings of stages that learn from conversations."""

    model: ConversationModelConfig
    conversations: ConversationSettings = ConversationSettings()
    packing: PackingSettings | None = None
    loss: LossSettings = LossSettings()
    optimizer: OneRate

    @model_validator(mode="after")
    def _fitting(self) -> ConversationExperiment:
        if self.packing and self.packing.tokens < self.model.length:
            raise ValueError(
                f"packing.tokens = {self.packing.tokens} is less than model.length = {self.model.length}, the longest "
                "conversation; raise it"
            )
        return self

    def most_tiles(self, image_tokens: int) -> int:
        """Tiles of a conversation at most, of so many tokens each; 1 of captioned shards."""
        most = self.conversations.max_dynamic_patch if "conversations" in self.model_fields_set or self.conversations.data else 1
        return max(1, min((self.model.length - 1) // image_tokens, most + (most > 1)))

    def largest_pass(self, micro_batch: int, image_tokens: int) -> tuple[int, int, int]:
        """(conversations, tiles and tokens of text in each) of the largest forward pass, of the longest conversations: a
        micro-batch, or as many as fill a pack.
        """
        count, tiles = micro_batch, self.most_tiles(image_tokens)
        if self.packing:
            count = math.ceil(self.packing.tokens / self.model.length)
            tiles = max(1, min((self.model.length - 1) // image_tokens, math.ceil(self.packing.tiles / count)))
        return count, tiles, max(1, self.model.length - tiles * image_tokens)


class ChatExperiment(ConversationExperiment):
    """The settings of stage 3; the sizes of the image tower come from the stage-1 model it starts from."""

    model: ChatConfig
    translation: TranslationSettings = TranslationSettings()
    lora: LoraSettings | None = None

    @model_validator(mode="after")
    def _trained_once(self) -> ChatExperiment:
        train, lora = self.model.train, self.lora
        if both := sorted(set(train) & set(lora.modules if lora else ())):
            raise ValueError(f"model.train and lora.modules both name {both[0]!r}; take it out of model.train to adapt it")
        if lora and lora.save == "adapter" and set(train) - {"projector"}:
            raise ValueError(
                'lora.save = "adapter" keeps an adapter and the projector alone; set it to "merged", or train no more'
            )
        if not train and not lora:
            raise ValueError('model.train names nothing to train; name modules, as ["projector", "language"], or set [lora]')
        return self
