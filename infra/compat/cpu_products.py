"""Matrix products of torch on CPUs, by the faster of its two libraries.

torch takes MKL for float32. On processors of other makers than Intel MKL runs its kernels for AVX2; oneDNN, which torch takes for
convolutions, runs those for AVX-512 there: 216 GFLOP/s in place of 100 on a core of an EPYC of Zen 5 (2026-11-27).
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

SMALLEST = 1 << 18  # multiplications of a product below which the way through Python costs more than oneDNN gains

_library: list[Any] = []  # a torch Library ends with its last reference


@lru_cache(1)
def use_onednn() -> bool:
    """Has oneDNN compute this process's float32 products from now on where MKL would with AVX2; whether it does.

    Results differ from MKL's by rounding.
    """
    import torch

    if not torch.backends.mkldnn.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX512" or _is_of_intel():
        return False
    linear = torch.ops.mkldnn._linear_pointwise.default
    of_mkl = {name: torch.library.get_kernel(f"aten::{name}", "CPU") for name in ("mm", "addmm")}
    cpu = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)

    def fits(a: torch.Tensor, b: torch.Tensor) -> bool:
        large = a.numel() * b.shape[1] >= SMALLEST
        return large and a.dtype == b.dtype == torch.float32 and 0 not in (*a.stride(), *b.stride())

    def mm(a: torch.Tensor, b: torch.Tensor) -> Any:
        return linear(a, b.t(), None, "none", [], "") if fits(a, b) else of_mkl["mm"].call_boxed(cpu, a, b)

    def addmm(bias: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
        if bias.shape == b.shape[1:] and bias.is_contiguous() and beta == alpha == 1 and fits(a, b):
            return linear(a, b.t(), bias, "none", [], "")
        return of_mkl["addmm"].call_boxed(cpu, bias, a, b, beta=beta, alpha=alpha)

    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that torch's own kernels are overridden
        for name, kernel in (("mm", mm), ("addmm", addmm)):
            library.impl(name, kernel, "CPU")
    _library.append(library)
    return True


def _is_of_intel() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return True
