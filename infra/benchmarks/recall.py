"""Evaluation pictures found again after what the web does to pictures, and different ones taken for the same, by hashes alone.

    NAME, NAME_plain   the share of pictures that are found after a transformation (`tools/transformations.py`), by a set that has
                       `variants` of its items, and by one that has none
    false_pairs        pairs of different pictures of which one is taken for the other, with variants; siblings, such as coins of
                       a currency, among them
    precision          of all matches the share that name the picture itself

The pictures are Tux Paint's stamps on white (Debian's tuxpaint-stamps-default). Those that are too flat to be told apart by PDQ's
own measure are counted as `flat` and left out. `--rows` of them, all where that is 0.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from infra.benchmarks.tools.transformations import TRANSFORMATIONS
from infra.compat.paths import cache_folder
from pipelines.corpus.evaluation_file import ITEMS, write_evalset
from pipelines.corpus.evaluation_search import EvalSet, eval_matches, open_set
from pipelines.corpus.evaluation_sets import picture_hashes
from pipelines.corpus.settings import DedupSettings
from pipelines.corpus.variants import VARIANTS, with_variants
from pipelines.demo_corpus.corpus import STAMPS, debian_packages, load_folder


def measure(rows: int) -> dict[str, Any]:
    """Recall by transformation and precision."""
    images = stamps(rows)
    settings, false, matches = DedupSettings(), set[tuple[int, int]](), 0
    quality = np.array([picture_hashes(image)[2] for image in images])
    images = [image for image, value in zip(images, quality.tolist(), strict=True) if value >= settings.eval_quality]
    figures: dict[str, float] = {"pictures": len(images), "flat": len(quality) - len(images)}
    with tempfile.TemporaryDirectory() as folder:
        sets = {"": _indexed(images, Path(folder, "all.evalset"), tuple(VARIANTS))}
        sets["_plain"] = _indexed(images, Path(folder, "plain.evalset"), ())
        for name, transform in TRANSFORMATIONS.items():
            table = compared([transform(image) for image in images])
            for kind, one in sets.items():
                found = eval_matches(table, [one], settings)
                pairs = list(zip(found["sample_id"].to_pylist(), map(int, found["item"].to_pylist()), strict=True))
                figures[f"{name}{kind}"] = sum(sample == item for sample, item in pairs) / len(images)
                if not kind:
                    matches += len(pairs)
                    false |= {(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]}
                    figures["wrong"] = figures.get("wrong", 0) + sum(sample != item for sample, item in pairs)
    ratios = {"precision": 1 - figures["wrong"] / max(1, matches)}
    return {"figures": {**figures, "false_pairs": len(false)}, "ratios": ratios}


def stamps(rows: int) -> list[Image.Image]:
    """So many drawn and photographed things on white, in a fixed random order; all where `rows` is 0."""
    pictures = [
        picture for picture in load_folder(debian_packages(cache_folder()) / STAMPS, "stamps") if picture.file.endswith("png")
    ]
    random.Random(0).shuffle(pictures)
    return [_on_white(Image.open(picture.file)) for picture in pictures[: rows or None]]


def compared(images: Sequence[Image.Image]) -> pa.Table:
    """Pictures as `eval_matches` takes samples, with their places as ids."""
    hashes = [picture_hashes(image) for image in images]
    return pa.table(
        {
            "sample_id": pa.array(range(len(images)), pa.uint64()),
            "pdq": [pdq.hex() for _, pdq, _ in hashes],
            "pdq_quality": pa.array([quality for _, _, quality in hashes], pa.int32()),
            "phash": pa.array([phash for phash, _, _ in hashes], pa.uint64()),
            "published": pa.nulls(len(images), pa.uint64()),
        }
    )


def _indexed(images: Sequence[Image.Image], path: Path, variants: tuple[str, ...]) -> EvalSet:
    rows = [(str(n), *picture_hashes(each), None) for n, image in enumerate(images) for each in with_variants(image, variants)]
    schema = ITEMS.append(pa.field("fault", pa.string()))
    table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
    write_evalset(path, [table], {}, variants)
    return open_set(path.stem, str(path))


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")
