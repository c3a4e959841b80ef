"""Encoded conversations → the sequences of one forward pass, padded to the longest or packed into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist

from trainer_bridge.models.losses import IGNORED, rank, world_size

Weighting = Literal["token", "sample", "square"]


class Encoded(NamedTuple):
    """A conversation: ids, labels int32[T], IGNORED where nothing is learned; tiles uint8[K, 3, S, S] of its pictures."""

    ids: Tensor
    labels: Tensor
    tiles: Tensor


class Sequences(NamedTuple):
    """What the model reads at once: B conversations padded at the end, or one row of S conversations, one after the other.

    ids, labels  int64[B, T]
    tiles        uint8[K, 3, S, S], of all conversations in order
    weights      float32[B, T], of the labels in the loss
    positions    int64[1, T], from 0 in each conversation; None where B are padded
    ends         int32[S + 1], where each begins, and T; None where B are padded
    longest      tokens of the longest conversation
    """

    ids: Tensor
    labels: Tensor
    tiles: Tensor
    weights: Tensor
    positions: Tensor | None
    ends: Tensor | None
    longest: int

    def means(self) -> tuple[float, float, float]:
        """(tokens, tiles, learned tokens) of a conversation, padding included."""
        count = len(self.ids) if self.ends is None else len(self.ends) - 1
        return self.ids.numel() / count, len(self.tiles) / count, int((self.labels != IGNORED).sum()) / count


def learned_tokens(conversation: Encoded) -> int:
    """Tokens that are predicted: the first is never one of them."""
    return int((conversation.labels[1:] != IGNORED).sum())


def weights_of(learned: Tensor, weighting: Weighting) -> Tensor:
    """The weight float64[N] of a token where int64[N] tokens are learned: 1, 1/n or 1/√n. Source: InternVL 2.5 §3.2."""
    counts = learned.clamp(min=1).double()
    return {"token": torch.ones_like(counts), "sample": 1 / counts, "square": counts.rsqrt()}[weighting]


def nothing(side: int, device: torch.device) -> Encoded:
    """In place of a conversation that is not trained: one token, nothing learned, no picture."""
    return Encoded(
        torch.zeros(1, dtype=torch.int32),
        torch.full((1,), IGNORED, dtype=torch.int32),
        torch.zeros(0, 3, side, side, dtype=torch.uint8, device=device),
    )


def padded(conversations: Sequence[Encoded], weights: Sequence[float], pad: int) -> Sequences:
    """A row for each conversation, the ends filled up with `pad`."""
    longest = max(len(each.ids) for each in conversations)
    ids = torch.full((len(conversations), longest), pad)
    labels, weighted = torch.full_like(ids, IGNORED), torch.zeros(ids.shape)
    for row, (each, weight) in enumerate(zip(conversations, weights, strict=True)):
        ids[row, : len(each.ids)], labels[row, : len(each.ids)], weighted[row] = each.ids, each.labels, weight
    return Sequences(ids, labels, torch.cat([each.tiles for each in conversations]), weighted, None, None, longest)


def padding_share(tokens: Tensor, share: int, micro_batch: int) -> float:
    """The share of padding in all micro-batches of a step, by the tokens int64[N] of conversations, `share` to a rank."""
    parts = [part for own in tokens.split(share) for part in own.split(micro_batch)]
    rows = sum(len(part) * int(part.max()) for part in parts)
    return 1 - float(tokens.sum()) / rows if rows else 0.0


def packed(conversations: Sequence[Encoded], weights: Sequence[float]) -> Sequences:
    """All conversations in one row."""
    lengths = torch.tensor([len(each.ids) for each in conversations])
    labels = torch.cat([each.labels for each in conversations]).long()
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    labels[ends[:-1]] = IGNORED  # nothing of the conversation before predicts it
    return Sequences(
        torch.cat([each.ids for each in conversations]).long()[None],
        labels[None],
        torch.cat([each.tiles for each in conversations]),
        torch.tensor(weights, dtype=torch.float32).repeat_interleave(lengths)[None],
        torch.cat([torch.arange(length) for length in lengths.tolist()])[None],
        ends.int(),
        int(lengths.max()),
    )


def exchange(conversations: Sequence[Encoded], sizes: Tensor, owner: Tensor, device: torch.device) -> dict[int, Encoded]:
    """The conversations that this rank computes, by their numbers in the global batch.

    conversations  those that it has loaded, a slice of the global batch
    sizes          int64[N, 2]: tokens and tiles of all conversations of the global batch
    owner          int64[N]: the rank that computes each; -1: none does
    """
    world, here = world_size(), rank()
    if world == 1:
        return {number: each for number, each in enumerate(conversations) if owner[number] >= 0}
    count = len(owner) // world
    loader, own = torch.arange(len(owner)) // count, owner[here * count : (here + 1) * count]
    chosen = [conversations[i] for i in own.argsort(stable=True).tolist() if own[i] >= 0]
    outgoing = [sizes[(loader == here) & (owner == target)].sum(0).tolist() for target in range(world)]
    incoming = [sizes[(loader == source) & (owner == here)].sum(0).tolist() for source in range(world)]
    words = torch.cat([torch.zeros(0, 2).int(), *(torch.stack([each.ids, each.labels], dim=1).int() for each in chosen)])
    words = _sent(words, [tokens for tokens, _ in outgoing], [tokens for tokens, _ in incoming], device).cpu()
    tiles = torch.cat([conversations[0].tiles[:0], *(each.tiles for each in chosen)])
    tiles = _sent(tiles, [count for _, count in outgoing], [count for _, count in incoming], device)
    # Ranks hold slices of the global batch in order, so what arrives is in order too.
    received = torch.nonzero(owner == here).flatten().tolist()
    lengths, counts = sizes[received].T.tolist()
    parts = zip(words.split(lengths), tiles.split(counts), strict=True) if received else ()
    return {number: Encoded(text[:, 0], text[:, 1], pictures) for number, (text, pictures) in zip(received, parts, strict=True)}


def _sent(rows: Tensor, outgoing: list[int], incoming: list[int], device: torch.device) -> Tensor:
    """Rows of all ranks for this one, after each has sent `outgoing` rows to each rank, in their order."""
    sent = rows.to(device).contiguous()
    received = sent.new_empty(sum(incoming), *sent.shape[1:])
    dist.all_to_all_single(received, sent, incoming, outgoing)
    return received
