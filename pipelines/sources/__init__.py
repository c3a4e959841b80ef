"""One file per published schema. A source turns the rows of its files into the columns of `samples`.

To add a source: write a module with `SOURCES`, and name the module in `MODULES`. Ordinals go into every sample_id: a number
once given is never given again.
"""

from __future__ import annotations

from importlib import import_module

from infra.compat.errors import RequestError, nearest
from pipelines.sources.source import Source

MODULES = ("laion", "laion_coco", "coyo", "wukong", "conceptual", "sbu", "datacomp", "img2dataset")


def sources() -> dict[str, Source]:
    """All sources by name."""
    found = [source for module in MODULES for source in import_module(f"pipelines.sources.{module}").SOURCES]
    return {source.name: source for source in found}


def source_named(name: str) -> Source:
    """The source of that name; RequestError suggests the nearest."""
    known = sources()
    if name not in known:
        raise RequestError(f"unknown source {name!r}; {nearest(name, known)}")
    return known[name]
