"""Hard negatives for image-text matching, drawn among the samples of all ranks. Source: BLIP-2 §3.1 (arXiv 2301.12597)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist

from trainer_bridge.models.draws import uniform
from trainer_bridge.models.losses import gather, rank, world_size


class MatchingPairs(NamedTuple):
    """A pair of picture and caption for each of a rank's B samples, by their indices in the global batch.

    image_index, caption_index  int64[B]; at least one of them is the sample's own
    is_match                    bool[B]: both are
    """

    image_index: Tensor
    caption_index: Tensor
    is_match: Tensor


def draw_pairs(image: Tensor, text: Tensor, scale: Tensor, keys: Tensor, valid: Tensor, seeds: Tensor) -> MatchingPairs:
    """A third of the samples match, a third get another caption of the global batch, a third another picture.

    image, text [B, D] are a rank's features, L2-normalised. Negatives are drawn in proportion to the softmax of the scaled
    similarities, among `valid` samples with another picture and another caption, by the keys int64[2, B] of both. A sample for
    which there is none matches. What a sample gets goes by its seed, of int64[B].
    """
    own = torch.arange(len(image), device=image.device) + rank() * len(image)
    same_image, same_text = (row[:, None] == gather(row) for row in keys)
    excluded = same_image | same_text | ~gather(valid)
    has_negative = ~excluded.all(dim=1)
    for_role, *for_negatives = uniform(seeds, 3).T
    with torch.autocast(image.device.type, enabled=False):
        caption, picture = (
            _draw(scale * (rows @ gather(columns).T), excluded, has_negative, drawn)
            for rows, columns, drawn in zip((image, text), (text, image), for_negatives, strict=True)
        )
    role = (3 * for_role).long() * has_negative
    return MatchingPairs(torch.where(role == 2, picture, own), torch.where(role == 1, caption, own), role == 0)


def _draw(logits: Tensor, excluded: Tensor, has_negative: Tensor, drawn: Tensor) -> Tensor:
    """A column of each row of logits[B, G] in proportion to its softmax, by `drawn` [B] in 0 … 1; any without a negative."""
    # Features that are NaN show in the loss; to draw by them would stop a GPU for good.
    logits = logits.nan_to_num().masked_fill(excluded, -torch.inf)
    odds = torch.where(has_negative[:, None], logits, 0.0).softmax(dim=1)
    ends = odds.double().cumsum(dim=1)
    # The column in whose stretch the number falls; 1 - drawn is never 0, so that it is none without odds.
    return torch.searchsorted(ends, (1 - drawn.double())[:, None] * ends[:, -1:]).squeeze(1)


def append_rows_of_others(rows: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Fetches rows [K, …] from the ranks that hold them: (rows [B + K, …], places int64[B] of what `index` names there).

    rows [B, …] of each rank, index int64[B] into those of all ranks. Where it names a sample's own row, nothing is fetched.
    """
    count, here = len(rows), rank()
    requests = [
        [(place, i) for place, i in enumerate(line) if i != source * count + place]
        for source, line in enumerate(gather(index).view(world_size(), count).tolist())
    ]
    sent = [[i % count for _, i in pairs if i // count == here] for pairs in requests]
    # What arrives is in the order of the ranks that send it.
    received = [[place for place, i in requests[here] if i // count == source] for source in range(world_size())]
    fetched = rows[torch.tensor([i for line in sent for i in line], dtype=torch.int64, device=rows.device)]
    places = torch.arange(count, device=rows.device)
    changed = torch.tensor([place for line in received for place in line], dtype=torch.int64, device=rows.device)
    if world_size() > 1:
        outgoing, fetched = fetched.contiguous(), fetched.new_empty(len(changed), *rows.shape[1:])
        dist.all_to_all_single(fetched, outgoing, [len(line) for line in received], [len(line) for line in sent])
    places[changed] = count + torch.arange(len(changed), device=rows.device)
    return torch.cat([rows, fetched]), places
