"""What rank 0 reads, on every rank: all must go on from the same state, or refuse it together."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed as dist

from infra.compat.errors import RequestError
from infra.compat.failures import failure_line


def from_rank_0(read: Callable[[], Any]) -> Any:
    """The JSON document that `read` returns on rank 0, on every rank.

    A RequestError that it raises there is raised on every rank, and so is a failure of disks, networks and stores, as OSError.
    """
    document: dict[str, Any] = {}
    if dist.get_rank() == 0:
        try:
            document = {"value": read()}
        except Exception as error:
            if (line := failure_line(error)) is None:
                raise
            document = {"error": line, "request": isinstance(error, RequestError)}
    document = json.loads(_broadcast(json.dumps(document).encode()))
    if "error" in document:
        raise (RequestError if document["request"] else OSError)(document["error"])
    return document["value"]


def _broadcast(text: bytes) -> bytes:
    """Rank 0's bytes, on every rank."""
    nccl = dist.get_backend() == "nccl"
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if nccl else torch.device("cpu")
    size = torch.tensor([len(text)], device=device)
    dist.broadcast(size, 0)
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).to(device)
    if dist.get_rank() != 0:
        data = data.new_empty(int(size.item()))
    dist.broadcast(data, 0)
    received: bytes = data.cpu().numpy().tobytes()
    return received
