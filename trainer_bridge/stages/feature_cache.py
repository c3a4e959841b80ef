"""The loss of a whole batch of which a forward pass holds only a part.

Features of all micro-batches are computed without gradient and kept. From them comes the loss, and its gradient by each feature.
Then each micro-batch is run again, to pass the gradients of its features back. Source: GradCache (arXiv 2101.06983).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from trainer_bridge.data.batch import Batch, copied_ahead
from trainer_bridge.models.pair_loss import Features, pair_loss


def loss_parts(features: Callable[[Batch], Features], batch: Batch, micro_batch: int, device: torch.device) -> Iterator[Tensor]:
    """A scalar for each micro-batch, to be passed back before the next is taken; their sum is the rank's part of the pair loss.

    `features` runs the model on a micro-batch, whose pixels are on the device. A batch that is one micro-batch is run only once.
    """
    valid = batch.valid.to(device)
    if len(batch.captions) <= micro_batch:
        (part,) = copied_ahead([batch], device)
        outputs = features(part)
        yield pair_loss(outputs, valid).of(outputs)
        return
    seed = torch.initial_seed()

    def in_turn() -> Iterator[Features]:
        """The features of each micro-batch. A seed of its own makes dropped tokens and paths the same in both passes."""
        for i, part in enumerate(copied_ahead(batch.split(micro_batch), device)):
            torch.manual_seed(seed + i)
            yield features(part)

    with torch.no_grad():
        cached = list(in_turn())
    image, text = (torch.cat(sides) for sides in ([part.image for part in cached], [part.text for part in cached]))
    loss = pair_loss(Features(image, text, cached[0].scale, cached[0].bias), valid)
    start = 0
    for outputs in in_turn():
        rows = slice(start, start := start + len(outputs.image))
        yield loss.part(rows).of(outputs)
