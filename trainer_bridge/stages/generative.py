"""Stage 2: QLLaMA's queries and cross-attention are trained on ITC + ITM + ITG around the frozen stage 1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from infra.compat.settings import Section
from sharding.decode import decode_pixels
from sharding.index import Dataset
from trainer_bridge.checkpoints.building import Start
from trainer_bridge.checkpoints.layouts.layout import read_config
from trainer_bridge.checkpoints.model_folders import META, load_generative, save_generative
from trainer_bridge.checkpoints.starts import start_contrastive, start_generative
from trainer_bridge.data.batch import Batch, content_key, copied_ahead, slices
from trainer_bridge.data.tokenizer import encode
from trainer_bridge.data.transforms import normalise, random_resized_crop
from trainer_bridge.evaluation.generative_evaluator import GenerativeEvaluator
from trainer_bridge.flops import generative_step
from trainer_bridge.models.draws import sample_seeds
from trainer_bridge.models.losses import IGNORED, gather, token_loss, total
from trainer_bridge.models.negatives import append_rows_of_others, draw_pairs
from trainer_bridge.models.pair_loss import Features, pair_loss, pair_loss_bytes
from trainer_bridge.models.qllama import (
    Encoded,
    Examples,
    GenerativeConfig,
    GenerativeModel,
    Outputs,
    Pictures,
    Tokens,
    joined,
    next_tokens,
)
from trainer_bridge.schedule import Phase
from trainer_bridge.stages.contrastive import ContrastiveExperiment
from trainer_bridge.stages.outline import Outline
from trainer_bridge.stages.parameter_groups import parameter_groups
from trainer_bridge.stages.settings import Experiment, OneRate, load_experiment
from trainer_bridge.stages.stage import Stage, to_device


class MatchingSettings(Section):
    """How ITM is learned: a small model needs easier pairs and more of the gradient than BLIP-2's, which are the defaults.

    hardness  factor of the scaled similarities whose softmax are the odds of a wrong pair. 1: BLIP-2's, mostly the nearest one of
              the batch; 0: all alike
    weight    of ITM's loss beside ITC's and ITG's, in what is logged too
    """

    hardness: float = Field(1.0, ge=0)
    weight: float = Field(1.0, gt=0)


class GenerativeExperiment(Experiment):
    """The settings of stage 2; the sizes of the image and text towers come from the stage-1 model it starts from."""

    model: GenerativeConfig
    optimizer: OneRate
    matching: MatchingSettings = MatchingSettings()


class GenerativeStage(Stage):
    """Starts from a stage-1 model, or goes on from a stage-2 model."""

    experiment_type, evaluator_type = GenerativeExperiment, GenerativeEvaluator
    model: GenerativeModel

    def __init__(self, experiment: GenerativeExperiment, dataset: Dataset, start: Path | None, out: Path) -> None:
        begun, self.tokenizer = _start(experiment, start)
        self.experiment = experiment
        self.model, self.tensors = begun.model, begun.tensors

    def transform(self, image: bytes, rng: np.random.Generator, out: np.ndarray | None = None) -> np.ndarray:
        """Encoded image → uint8[3, S, S], randomly cropped."""
        size = self.model.stage1.config.image.image_size
        return random_resized_crop(decode_pixels(image, size), size, self.experiment.data.least_area, rng, out)

    def parameters(self) -> list[dict[str, Any]]:
        """Queries, cross-attention, second pooling head, ITM head and logit scale."""
        optimizer = self.experiment.optimizer
        return parameter_groups(self.model, {"": optimizer.lr}, optimizer)

    def losses(self, engine: nn.Module, batch: Batch, micro_batch: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
        """ITC and ITG with weight 1 each, and ITM with its own. Empty captions count in none of them.

        The frozen towers run once: the tokens of a rank's pictures are kept, 1.6 MB each at the size of InternViT-6B in bf16.
        """
        text, matching = self.model.stage1.config.text, self.experiment.matching
        caption, prefixed = (self._tokens(batch, prefixed, device) for prefixed in (False, True))
        has_begin = bool(text.begin)
        rows = slices(len(batch.captions), micro_batch)
        parts = zip(rows, copied_ahead(batch.split(micro_batch), device), strict=True)
        pictures, image, text_features, scale = joined(
            [Encoded(*engine(Pictures(normalise(part.pixels.to(device)), prefixed.rows(at)))) for at, part in parts]
        )
        valid = batch.valid.to(device) & (caption.lengths > 1 + has_begin)
        itc = pair_loss(Features(image, text_features, scale, None), valid)
        keys = torch.tensor([batch.image_keys, [content_key(words) for words in _words(caption)]], device=device)
        seeds = sample_seeds(self.experiment.data.seed, batch.positions, device)
        pairs = draw_pairs(image, text_features, matching.hardness * scale, keys, valid, seeds)
        pictures, places = append_rows_of_others(pictures, pairs.image_index)
        other = Tokens(*(gather(each)[pairs.caption_index] for each in caption))
        is_match = torch.where(valid, pairs.is_match.long(), IGNORED)
        samples, tokens = total(torch.stack([valid.sum(), caption.lengths[valid].sum() - has_begin * valid.sum()])).clamp(min=1)
        longest = torch.maximum(caption.lengths, other.lengths).tolist()
        begin = self.tokenizer.token_to_id(text.end)
        assert begin is not None  # a tokenizer without one is not loaded
        for at in rows:
            own, matched = (tokens.rows(at, max(longest[at])) for tokens in (caption, other))
            self.row_tokens = own.ids.shape[1]
            outputs = Outputs(*engine(Examples(pictures[: len(valid)][at], own, pictures[places[at]], matched, begin)))
            yield {
                "itc": itc.part(at).of(Features(outputs.image, text_features[at], outputs.scale, None)),
                "itm": matching.weight * token_loss(outputs.match_logits, is_match[at]) / samples,
                "itg": token_loss(outputs.token_logits, next_tokens(own, valid[at], has_begin)) / tokens,
            }

    def _tokens(self, batch: Batch, prefixed: bool, device: torch.device) -> Tokens:
        """The captions of a batch, padded to the text tower's length, as those of all ranks must be of one shape."""
        text = self.model.stage1.config.text
        ids, lengths = encode(self.tokenizer, batch.captions, text, prefixed=prefixed)
        return Tokens(*to_device(device, F.pad(ids, (0, text.length - ids.shape[1])), lengths))

    def flops(self) -> float:
        """With captions as long as in the last micro-batch."""
        return generative_step(self.model.stage1.config, self.model.config, self.row_tokens)

    @classmethod
    def outline(cls, experiment: GenerativeExperiment, start: Path | None) -> Outline:
        """The model around what it starts from, a folder or the experiment of stage 1."""
        model = _outlined(experiment, start)
        stage1 = model.stage1.config
        side, dtype = stage1.image.image_size, torch.bfloat16 if experiment.run.precision == "bf16" else torch.float32
        tokens, width = 1 + (side // stage1.image.patch) ** 2, stage1.image.width

        def loss(model: nn.Module, phase: Phase) -> Tensor:
            samples = phase.micro_batch
            picture = torch.zeros(samples, tokens, width, dtype=dtype)
            ids = torch.zeros(samples, stage1.text.length, dtype=torch.int64)
            caption = Tokens(ids, torch.full((samples,), stage1.text.length))
            outputs = Outputs(*model(Examples(picture, caption, picture.clone(), caption, 0)))
            matched = token_loss(outputs.match_logits, torch.zeros(samples, dtype=torch.int64))
            words = next_tokens(caption, torch.ones(samples, dtype=torch.bool), bool(stage1.text.begin))
            return outputs.image.sum() + matched + token_loss(outputs.token_logits, words)

        def features(samples: int, ranks: int) -> int:
            pictures: int = samples * tokens * width * dtype.itemsize
            return pictures * 4 // 3 + pair_loss_bytes(samples, ranks, stage1.embedding)  # ITM fetches a third from others

        return Outline(model, side, loss, features)

    def save(self, folder: Path, state: dict[str, Tensor]) -> None:
        """config.json, model.safetensors (stage 1 included), tokenizer.json."""
        save_generative(folder, self.model, state, self.tokenizer)

    @classmethod
    def wrote(cls, folder: Path) -> bool:
        """Whether config.json holds the sizes of stage 1 and of QLLaMA."""
        return read_config(folder).keys() >= {"stage1", "generative"}

    def evaluator(self, device: torch.device, batch: int) -> GenerativeEvaluator:
        """Retrieval and zero-shot classification by both image features, the loss on captions, and matching."""
        return GenerativeEvaluator(self.model, self.tokenizer, device, batch)

    @classmethod
    def load(cls, folder: Path, device: torch.device, batch: int) -> GenerativeEvaluator:
        """The same of a saved model."""
        model, tokenizer = load_generative(folder)
        return GenerativeEvaluator(model.to(device), tokenizer, device, batch)


def _start(experiment: GenerativeExperiment, start: Path | None) -> tuple[Start[GenerativeModel], Tokenizer]:
    if start is None:
        raise ValueError("the generative stage starts from a stage-1 model; name its folder with --from")
    return start_generative(experiment.model, start)


def _outlined(experiment: GenerativeExperiment, start: Path | None) -> GenerativeModel:
    if start is None or start.suffix != ".toml":
        return _start(experiment, start)[0].model
    before = load_experiment(str(start), ContrastiveExperiment)
    with META:
        return GenerativeModel(start_contrastive(before.model, None)[0].model, experiment.model)


def _words(caption: Tokens) -> Iterator[bytes]:
    """Each caption's token ids as bytes."""
    for ids, length in zip(caption.ids.cpu(), caption.lengths.tolist(), strict=True):
        yield ids[:length].numpy().tobytes()
