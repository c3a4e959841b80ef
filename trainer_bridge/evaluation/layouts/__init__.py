"""Layouts of evaluation sets, as people have them in folders. A module here that defines LAYOUT is one, named after the module.

layout.py  what a layout is, and where pictures lie
*.py       a layout, as its first line says
"""

import pkgutil
from importlib import import_module
from pathlib import Path

from infra.compat.errors import RequestError, nearest
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.layouts.layout import Layout, Place

__all__ = ["Layout", "Place", "find_layouts", "read_folder"]


def find_layouts() -> dict[str, Layout]:
    """The layouts that modules of this package define, by module name."""
    modules = {info.name: import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)}
    return {name: module.LAYOUT for name, module in modules.items() if hasattr(module, "LAYOUT")}


def read_folder(folder: Path, layout: str = "", images: str = "", split: str = "") -> EvaluationSet:
    """The evaluation set in a folder; RequestError in one line when there is none.

    layout  its name; empty: it is recognised
    images  the folder that pictures lie in, where that is not beside or within this one
    split   which of several there are; empty: the one that evaluations use
    """
    if not folder.is_dir():
        raise RequestError(f"{folder} is no folder; name the folder of an evaluation set, or shards with --shards")
    layouts = find_layouts()
    if layout and layout not in layouts:
        raise RequestError(f"layout {layout} is none that is known; {nearest(layout, layouts)}")
    names = [layout] if layout else [name for name, each in layouts.items() if each.recognises(folder)]
    if len(names) != 1:
        recognised = f"could be {' or '.join(names)}" if names else f"is of no layout that is recognised ({', '.join(layouts)})"
        raise RequestError(f"{folder} {recognised}; name its layout with --layout")
    return layouts[names[0]].read(Place(folder, Path(images) if images else None, split))
