"""How many candidates are nearer to a query than the right one: what recall and accuracy are read from.

The similarities of Q queries and C candidates are Q × C numbers, too many to hold. Ranks divide the queries, and each compares a
few at a time with all candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer_bridge.evaluation.shares import share_of

CHUNK = 1 << 24  # most similarities that are held at once
ROUNDING = 2e-6  # by which equal pictures may differ in similarity, as other batches add up in another order


def ranks(queries: Tensor, query_groups: Tensor, candidates: Tensor, candidate_groups: Tensor) -> Tensor:
    """The rank of the nearest right candidate of each query, 0 first: int64[Q], the same on every rank.

    queries float32[Q, D], candidates float32[C, D]; a candidate is right where its group, int64, is that of the query. A wrong
    candidate that is as near, but for rounding, counts as nearer, and so does one whose similarity is NaN: a model that has
    collapsed or diverged finds nothing.
    """
    share = share_of(len(queries))
    size = max(1, CHUNK // max(1, len(candidates)))
    wrong_before = [torch.zeros(0, dtype=torch.int64, device=queries.device)]
    with torch.no_grad(), torch.autocast(queries.device.type, enabled=False):
        for numbers in share.batches(size):
            rows = torch.from_numpy(numbers).to(queries.device)
            similarity = queries[rows] @ candidates.T
            right = query_groups[rows, None] == candidate_groups
            nearest = similarity.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
            wrong_before.append((~(similarity < nearest - ROUNDING) & ~right).sum(dim=1))
    return share.gathered(torch.cat(wrong_before))


def share_within(ranking: Tensor, k: int) -> float:
    """The share of ranks that are among the first k: recall@k, or accuracy@k."""
    return (ranking < k).double().mean().item() if len(ranking) else 0.0
