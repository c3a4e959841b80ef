"""Stage 3: InternViT → MLP → language model, trained on answers; first the MLP alone, then the language model too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from infra.compat.errors import RequestError
from sharding.decode import decode_pixels
from sharding.index import Dataset
from trainer_bridge.checkpoints.adapters import save_adapter
from trainer_bridge.checkpoints.building import fill
from trainer_bridge.checkpoints.hugging_face import is_internvl, load_internvl, save_internvl, save_processor, stored_dtype
from trainer_bridge.checkpoints.model_folders import META
from trainer_bridge.data.batch import Batch, slices
from trainer_bridge.data.packing import pack
from trainer_bridge.data.sequences import (
    Encoded,
    Sequences,
    exchange,
    learned_tokens,
    nothing,
    packed,
    padded,
    padding_share,
    weights_of,
)
from trainer_bridge.data.transforms import normalise, whole
from trainer_bridge.evaluation.answering import Answerer, sample_answers
from trainer_bridge.evaluation.captioning import ChatEvaluator
from trainer_bridge.flops import Transformer, chat_step
from trainer_bridge.models.internvit import InternViTConfig
from trainer_bridge.models.internvl import ChatLoss, qllama_of
from trainer_bridge.models.lora import LoraSettings, add_lora, merged
from trainer_bridge.models.losses import gather, rank, token_loss, world_size
from trainer_bridge.models.packed_attention import use_packed_attention
from trainer_bridge.schedule import Phase
from trainer_bridge.stages import captioned
from trainer_bridge.stages.chat_format import ConversationFormat, encoded
from trainer_bridge.stages.chat_settings import ChatExperiment
from trainer_bridge.stages.chat_start import joined, load_processor, outlined, prepare, require_start, resumed
from trainer_bridge.stages.outline import Outline
from trainer_bridge.stages.parameter_groups import parameter_groups
from trainer_bridge.stages.stage import Stage, to_device

BARREN = 3  # global batches in a row of which nothing is learned, after which training ends


class ChatStage(Stage):
    """Starts from a stage-1 model, or an InternViT, and a language model, or goes on from a folder in the Hugging Face layout."""

    model: ChatLoss

    experiment_type, evaluator_type = ChatExperiment, ChatEvaluator
    trained_members = ("text", "json")  # the json member may have a conversation

    def __init__(self, experiment: ChatExperiment, dataset: Dataset | None, start: Path | None, out: Path) -> None:
        start, config = require_start(start), experiment.model
        self.experiment, self.barren, self.count = experiment, 0, 1
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

    def transform(self, image: bytes, rng: np.random.Generator) -> np.ndarray:
        """Encoded image → uint8[3, S, S], the whole picture."""
        return whole(decode_pixels(image, self.side), self.side)

    def parameters(self) -> list[dict[str, Any]]:
        """The modules that `model.train` names."""
        optimizer = self.experiment.optimizer
        return parameter_groups(self.model, {"": optimizer.lr}, optimizer)

    def losses(self, engine: nn.Module, batch: Batch, micro_batch: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
        """Cross-entropy of the next token, on the answers: the weighted mean over all tokens of the global batch."""
        conversations = self._conversations(batch, device)
        sizes = [
            [len(each.ids), len(each.tiles), learned_tokens(each), valid]
            for each, valid in zip(conversations, batch.valid, strict=True)
        ]
        table = gather(torch.tensor(sizes, dtype=torch.int64, device=device)).cpu()
        learned = table[:, 2]
        weights = weights_of(learned, self.experiment.loss.weight)
        total = max(float((weights * learned).sum()), 1e-9)
        self._require_learned(table)
        sequences = self._packs if self.experiment.packing else self._rows
        for part in sequences(conversations, table, weights.tolist(), micro_batch, device):
            self.last = part
            yield {"answers": engine(*_on_device(part, device)) / total}

    def _conversations(self, batch: Batch, device: torch.device) -> list[Encoded]:
        """The conversations of a rank's batch; those of which nothing is learned are named in its faults and emptied."""
        length, empty = self.experiment.model.length, nothing(self.side, device)
        if self.examples is not None:
            return [empty if each is None else encoded(each) for each in batch.examples]
        conversations = captioned.encoded(batch, self.tokenizer, self.image_tokens, self.experiment, device)
        for i, each in enumerate(conversations):
            if not batch.valid[i]:
                conversations[i] = empty
            elif not learned_tokens(each):
                batch.faults.append(f"sample {batch.sample_ids[i]}: no token of an answer stands within model.length = {length}")
                conversations[i] = empty
        return conversations

    def _require_learned(self, table: Tensor) -> None:
        """RequestError when nothing of several global batches in a row is learned."""
        learned, valid = table[:, 2:].sum(dim=0).tolist()
        self.barren = self.barren + 1 if valid and not learned else 0
        if self.barren >= min(BARREN, self.experiment.optimizer.steps):
            raise RequestError(
                f"{self.barren} global batches in a row have no token to learn; raise model.length = "
                f"{self.experiment.model.length}, or give conversations with answers"
            )

    def _rows(
        self, conversations: Sequence[Encoded], table: Tensor, weights: Sequence[float], micro_batch: int, device: torch.device
    ) -> Iterator[Sequences]:
        """The micro-batches of a rank, each padded to its longest conversation."""
        parts, first = slices(len(conversations), micro_batch), rank() * len(conversations)
        self.count, own = len(parts), weights[first : first + len(conversations)]
        self.measures = {
            "tokens": float(table[:, 0].sum()),
            "padding": padding_share(table[:, 0], len(conversations), micro_batch),
        }
        for part in parts:
            yield padded(conversations[part], own[part], self.tokenizer.pad_token_id)

    def _packs(
        self, conversations: Sequence[Encoded], table: Tensor, weights: Sequence[float], micro_batch: int, device: torch.device
    ) -> Iterator[Sequences]:
        """The packs of a rank, after conversations have gone to the ranks that compute them."""
        packing = self.experiment.packing
        assert packing is not None
        sizes = torch.where(table[:, 2:3] > 0, table[:, :2], 0)
        packs = pack(sizes[:, 0].numpy(), sizes[:, 1].numpy(), packing.tokens, packing.tiles, world_size())
        self.count, self.measures = packs.per_rank, {"tokens": float(packs.tokens.sum()), "padding": packs.waste}
        own = exchange(conversations, sizes, torch.from_numpy(packs.owner), device)
        for number in range(rank(), len(packs.tokens), world_size()):
            members = [sample for sample in own if packs.of[sample] == number]
            if members:
                yield packed([own[sample] for sample in members], [weights[sample] for sample in members])
            else:
                yield packed([nothing(self.side, device)], [0.0])

    def parts(self, batch: Batch, micro_batch: int) -> int:
        """As many as `losses` has made, once it has given the first."""
        return self.count

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
        """The model of the settings around what it starts from; a picture and a text of the greatest length in each sample."""
        config = experiment.model
        chat = outlined(config, require_start(start))
        if experiment.lora:
            with META:
                add_lora(chat, experiment.lora)
        prepare(chat, config)
        side, text = chat.config.vision_config.image_size[0], max(1, config.length - chat.config.image_seq_length)

        def loss(model: nn.Module, phase: Phase) -> Tensor:
            samples = phase.micro_batch
            parts, ids = model.chat.model, torch.zeros(samples, text, dtype=torch.int64)
            pictures = parts.get_image_features(pixel_values=torch.zeros(samples, 3, side, side)).pooler_output
            words = parts.get_input_embeddings()(ids)
            states = parts.language_model(inputs_embeds=torch.cat([pictures, words], dim=1), use_cache=False).last_hidden_state
            return token_loss(model.chat.lm_head(states[:, -text:]), ids)

        return Outline(ChatLoss(chat), side, loss, lambda samples, ranks: 0)

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


def _on_device(sequences: Sequences, device: torch.device) -> Sequences:
    """On the device, the tiles as the image tower takes them."""
    tensors = {name: value for name, value in sequences._asdict().items() if isinstance(value, Tensor)}
    moved = dict(zip(tensors, to_device(device, *tensors.values()), strict=True))
    return sequences._replace(**moved | {"tiles": normalise(moved["tiles"])})
