"""Writes the plan's rows as metadata in the published schemas, and what is true of them as truth.parquet.

Published similarities are those of the small CLIP of `infra/models`; COYO's unsafe scores are OpenNSFW's, as in COYO itself.
Watermark, aesthetic and LAION's unsafe scores are random: the weights of their classifiers could not be had. The report says so.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from filters.scores.onnx_clip import OnnxClip
from filters.scores.similarity import similarity
from filters.scores.unsafe import unsafe
from pipelines.demo_corpus.plan import FILES, KEYWORD_LIST, Row
from pipelines.manifest.ids import sample_ids
from pipelines.sources import source_named

BATCH = 256
UNKNOWN = 0.02  # the share of rows a publisher gives no scores for


@dataclass(frozen=True)
class Judged:
    """Scores by models: similarity of each (picture, caption), unsafe probability of each picture in COYO's rows."""

    similar: dict[tuple[str, str], float]
    unsafe: dict[str, float]


def publish(rows: Sequence[Row], folder: Path, clip: OnnxClip, open_nsfw: Any, seed: int) -> None:
    """One file per (source, file) below folder/metadata, and folder/truth.parquet: sample_id, defect, of.

    `open_nsfw` is an onnxruntime session of OpenNSFW.
    """
    pictures = folder / "pictures"
    with ThreadPoolExecutor() as pool:  # a model a core
        similar = pool.submit(similarities, rows, pictures, clip)
        judged = Judged(unsafe=unsafe_probabilities(rows, pictures, open_nsfw), similar=similar.result())
    grouped = defaultdict(list)
    for row in rows:
        grouped[row.source, row.file].append(row)
    truth: list[tuple[int, str, tuple[str, str] | None]] = []
    ids: dict[tuple[str, str], int] = {}
    for source, file in sorted((source, file) for source, count in FILES.items() for file in range(count)):
        group = grouped[source, file]
        path = folder / "metadata" / source
        path.mkdir(parents=True, exist_ok=True)
        WRITERS[source](group, path, file, judged, np.random.default_rng([seed, file, len(group)]))
        for sample_id, row in zip(sample_ids(source_named(source).ordinal, file, 0, len(group)).tolist(), group, strict=True):
            if row.defect:
                truth.append((sample_id, row.defect, row.of))
            if row.defect in ("", KEYWORD_LIST):
                ids[row.url, row.caption] = sample_id
    table = pa.table(
        {
            "sample_id": pa.array([sample_id for sample_id, _, _ in truth], pa.uint64()),
            "defect": [defect for _, defect, _ in truth],
            "of": pa.array([ids.get(of) if of else None for _, _, of in truth], pa.uint64()),
        }
    )
    pq.write_table(table, folder / "truth.parquet")


def similarities(rows: Sequence[Row], pictures: Path, clip: OnnxClip) -> dict[tuple[str, str], float]:
    """The similarity of every (picture, caption) of the rows, by the model; each picture and caption goes through it once."""
    files = sorted({row.picture for row in rows})
    captions = sorted({row.caption for row in rows}, key=lambda caption: (len(caption), caption))  # little padding
    images = np.concatenate([clip.embed_pictures([_open(pictures / name) for name in batch]) for batch in _batches(files)])
    texts = np.concatenate([clip.embed_captions(batch) for batch in _batches(captions)])
    place = {name: i for i, name in enumerate(files)}, {caption: i for i, caption in enumerate(captions)}
    values = similarity(images[[place[0][row.picture] for row in rows]], texts[[place[1][row.caption] for row in rows]])
    return {(row.picture, row.caption): float(value) for row, value in zip(rows, values, strict=True)}


def unsafe_probabilities(rows: Sequence[Row], pictures: Path, open_nsfw: Any) -> dict[str, float]:
    """OpenNSFW's probability for every picture that COYO's rows show, each once."""
    files = sorted({row.picture for row in rows if row.source == "coyo"})
    probabilities = [unsafe(open_nsfw, [_open(pictures / name) for name in batch]) for batch in _batches(files)]
    return dict(zip(files, np.concatenate([np.zeros(0), *probabilities]).tolist(), strict=True))


def _batches(items: list[str]) -> Iterator[list[str]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _open(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def _scores(rows: Sequence[Row], judged: Judged, chance: np.random.Generator) -> dict[str, pa.Array]:
    count = len(rows)
    known = np.array([judged.similar[row.picture, row.caption] for row in rows]).round(4)  # publishers do not give every bit
    unknown = chance.random(count) < UNKNOWN
    return {
        "similarity": pa.array(known.astype(np.float32), mask=unknown),
        "watermark": pa.array(np.clip(chance.beta(1.2, 9, count), 0, 1).astype(np.float32), mask=unknown),
        "unsafe": pa.array(np.clip(chance.beta(1, 40, count), 0, 1).astype(np.float32), mask=unknown),
        "aesthetic": pa.array(np.clip(chance.normal(5.2, 0.7, count), 0, 10).astype(np.float32), mask=unknown),
    }


def _urls(rows: Sequence[Row]) -> pa.Array:
    return pa.array([row.url or None for row in rows], pa.string())


def _laion(rows: Sequence[Row], folder: Path, file: int, judged: Judged, chance: np.random.Generator) -> None:
    scores = _scores(rows, judged, chance)
    columns = {
        "URL": _urls(rows),
        "TEXT": [row.caption for row in rows],
        "WIDTH": pa.array([row.width for row in rows], pa.int32()),
        "HEIGHT": pa.array([row.height for row in rows], pa.int32()),
        "similarity": scores["similarity"].cast(pa.float64()),
        "hash": pa.array([mmh3.hash64((row.url + row.caption).encode())[0] for row in rows], pa.int64()),
        "pwatermark": scores["watermark"],
        "punsafe": scores["unsafe"],
        "aesthetic": scores["aesthetic"],
    }
    if folder.name == "laion2b-multi":
        columns["LANGUAGE"] = [row.language.partition("_")[0].partition("@")[0] for row in rows]
    pq.write_table(pa.table(columns), folder / f"part-{file:05d}.parquet")


def _coyo(rows: Sequence[Row], folder: Path, file: int, judged: Judged, chance: np.random.Generator) -> None:
    scores, count = _scores(rows, judged, chance), len(rows)
    known = np.array([judged.unsafe[row.picture] for row in rows], dtype=np.float32).round(4)
    columns = {
        "id": pa.array([file << 32 | row for row in range(count)], pa.int64()),
        "url": _urls(rows),
        "text": [row.caption for row in rows],
        "width": pa.array([row.width for row in rows], pa.int64()),
        "height": pa.array([row.height for row in rows], pa.int64()),
        "image_phash": pa.nulls(count, pa.string()),
        "text_length": pa.array([len(row.caption) for row in rows], pa.int64()),
        "word_count": pa.array([len(row.caption.split()) for row in rows], pa.int64()),
        "num_tokens_bert": pa.nulls(count, pa.int64()),
        "num_tokens_gpt": pa.nulls(count, pa.int64()),
        "num_faces": pa.nulls(count, pa.int64()),
        "clip_similarity_vitb32": scores["similarity"],
        "clip_similarity_vitl14": pa.nulls(count, pa.float32()),
        "nsfw_score_opennsfw2": pa.array(known, mask=chance.random(count) < UNKNOWN),
        "nsfw_score_gantman": pa.nulls(count, pa.float32()),
        "watermark_score": scores["watermark"],
        "aesthetic_score_laion_v2": scores["aesthetic"],
    }
    pq.write_table(pa.table(columns), folder / f"part-{file:05d}.parquet")


def _wukong(rows: Sequence[Row], folder: Path, file: int, judged: Judged, chance: np.random.Generator) -> None:
    with (folder / f"wukong_100m_{file}.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["url", "caption"])
        writer.writerows([row.url, row.caption] if row.url else [row.caption] for row in rows)


WRITERS = {"laion2b-en": _laion, "laion2b-multi": _laion, "coyo": _coyo, "wukong": _wukong}
