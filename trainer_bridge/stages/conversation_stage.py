"""What stages have in common that learn from conversations: padded or packed, the loss on answers over the global batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from infra.compat.errors import RequestError
from sharding.decode import decode_pixels
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
from trainer_bridge.models.losses import gather, rank, world_size
from trainer_bridge.stages.chat_format import encoded
from trainer_bridge.stages.chat_settings import ConversationExperiment
from trainer_bridge.stages.parameter_groups import parameter_groups
from trainer_bridge.stages.stage import Stage, to_device

BARREN = 3  # global batches in a row of which nothing is learned, after which training ends


class ConversationStage(Stage):
    """A stage whose model takes `Sequences` and gives the loss on answers.

    A subclass sets `experiment`, `tokenizer`, `model`, `examples`, and `side`, the pixels of a tile's side.
    """

    experiment: ConversationExperiment
    tokenizer: Any
    side: int
    last: Sequences
    barren, count = 0, 1  # global batches in a row without a token to learn; micro-batches of the last step

    def transform(self, image: bytes, rng: np.random.Generator) -> np.ndarray:
        """Encoded image → uint8[3, S, S], the whole picture."""
        return whole(decode_pixels(image, self.side), self.side)

    def parameters(self) -> list[dict[str, Any]]:
        """The modules that `model.train` names."""
        optimizer = self.experiment.optimizer
        return parameter_groups(self.model, {"": optimizer.lr}, optimizer)

    def losses(self, engine: nn.Module, batch: Batch, micro_batch: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
        """Cross-entropy of the next token, on the answers: the weighted mean over all tokens of the global batch."""
        conversations = self.conversations(batch, device)
        sizes = [[len(each.ids), len(each.tiles), learned_tokens(each)] for each in conversations]
        table = gather(torch.tensor(sizes, dtype=torch.int64, device=device)).cpu()
        learned = table[:, 2]
        weights = weights_of(learned, self.experiment.loss.weight)
        total = max(float((weights * learned).sum()), 1e-9)
        self._require_learned(table)
        sequences = self._packs if self.experiment.packing else self._rows
        for part in sequences(conversations, table, weights.tolist(), micro_batch, device):
            self.last = part
            yield {"answers": engine(*_on_device(part, device)) / total}

    def conversations(self, batch: Batch, device: torch.device) -> list[Encoded]:
        """The conversations of a rank's batch, empty in the place of one that is faulty."""
        empty = nothing(self.side, device)
        return [empty if each is None else encoded(each) for each in batch.examples]

    def _require_learned(self, table: Tensor) -> None:
        """RequestError when nothing of several global batches in a row is learned."""
        self.barren = 0 if table[:, 2].any() else self.barren + 1
        if self.barren >= min(BARREN, self.experiment.optimizer.steps):
            raise RequestError(
                f"{self.barren} global batches in a row have no token to learn; raise model.length = "
                f"{self.experiment.model.length}, or give conversations with answers (faults-*.jsonl names those left out)"
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


def _on_device(sequences: Sequences, device: torch.device) -> Sequences:
    """On the device, the tiles as the image tower takes them."""
    tensors = {name: value for name, value in sequences._asdict().items() if isinstance(value, Tensor)}
    moved = dict(zip(tensors, to_device(device, *tensors.values()), strict=True))
    return sequences._replace(**moved | {"tiles": normalise(moved["tiles"])})
