"""Layouts of model folders, ours and others'. A module here that defines LAYOUT is one, named after the module.

layout.py  what a layout is
*.py       a layout, as its first line says
"""

import pkgutil
from importlib import import_module
from pathlib import Path

from trainer_bridge.checkpoints.checkpoint import Checkpoint
from trainer_bridge.checkpoints.layouts.layout import Layout

__all__ = ["Layout", "find_layouts", "read_checkpoint"]


def find_layouts() -> dict[str, Layout]:
    """The layouts that modules of this package define, by module name."""
    modules = {info.name: import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)}
    return {name: module.LAYOUT for name, module in modules.items() if hasattr(module, "LAYOUT")}


def read_checkpoint(path: Path) -> Checkpoint:
    """What a folder, or a .gguf file, holds in any layout; ValueError in one line when it does not load."""
    if not path.exists():
        raise ValueError(f"{path} is not there; name a model's folder")
    layouts = find_layouts()
    layout = next((layout for layout in layouts.values() if layout.recognises(path)), None)
    if layout is None:
        raise ValueError(f"{path} holds no config.json of a layout that is known ({', '.join(layouts)}); name a model's folder")
    return layout.read(path)
