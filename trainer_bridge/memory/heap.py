"""What a process that trains on a CPU holds beside tensors, where their shapes vary as those of conversations do.

glibc puts tensors of ever other sizes side by side on its heap. What they leave are holes, between small blocks that the caches
of each thread (tcache) do not give back, so that a tensor of another size finds no room in them. And oneDNN keeps the last 1 024
kernels that it made, one for each shape. Measured on stage 3's tiny experiment with packs of 1 024 tokens on two processes
(2026-11-28, 220 steps): of a heap of 1 820 MiB 1 150 to 1 190 were holes, 1.9 × the activations as planned; without the caches
410 to 430 of 1 070 to 1 080, 0.7 ×, at the same speed. Kernels held 140 MiB, the process before its first step 250. Examples read
ahead lie apart, and leave next to no holes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

PROCESS = 400 << 20  # bytes of torch, DeepSpeed and kernels
HOLES, FEWER_HOLES = 2.0, 0.7  # of the activations
WITHOUT_CACHES = "GLIBC_TUNABLES=glibc.malloc.tcache_count=0"


def heap_bytes(activations: int, environment: Mapping[str, str]) -> int:
    """Bytes beside tensors, by the activations of a step and the process's environment."""
    return PROCESS + int(activations * (FEWER_HOLES if has_no_caches(environment) else HOLES))


def has_no_caches(environment: Mapping[str, str]) -> bool:
    """Whether the process was started without malloc's caches."""
    return bool(re.search(r"(^|:)glibc\.malloc\.tcache_count=0(:|$)", environment.get("GLIBC_TUNABLES", "")))
