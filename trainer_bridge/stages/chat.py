"""Stage 3: InternViT → MLP → language model, trained on answers; first the MLP alone, then the language model too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sharding.index import Dataset
from trainer_bridge.checkpoints.adapters import save_adapter
from trainer_bridge.checkpoints.building import fill
from trainer_bridge.checkpoints.hugging_face import is_internvl, load_internvl, save_internvl, save_processor, stored_dtype
from trainer_bridge.checkpoints.model_folders import META
from trainer_bridge.data.batch import Batch
from trainer_bridge.data.sequences import (
    Encoded,
    learned_tokens,
    nothing,
)
from trainer_bridge.evaluation.answering import Answerer, sample_answers
from trainer_bridge.evaluation.captioning import ChatEvaluator
from trainer_bridge.flops import Transformer, chat_step
from trainer_bridge.models.internvit import InternViTConfig
from trainer_bridge.models.internvl import ChatLoss, qllama_of
from trainer_bridge.models.lora import LoraSettings, add_lora, merged
from trainer_bridge.models.losses import token_loss
from trainer_bridge.models.packed_attention import use_packed_attention
from trainer_bridge.schedule import Phase
from trainer_bridge.stages import captioned
from trainer_bridge.stages.chat_format import ConversationFormat
from trainer_bridge.stages.chat_settings import ChatExperiment
from trainer_bridge.stages.chat_start import joined, load_processor, outlined, prepare, require_start, resumed
from trainer_bridge.stages.conversation_stage import ConversationStage
from trainer_bridge.stages.outline import Outline


class ChatStage(ConversationStage):
    """Starts from a stage-1 model, or an InternViT, and a language model, or goes on from a folder in the Hugging Face layout."""

    model: ChatLoss
    experiment: ChatExperiment

    experiment_type, evaluator_type = ChatExperiment, ChatEvaluator
    trained_members = ("text", "json")  # the json member may have a conversation

    def __init__(self, experiment: ChatExperiment, dataset: Dataset | None, start: Path | None, out: Path) -> None:
        start, config = require_start(start), experiment.model
        self.experiment = experiment
        if is_internvl(start):
            self.chat, self.tokenizer = resumed(config, start)
        else:
            begun, self.tokenizer = joined(config, dataset, start, out)
            self.chat, self.tensors = begun.model, {f"chat.{name}": tensor for name, tensor in begun.tensors.items()}
        self.start, self.adapter = start, None
        if experiment.lora:
            self._adapt(experiment.lora)
        prepare(self.chat, config)
        if experiment.packing:
            use_packed_attention(self.chat.model.language_model, config.length)
        self.model = ChatLoss(self.chat)
        self.side = self.chat.config.vision_config.image_size[0]
        self.image_tokens = self.chat.config.image_seq_length
        self.format = ConversationFormat(experiment, self.tokenizer, self.side, self.image_tokens)
        self.examples = self.format.source()

    def _adapt(self, lora: LoraSettings) -> None:
        """Puts adapters into the model, which is filled first: they begin with its weights."""
        if self.tensors is not None:
            if lora.save == "adapter":
                raise ValueError(
                    'lora.save = "adapter" needs a model that it belongs to: start from an InternVL, or set "merged"'
                )
            fill(self.chat, {name.removeprefix("chat."): tensor for name, tensor in self.tensors.items()}, torch.device("cpu"))
            self.tensors = None
        self.adapter = add_lora(self.chat, lora)

    def conversations(self, batch: Batch, device: torch.device) -> list[Encoded]:
        """Those of others, or one for each captioned picture.

        One of which nothing is learned is named in the faults, and emptied.
        """
        if self.examples is not None:
            return super().conversations(batch, device)
        length, empty = self.experiment.model.length, nothing(self.side, device)
        conversations = captioned.encoded(batch, self.tokenizer, self.image_tokens, self.experiment, device, self.format.stored)
        for i, each in enumerate(conversations):
            if not batch.valid[i]:
                conversations[i] = empty
            elif not learned_tokens(each):
                batch.faults.append(f"sample {batch.sample_ids[i]}: no token of an answer stands within model.length = {length}")
                conversations[i] = empty
        return conversations

    def flops(self) -> float:
        """With conversations as long, with as many tiles and answers, as in the last micro-batch."""
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
        tokens, tiles, learned = self.last.means()
        qllama = qllama_of(self.chat.config)
        patches = self.image_tokens - (qllama[1].queries if qllama else 0)
        sizes = (language.vocab_size, tokens, learned, patches)
        return chat_step(image, tower, *sizes, self.experiment.model.train, tiles, qllama)

    @classmethod
    def outline(cls, experiment: ChatExperiment, start: Path | None) -> Outline:
        """The model of the settings around what it starts from; as many tiles as there is room for, and text up to the length."""
        config = experiment.model
        chat = outlined(config, require_start(start))
        if experiment.lora:
            with META:
                add_lora(chat, experiment.lora)
        prepare(chat, config)
        side, tokens = chat.config.vision_config.image_size[0], chat.config.image_seq_length

        def loss(model: nn.Module, phase: Phase) -> Tensor:
            samples, tiles, text = experiment.largest_pass(phase.micro_batch, tokens)
            parts, ids = model.chat.model, torch.zeros(samples, text, dtype=torch.int64)
            pictures = parts.get_image_features(pixel_values=torch.zeros(samples * tiles, 3, side, side)).pooler_output
            words, seen = parts.get_input_embeddings()(ids), pictures.reshape(samples, tiles * tokens, -1)
            states = parts.language_model(inputs_embeds=torch.cat([seen, words], dim=1), use_cache=False).last_hidden_state
            return token_loss(model.chat.lm_head(states[:, -text:]), ids)

        return Outline(ChatLoss(chat), side, loss, lambda samples, ranks: 0, experiment.most_tiles(tokens))

    def samples(self, steps: int, device: torch.device, run: Callable[..., Any]) -> list[dict[str, str]]:
        """Answers to the first questions of the first conversations in the order of training."""
        if self.examples is None:
            return []
        answerer = Answerer(self.chat, self.format.processor(), device, run)
        return sample_answers(answerer, self.examples)

    def save(self, folder: Path, state: dict[str, Tensor]) -> None:
        """The native Hugging Face layout: config, safetensors, tokenizer, processors, chat template; or an adapter in peft's."""
        processor, lora = self.format.processor(), self.experiment.lora
        settings = self.experiment.model_dump(mode="json")
        weights = {name.removeprefix("chat."): tensor for name, tensor in state.items()}
        if lora and lora.save == "adapter":
            save_adapter(
                folder, self.adapter, self.start, weights, ["multi_modal_projector"] * ("projector" in settings["model"]["train"])
            )
            save_processor(folder, processor, settings)
            return
        dtype = stored_dtype(self.start) if is_internvl(self.start) else "float32"
        weights = merged(weights, lora.scale) if lora else weights
        save_internvl(folder, self.chat, processor, settings, weights, dtype, self.format.end)

    @classmethod
    def wrote(cls, folder: Path) -> bool:
        """Whether the folder holds an InternVL in the Hugging Face layout."""
        return is_internvl(folder)

    def evaluator(self, device: torch.device, batch: int) -> ChatEvaluator:
        """Loss on captions, and for samples with a known noun in how many descriptions it stands."""
        return ChatEvaluator(self.model, self.format.processor(), device, batch)

    @classmethod
    def load(cls, folder: Path, device: torch.device, batch: int) -> ChatEvaluator:
        """The same of a saved model."""
        return ChatEvaluator(ChatLoss(load_internvl(folder)).to(device), load_processor(folder), device, batch)
