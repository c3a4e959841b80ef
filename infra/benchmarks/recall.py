"""Evaluation pictures found again after what the web does to pictures, and different ones taken for the same.

    NAME, NAME_plain   the share of pictures that hashes find after a transformation (`demo_corpus/transformations.py`), and looks
                       confirm, by a set that has `variants` of its items, and by one that has none
    NAME_hashes        the same by hashes alone, with variants (`dedup.eval_hash_agreement` off)
    NAME_second        the same with variants and, where no hash matched, by agreement (`dedup.eval_agreement`)
    false_pairs        pairs of different pictures of which one is taken for the other; siblings, such as coins of a currency,
                       among them
    precision, _second  of all matches the share that name the picture itself
    siblings_FAMILY    of pictures of a kind (`tools/siblings.py`) those that hashes, confirmed or (`_hashes`) alone, or agreement
                       take for another one of the kind
    siblings_precision, _hashes, _second  the share of all siblings that are taken for none

The pictures are Tux Paint's stamps on white (Debian's tuxpaint-stamps-default), of which the descriptors have seen none. Those
that are too flat to be told apart by PDQ's own measure are counted as `flat` and left out. `--rows` of them, all where that is 0.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from infra.benchmarks.tools.siblings import siblings
from infra.compat.paths import cache_folder
from pipelines.corpus.evaluation_agreement import most_agreeing, square_of
from pipelines.corpus.evaluation_file import ITEMS, write_evalset
from pipelines.corpus.evaluation_hashing import Kept, SmallPictures, picture_hashes
from pipelines.corpus.evaluation_looks import confirmed, look_of
from pipelines.corpus.evaluation_search import EvalSet, candidates, file_of, open_set
from pipelines.corpus.settings import DedupSettings
from pipelines.corpus.variants import VARIANTS, with_variants
from pipelines.demo_corpus.corpus import STAMPS, debian_packages, load_folder
from pipelines.demo_corpus.transformations import TRANSFORMATIONS

KINDS = ("_hashes", "_plain", "", "_second")  # how pictures are looked for
AGREEMENT = 0.8  # as README recommends for dedup.eval_agreement
DEFAULT, ALONE = DedupSettings(), DedupSettings(eval_hash_agreement=0)


def measure(rows: int) -> dict[str, Any]:
    """Recall by transformation and precision."""
    images = stamps(rows)
    quality = np.array([picture_hashes(image)[2] for image in images])
    images = [image for image, value in zip(images, quality.tolist(), strict=True) if value >= DedupSettings().eval_quality]
    figures: dict[str, float] = {"pictures": len(images), "flat": len(quality) - len(images)}
    matches, right, false = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0), set[tuple[int, int]]()
    with tempfile.TemporaryDirectory() as folder:
        whole = _indexed(images, Path(folder, "all.evalset"), tuple(VARIANTS))
        plain = _indexed(images, Path(folder, "plain.evalset"), ())
        for name, transform in TRANSFORMATIONS.items():
            changed = [transform(image) for image in images]
            named = {"_hashes": _by_hashes(changed, whole, ALONE), "_plain": _by_hashes(changed, plain)}
            named[""] = _by_hashes(changed, whole)
            named["_second"] = named[""] | _by_agreement(changed, whole, named[""])
            for kind, found in named.items():
                matches[kind] += len(found)
                right[kind] += (own := sum(sample == item for sample, item in found.items()))
                figures[f"{name}{kind}"] = own / len(images)
            false |= {(min(pair), max(pair)) for pair in named["_second"].items() if pair[0] != pair[1]}
            _say({key: value for key, value in figures.items() if key.startswith(name)})
        taken = {kind: _taken_for_others(kind, pictures, Path(folder)) for kind, pictures in siblings().items()}
    ratios = {f"precision{kind}": right[kind] / max(1, matches[kind]) for kind in KINDS}
    count = sum(each[0] for each in taken.values())
    for place, kind in ((1, "_hashes"), (2, ""), (3, "_second")):
        figures |= {f"siblings_{name}{kind}": each[place] for name, each in taken.items()}
        ratios[f"siblings_precision{kind}"] = 1 - sum(each[place] for each in taken.values()) / count
    return {"figures": {**figures, "false_pairs": len(false), "siblings": count}, "ratios": ratios}


def _by_hashes(images: Sequence[Image.Image], one: EvalSet, settings: DedupSettings = DEFAULT) -> dict[int, int]:
    """Picture → item, of those that a hash matches and that agree."""
    samples = compared(images)
    met = candidates(samples, [one], settings)
    looks = {row: look_of(np.asarray(images[row])) for row in met.rows(np.ones(1, bool)).tolist()}
    found = confirmed(samples, [one], met, looks, settings)
    return dict(zip(found["sample_id"].to_pylist(), map(int, found["item"].to_pylist()), strict=True))


def _by_agreement(images: Sequence[Image.Image], one: EvalSet, matched: Collection[int]) -> dict[int, int]:
    """The same of those that agree, of pictures that are not `matched` and not too flat."""
    left = [place for place, image in enumerate(images) if place not in matched and _is_told(image)]
    if not left:
        return {}
    squares = [square_of(np.asarray(images[place])) for place in left]
    found = zip(left, most_agreeing(squares, [(one.name, file_of(one))]), strict=True)
    return {place: int(item) for place, (_, item, agreed) in found if agreed >= AGREEMENT}


def _is_told(image: Image.Image) -> bool:
    return picture_hashes(image)[2] >= DedupSettings().eval_quality


def _taken_for_others(kind: str, images: Sequence[Image.Image], folder: Path) -> tuple[int, int, int, int]:
    """How many siblings there are, and how many hashes alone, those confirmed, and these or agreement take for another one.

    Each is looked for among those whose number differs from its own in a bit, bit by bit: so among all others.
    """
    by_hash, by_look, by_any = set[int](), set[int](), set[int]()
    for bit, side in product(range((len(images) - 1).bit_length()), (0, 1)):
        items, queries = ([place for place in range(len(images)) if place >> bit & 1 == other] for other in (side, 1 - side))
        one = _indexed([images[place] for place in items], folder / f"{kind}-{bit}-{side}.evalset", tuple(VARIANTS))
        shown = [images[place] for place in queries]
        matched = _by_hashes(shown, one)
        known = set(matched) | {row for row, place in enumerate(queries) if place in by_any}
        by_hash |= {queries[row] for row in _by_hashes(shown, one, ALONE)}
        by_look |= {queries[row] for row in matched}
        by_any |= by_look | {queries[row] for row in _by_agreement(shown, one, known)}
    taken = len(images), len(by_hash), len(by_look), len(by_any)
    _say({kind: taken})
    return taken


def _say(figures: Mapping[str, object]) -> None:
    sys.stderr.write(json.dumps(figures) + "\n")


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
    rows, small = list[tuple[object, ...]](), SmallPictures(Kept(looks=True, squares=True))
    for number, image in enumerate(images):
        small.add(len(rows), image)
        rows += [(str(number), *picture_hashes(each), None) for each in with_variants(image, variants)]
    schema = ITEMS.append(pa.field("fault", pa.string()))
    table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
    write_evalset(path, [small.appended(table)], {}, variants)
    return open_set(path.stem, str(path))


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")
