"""Captioning a part's pictures: one file per kind of model.

To add a captioner: write a module here, or a plugin, with `CAPTIONERS`; `caption.captioner` chooses one by name.

captioner.py  what a captioner is
chunks.py     a chunk of pictures → captions
settings.py   settings of `caption`
*.py          a kind of model, as its first line says
"""

from __future__ import annotations

from infra.compat.errors import RequestError, nearest
from pipelines.captioning.captioner import Captioner
from pipelines.runtime.plugins import defined_in, with_plugins


def captioners() -> dict[str, Captioner]:
    """All captioners by name: those of the modules here, and of plugins; RequestError when a plugin's repeats a name."""
    ours: list[Captioner] = defined_in(__name__, "CAPTIONERS")
    return {captioner.name: captioner for captioner in with_plugins(ours, "CAPTIONERS", Captioner, "name")}


def captioner_named(name: str) -> Captioner:
    """The captioner of that name; RequestError suggests the nearest."""
    known = captioners()
    if name not in known:
        raise RequestError(f"caption.captioner = {name!r} is no captioner; {nearest(name, known)}")
    return known[name]
