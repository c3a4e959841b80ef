"""How much memory a rank may use, and sizes as people write them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from infra.compat.errors import RequestError

UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def parse_size(text: str) -> int:
    """Bytes in a size such as 80GiB; RequestError when it is none."""
    match = re.fullmatch(rf"([\d.]+)\s*({'|'.join(UNITS)})", text.strip())
    if match is None or match[1].count(".") > 1 or match[1] == ".":
        raise RequestError(f"--device-memory {text} is no size; write it as 80GiB")
    return int(float(match[1]) * UNITS[match[2]])


def device_bytes(device: torch.device, local_ranks: int) -> int:
    """Memory of a GPU, or what each of so many ranks on this machine has of its memory, or of the control group's."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in CGROUP_LIMITS:
        text = path.read_text().strip() if path.exists() else "max"
        limits += [int(text)] if text.isdecimal() else []
    return min(limits) // local_ranks
