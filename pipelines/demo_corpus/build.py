"""Builds the demo's web in a folder: pictures, evaluation set, metadata, truth. Done once; a killed build starts over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from infra.compat.errors import RequestError
from infra.compat.paths import cache_folder
from pipelines.demo_corpus.corpus import Picture, debian_pictures, load_folder
from pipelines.demo_corpus.plan import hold_out, plan
from pipelines.demo_corpus.publish import publish
from pipelines.demo_corpus.render import extension, render_all
from pipelines.scoring.clip import load_onnx_clip
from pipelines.scoring.unsafe import load_open_nsfw

VERSION = 5  # raised when the same corpus would give another web
SEED = 0
MARKER = "web.json"


def require(folder: Path, corpus: Path | None) -> None:
    """Raises RequestError when the web cannot be made below `folder` from this corpus; makes the folder."""
    if corpus is not None and not corpus.is_dir():
        raise RequestError(f"--corpus {corpus} is no folder; name one that holds pictures with .txt beside them")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--root {folder} cannot be made ({error.strerror}); name a folder that can") from None
    marker = folder / MARKER
    if marker.exists() and json.loads(marker.read_text())["made_from"] != _made_from(corpus):
        earlier = json.loads(marker.read_text())["made_from"]["corpus"]
        cause = "another corpus" if earlier != _made_from(corpus)["corpus"] else "an earlier version"
        raise RequestError(f"{folder} holds the demo of {cause} ({earlier}); name another --root, or remove it")


def _made_from(corpus: Path | None) -> dict[str, Any]:
    return {"version": VERSION, "seed": SEED, "corpus": str(corpus.resolve()) if corpus else "debian"}


def build(folder: Path, corpus: Path | None, clip: str) -> dict[str, Any]:
    """Makes the web below `folder`, unless it is there; counts it. The CLIP in the ONNX folder `clip` gives the similarities."""
    require(folder, corpus)
    marker = folder / MARKER
    if marker.exists():
        document: dict[str, Any] = json.loads(marker.read_text())
        return document
    pictures = _pictures(corpus)
    for part in ("pictures", "eval", "metadata"):
        shutil.rmtree(folder / part, ignore_errors=True)
    rendered = render_all(pictures, folder / "pictures")
    held_out = hold_out(pictures, rendered, SEED)
    rows = plan(pictures, rendered, held_out, SEED)
    publish(rows, folder, load_onnx_clip(clip, threads=1), load_open_nsfw(threads=1), SEED)
    for picture in held_out:
        target = folder / "eval" / f"{picture.key.replace('/', '_')}.{extension(picture)}"
        target.parent.mkdir(exist_ok=True)
        # Held-out pictures are on the web too: the planted links lead there, and no others.
        shutil.copyfile(folder / "pictures" / rendered[picture.key][0], target)
    counts = {
        "made_from": _made_from(corpus),
        "pairs": len(rows),
        "pictures": len(rendered),
        "languages": len({row.language for row in rows}),
        "urls": len({row.url for row in rows}),
        "held_out": len(held_out),
    }
    marker.write_text(json.dumps(counts, indent=1) + "\n")
    return counts


def _pictures(corpus: Path | None) -> list[Picture]:
    if corpus is None:
        return debian_pictures(cache_folder())
    pictures = load_folder(corpus, "corpus")
    if len(pictures) < 20:
        raise RequestError(f"--corpus {corpus} has {len(pictures)} pictures with a .txt beside them; the demo needs 20")
    return pictures
