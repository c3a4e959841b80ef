"""Mono-InternVL: a language model learns to see, by its stages concept, semantic, alignment and instruction.

What each of them trains, on which tiles, at which rates is its experiment (`configs/mono-*.toml`). Source: Mono-InternVL §3.3,
tables 1 and 8.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sharding.index import Dataset
from trainer_bridge.checkpoints.mono_internvl import is_mono, read_mono, write_mono
from trainer_bridge.data.chat_tokenizer import IMAGE
from trainer_bridge.data.mono_tokenizer import load_mono_tokenizer, new_token_ids
from trainer_bridge.evaluation.mono_captions import MonoEvaluator
from trainer_bridge.flops import Transformer, mono_step
from trainer_bridge.models.losses import token_loss
from trainer_bridge.models.mono import MonoLoss, MonoModel
from trainer_bridge.models.packed_attention import use_packed_attention
from trainer_bridge.schedule import Phase
from trainer_bridge.stages.chat_format import ConversationFormat
from trainer_bridge.stages.conversation_stage import ConversationStage
from trainer_bridge.stages.mono_settings import MonoExperiment, part_of
from trainer_bridge.stages.mono_start import embeddings, only_rows, outlined_mono, prepare_mono, start_mono
from trainer_bridge.stages.outline import Outline
from trainer_bridge.stages.parameter_groups import parameter_groups


class MonoStage(ConversationStage):
    """Starts from a language model, or goes on from the stage before; trained on conversations alone."""

    model: MonoLoss
    experiment: MonoExperiment

    experiment_type, evaluator_type = MonoExperiment, MonoEvaluator

    def __init__(self, experiment: MonoExperiment, dataset: Dataset | None, start: Path | None, out: Path) -> None:
        config, self.experiment = experiment.model, experiment
        begun, self.tokenizer = start_mono(config, start)
        self.mono, self.tensors = begun.model, {f"mono.{name}": tensor for name, tensor in begun.tensors.items()}
        prepare_mono(self.mono, config)
        self.masked = not config.new_tokens or "language" in config.train
        if experiment.packing:
            use_packed_attention(self.mono.language, config.length)
        self.model = MonoLoss(self.mono)
        self.side, self.image_tokens = self.mono.config.image_size, self.mono.config.tokens
        self.format = ConversationFormat(experiment, self.tokenizer, self.side, self.image_tokens)
        self.examples = self.format.source()
        if self.examples is None:
            raise ValueError("Mono-InternVL is trained on conversations; name them with --data (a meta file may name shards)")

    def begin(self, phase: Phase) -> None:
        """Of embeddings trained for the new tokens alone, the gradients of all other rows are zero from here on."""
        if not self.masked:  # not before: filling a model replaces what hooks hang on
            for weight in embeddings(self.mono):
                weight.register_hook(partial(only_rows, rows=new_token_ids(self.tokenizer)))
            self.masked = True

    def parameters(self) -> list[dict[str, Any]]:
        """What `model.train` names; embeddings of which but some rows are trained do not decay, as the others must stay."""
        config, optimizer = self.experiment.model, self.experiment.optimizer
        groups = parameter_groups(self.model, {"": optimizer.lr}, optimizer)
        if not config.new_tokens or "language" in config.train:
            return groups
        rows = {parameter for name, parameter in self.mono.named_parameters() if part_of(name) == "language"}
        kept = [{**group, "params": [p for p in group["params"] if p not in rows]} for group in groups]
        own = {"params": [p for p in rows if p.requires_grad], "lr": optimizer.lr, "weight_decay": 0.0}
        return [group for group in (*kept, own) if group["params"]]

    def flops(self) -> float:
        """With conversations as long, with as many tiles and answers, as in the last micro-batch."""
        language, picture = self.mono.language.config, self.mono.config
        shared = language.num_attention_heads / language.num_key_value_heads
        tower = Transformer(language.hidden_size, language.num_hidden_layers, language.intermediate_size, True, shared)
        tokens, tiles, learned = self.last.means()
        return mono_step(picture, tower, language.vocab_size, tokens, learned, tiles, self.experiment.model.train)

    @classmethod
    def outline(cls, experiment: MonoExperiment, start: Path | None) -> Outline:
        """The model of the settings; as many tiles as there is room for, and text up to the length."""
        config = experiment.model
        mono = outlined_mono(config, start)
        prepare_mono(mono, config)
        side, tokens = mono.config.image_size, mono.config.tokens

        def loss(model: nn.Module, phase: Phase) -> Tensor:
            samples, tiles, text = experiment.largest_pass(phase.micro_batch, tokens)
            ids = torch.zeros(samples, text, dtype=torch.int64)
            words = model.mono.language.get_input_embeddings()(ids)
            seen = model.mono.pictures(torch.zeros(samples * tiles, 3, side, side)).reshape(samples, tiles * tokens, -1)
            rows = torch.arange(samples * (tiles * tokens + text)).view(samples, -1)
            model.mono.routing.visual, model.mono.routing.text = rows[:, :-text].flatten(), rows[:, -text:].flatten()
            states = model.mono.language.model(inputs_embeds=torch.cat([seen, words], dim=1), use_cache=False).last_hidden_state
            return token_loss(model.mono.language.lm_head(states[:, -text:]), ids)

        return Outline(MonoLoss(mono), side, loss, lambda samples, ranks: 0, experiment.most_tiles(tokens))

    def save(self, folder: Path, state: dict[str, Tensor]) -> None:
        """The released layout where the language model is a LLaMA, as Mono-InternVL-2B's is; else one with its own names."""
        weights = {name.removeprefix("mono."): tensor for name, tensor in state.items()}
        self.format.processor()  # sets the tokenizer's chat template
        settings, rule = self.experiment.model_dump(mode="json"), self.format.tiles
        write_mono(folder, self.mono, weights, self.tokenizer, settings, (rule.least, rule.most) if rule else (1, 1))

    @classmethod
    def wrote(cls, folder: Path) -> bool:
        """Whether the folder holds a Mono-InternVL."""
        return is_mono(folder)

    def evaluator(self, device: torch.device, batch: int) -> MonoEvaluator:
        """Loss on captions."""
        return MonoEvaluator(self.model, self.tokenizer, device, batch)

    @classmethod
    def load(cls, folder: Path, device: torch.device, batch: int) -> MonoEvaluator:
        """The same of a saved model."""
        tokenizer = load_mono_tokenizer(folder)
        model: MonoModel = read_mono(folder, tokenizer.convert_tokens_to_ids(IMAGE)).filled()
        return MonoEvaluator(MonoLoss(model).to(device), tokenizer, device, batch)
