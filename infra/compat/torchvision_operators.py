"""Lets `import torchvision` work beside a torch it was not built for, where only operator schemas are missed."""

from __future__ import annotations

from typing import Any

_library: list[Any] = []  # a torch Library ends with its last reference


def define_missing_operators() -> None:
    """Declares torchvision's nms and qnms when nothing else has; open_clip, timm and transformers never call them."""
    import importlib
    import importlib.util
    import sys

    import torch

    if _library or importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _library.append(library)
        for module in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
            del sys.modules[module]
