"""Manifests of earlier versions: their folders `<source>` become `source=<source>`, and nothing is computed again for it."""

from __future__ import annotations

import sys

from pipelines.manifest.storage import Storage

ROOMS = ("manifest", "receipts")


def old_folders(storage: Storage) -> list[str]:
    """The folders below a root that hold files in an earlier version's layout.

    Files, as an object store may keep a folder that was emptied, and list it as its own content.
    """
    folders = [path for room in ROOMS for path in storage.glob(f"{room}/*/*") if "=" not in path.rpartition("/")[2]]
    return [path for path in folders if storage.glob(f"{path}/*.*")]


def upgrade(storage: Storage) -> None:
    """Moves the folders of an earlier version where this one looks for them; one that another job is moving is left to it."""
    folders = old_folders(storage)
    if folders:
        sys.stderr.write(f"{storage.root}: moving {len(folders)} folders of an earlier version to source=…\n")
    for folder in folders:
        parent, _, source = folder.rpartition("/")
        storage.move(folder, f"{parent}/source={source}")
