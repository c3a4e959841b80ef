"""Stage 3: InternViT → MLP → language model, trained on answers; first the MLP alone, then the language model too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from infra.compat.settings import Section
from infra.compat.torchvision_operators import define_missing_operators
from sharding.decode import decode_picture
from sharding.index import Dataset
from sharding.sample import metadata_of
from trainer_bridge.checkpoints.building import Start
from trainer_bridge.checkpoints.hugging_face import (
    is_internvl,
    language_config,
    load_internvl,
    load_language_model,
    outline_internvl,
    save_internvl,
)
from trainer_bridge.checkpoints.model_folders import META, image_tower_start
from trainer_bridge.data.batch import Batch, slices
from trainer_bridge.data.chat_tokenizer import (
    IMAGE,
    add_chat_tokens,
    build_processor,
    encode_conversations,
    new_tokenizer,
)
from trainer_bridge.data.conversations import (
    TARGET_LANGUAGES,
    TRANSLATED,
    Conversation,
    draw_conversation,
    language_of,
    stored_conversation,
)
from trainer_bridge.data.transforms import normalise, whole
from trainer_bridge.evaluation.captioning import ChatEvaluator
from trainer_bridge.flops import Transformer, chat_step
from trainer_bridge.models.internvit import InternViTConfig
from trainer_bridge.models.internvl import (
    ChatConfig,
    ChatLoss,
    add_dropout,
    is_trained,
    join_internvl,
    joined_state,
    language_settings,
)
from trainer_bridge.models.losses import IGNORED, gather_texts, rank, token_loss, total, world_size
from trainer_bridge.models.negatives import append_rows_of_others
from trainer_bridge.schedule import Phase
from trainer_bridge.stages.outline import Outline
from trainer_bridge.stages.parameter_groups import parameter_groups
from trainer_bridge.stages.settings import Experiment, OneRate
from trainer_bridge.stages.stage import Stage, first_captions, made_once, to_device


class TranslationSettings(Section):
    """Conversations about captions that are known in several languages.

    share             of them that translate instead of describing the picture
    target_languages  most languages that one translates into
    """

    share: float = Field(TRANSLATED, ge=0, le=1)
    target_languages: int = Field(TARGET_LANGUAGES, ge=1)


class ChatExperiment(Experiment):
    """The settings of stage 3; the sizes of the image tower come from the stage-1 model it starts from."""

    model: ChatConfig
    translation: TranslationSettings = TranslationSettings()
    optimizer: OneRate


class ChatStage(Stage):
    """Starts from a stage-1 model, or an InternViT, and a language model, or goes on from a folder in the Hugging Face layout."""

    model: ChatLoss

    experiment_type, evaluator_type = ChatExperiment, ChatEvaluator
    trained_members = ("text", "json")  # the json member may have a conversation

    def __init__(self, experiment: ChatExperiment, dataset: Dataset, start: Path | None, out: Path) -> None:
        start, config = _require(start), experiment.model
        self.experiment = experiment
        if is_internvl(start):
            self.chat, self.tokenizer = load_internvl(start), _load_tokenizer(start)
        else:
            begun, self.tokenizer = _joined(config, dataset, start, out)
            self.chat, self.tensors = begun.model, {f"chat.{name}": tensor for name, tensor in begun.tensors.items()}
        _prepare(self.chat, config)
        self.model = ChatLoss(self.chat)
        self.side = self.chat.config.vision_config.image_size[0]
        self.image_tokens = self.chat.config.image_seq_length

    def transform(self, image: bytes, rng: np.random.Generator) -> np.ndarray:
        """Encoded image → uint8[3, S, S], the whole picture."""
        return whole(decode_picture(image, self.side), self.side)

    def parameters(self) -> list[dict[str, Any]]:
        """The modules that `model.train` names."""
        optimizer = self.experiment.optimizer
        return parameter_groups(self.model, {"": optimizer.lr}, optimizer)

    def losses(self, engine: nn.Module, batch: Batch, micro_batch: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
        """Cross-entropy of the next token, on the answers, mean over the tokens of the global batch."""
        conversations = self._conversations(batch, device)
        index = torch.tensor(image_index(conversations, rank(), world_size()), device=device)
        pixels, places = append_rows_of_others(batch.pixels.to(device, non_blocking=True), index)
        rows = slices(len(conversations), micro_batch)
        length = self.experiment.model.length
        tables = [encode_conversations(self.tokenizer, conversations[part], self.image_tokens, length) for part in rows]
        for part, (_, labels) in zip(rows, tables, strict=True):
            labels[~batch.valid[part]] = IGNORED
        labelled = torch.tensor(sum(int((labels[:, 1:] != IGNORED).sum()) for _, labels in tables), device=device)
        tokens = total(labelled).clamp(min=1)
        self.row_tokens, self.learned = tables[-1][0].shape[1], int((tables[-1][1] != IGNORED).sum()) / len(tables[-1][0])
        for part, table in zip(rows, tables, strict=True):
            yield {"answers": engine(*to_device(device, *table), normalise(pixels[places[part]])) / tokens}

    def _conversations(self, batch: Batch, device: torch.device) -> list[Conversation]:
        """A conversation per sample: its own, or one drawn from its caption and others of the global batch in its language."""
        metadata = [metadata_of(data) for data in batch.json]
        locales = [entry.get("language") for entry in metadata]
        by_language: dict[str, list[str]] = {}
        columns = ([language_of(locale) for locale in locales], batch.captions, ["1" * valid for valid in batch.valid.tolist()])
        for language, caption, valid in zip(*(gather_texts(column, device) for column in columns), strict=True):
            by_language.setdefault(language, []).extend([caption] if valid else [])
        translation = self.experiment.translation
        return [
            stored_conversation(entry)
            or draw_conversation(
                caption,
                locale,
                by_language[language_of(locale)],
                np.random.default_rng([self.experiment.data.seed, position, 1]),
                entry.get("also", ()),
                translated=translation.share,
                target_languages=translation.target_languages,
            )
            for caption, locale, entry, position in zip(batch.captions, locales, metadata, batch.positions, strict=True)
        ]

    def flops(self) -> float:
        """With conversations as long, and as many answers, as in the last micro-batch."""
        vision, language = self.chat.config.vision_config, self.chat.config.text_config
        shared = language.num_attention_heads / language.num_key_value_heads
        image = InternViTConfig(
            image_size=self.side,
            patch=vision.patch_size[0],
            width=vision.hidden_size,
            depth=vision.num_hidden_layers,
            mlp=vision.intermediate_size,
        )
        tower = Transformer(language.hidden_size, language.num_hidden_layers, language.intermediate_size, True, shared)
        sizes = (language.vocab_size, self.row_tokens, self.learned, self.image_tokens)
        return chat_step(image, tower, *sizes, self.experiment.model.train)

    @classmethod
    def outline(cls, experiment: ChatExperiment, start: Path | None) -> Outline:
        """The model of the settings around what it starts from; a picture and a text of the greatest length in each sample."""
        start, config = _require(start), experiment.model
        chat = outline_internvl(start) if is_internvl(start) else _outlined(config, start)
        _prepare(chat, config)
        side, text = chat.config.vision_config.image_size[0], max(1, config.length - chat.config.image_seq_length)

        def loss(model: nn.Module, phase: Phase) -> Tensor:
            samples = phase.micro_batch
            parts, ids = model.chat.model, torch.zeros(samples, text, dtype=torch.int64)
            pictures = parts.get_image_features(pixel_values=torch.zeros(samples, 3, side, side)).pooler_output
            words = parts.get_input_embeddings()(ids)
            states = parts.language_model(inputs_embeds=torch.cat([pictures, words], dim=1), use_cache=False).last_hidden_state
            return token_loss(model.chat.lm_head(states[:, -text:]), ids)

        return Outline(ChatLoss(chat), side, loss, lambda samples, ranks: 0)

    def save(self, folder: Path, state: dict[str, Tensor]) -> None:
        """The native Hugging Face layout: config, safetensors, tokenizer, processors, chat template."""
        processor = build_processor(self.tokenizer, self.side, self.image_tokens)
        weights = {name.removeprefix("chat."): tensor for name, tensor in state.items()}
        save_internvl(folder, self.chat, processor, self.experiment.model_dump(mode="json"), weights)

    @classmethod
    def wrote(cls, folder: Path) -> bool:
        """Whether the folder holds an InternVL in the Hugging Face layout."""
        return is_internvl(folder)

    def evaluator(self, device: torch.device, batch: int) -> ChatEvaluator:
        """Loss on captions, and for samples with a known noun in how many descriptions it stands."""
        processor = build_processor(self.tokenizer, self.side, self.image_tokens)
        return ChatEvaluator(self.model, processor, device, batch)

    @classmethod
    def load(cls, folder: Path, device: torch.device, batch: int) -> ChatEvaluator:
        """The same of a saved model."""
        return ChatEvaluator(ChatLoss(load_internvl(folder)).to(device), _load_processor(folder), device, batch)


def image_index(conversations: Sequence[Conversation], rank: int, world: int) -> list[int]:
    """The sample of the global batch whose picture each conversation of a rank is shown: its own, or the next one's.

    That is where an answer is given: a translation must be learned from the given text, not from the picture.
    """
    count = len(conversations)
    own = range(rank * count, (rank + 1) * count)
    return [(i + 1) % (world * count) if chat.given_turns else i for i, chat in zip(own, conversations, strict=True)]


def _require(start: Path | None) -> Path:
    if start is None:
        raise ValueError("the chat stage starts from a stage-1 model, an InternViT or an InternVL; name its folder with --from")
    return start


def _prepare(chat: Any, config: ChatConfig) -> None:
    """Settles which parameters are trained, and adds dropout."""
    for name, parameter in chat.named_parameters():
        parameter.requires_grad_(is_trained(name, config.train))
    if config.dropout:
        add_dropout(chat.model.language_model, config.dropout)


def _outlined(config: ChatConfig, start: Path) -> Any:
    """As `_joined`, without a tokenizer and without data."""
    _require_one_language_model(config)
    sizes = image_tower_start(start).model.config
    language = (
        language_config(config.language_checkpoint)
        if config.language is None
        else language_settings(config.language, config.length, 0, 1)
    )
    with META:
        return join_internvl(sizes, language, 0, config.downsample)


def _require_one_language_model(config: ChatConfig) -> None:
    if bool(config.language) == bool(config.language_checkpoint):
        raise ValueError("set one of model.language and model.language_checkpoint, or --from from an InternVL folder")


def _joined(config: ChatConfig, dataset: Dataset, start: Path, out: Path) -> tuple[Start[Any], Any]:
    """(model, tokenizer): the image tower of a model with a language model, and a new MLP between them."""
    vision = image_tower_start(start)
    tensors: dict[str, Tensor] = {}
    _require_one_language_model(config)
    if config.language is None:
        language, tokenizer = load_language_model(config.language_checkpoint)
        tokenizer = add_chat_tokens(tokenizer)
        language.resize_token_embeddings(max(len(tokenizer), language.config.vocab_size))
        settings, tensors = language.config, language.state_dict()
    else:
        vocabulary = config.language.vocabulary
        tokenizer = _load_tokenizer(
            made_once(out / "tokenizer", lambda path: new_tokenizer(first_captions(dataset), vocabulary).save_pretrained(path))
        )
        settings = language_settings(config.language, config.length, tokenizer.pad_token_id, tokenizer.eos_token_id)
    sizes = vision.model.config
    with META:
        model = join_internvl(sizes, settings, tokenizer.convert_tokens_to_ids(IMAGE), config.downsample)
    return Start(model, joined_state(sizes, vision.tensors, tensors)), tokenizer


def _load_processor(folder: Path) -> Any:
    define_missing_operators()
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(folder)


def _load_tokenizer(folder: Path) -> Any:
    define_missing_operators()
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)
