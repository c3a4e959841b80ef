"""Which value wins where several families know it: the columns of the manifest, written once, for SQL and for Arrow.

Each column of `manifest` is the first value that is not NULL of the places listed here, in their order: what we computed
ourselves, then what the downloaded picture is, then what the publisher says beside the sample, then published tag tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from infra.compat.errors import RequestError, nearest

Place = tuple[str, str]  # family, column

SHARDS = "shards"  # stands for the export made last, whatever its name
LATEST_EXPORT = "exports/latest.json"  # names it
SCORES = ("clip_similarity", "watermark", "unsafe", "aesthetic")


def _own(family: str, *columns: str, prefix: str = "") -> dict[str, tuple[Place, ...]]:
    return {f"{prefix}{column}": ((family, column),) for column in columns}


PRECEDENCE: dict[str, tuple[Place, ...]] = {
    **_own("samples", "sample_id", "source", "url", "caption", "language"),
    "width": (("fetch", "width"), ("samples", "width")),
    "height": (("fetch", "height"), ("samples", "height")),
    "clip_similarity": (("scores", "clip_similarity"), ("samples", "clip_similarity")),
    "watermark": (("scores", "watermark"), ("samples", "watermark"), ("tags", "watermark")),
    "unsafe": (("scores", "unsafe"), ("samples", "unsafe"), ("tags", "unsafe")),
    "aesthetic": (("scores", "aesthetic"), ("samples", "aesthetic"), ("tags", "aesthetic")),
    **_own("samples", "caption_chars", "caption_words", "license", "alt_text", "pair_hash", "image_phash", "image_hash"),
    **_own("fetch", "status", "error", prefix="fetch_"),
    **_own("fetch", "http_status", "bytes", "mime", "sha256", "phash", "pdq", "pdq_quality", "tar"),
    **_own("fetch", "offset", "length", prefix="tar_"),
    **_own("fetch", "stored_checksum", "tar_stamp"),
    **_own("scores", "error", prefix="score_"),
    **_own("stage1", "keep", "reasons", prefix="stage1_"),
    **_own("stage2", "keep", "reasons", prefix="stage2_"),
    **_own("stage2", "language", prefix="caption_"),
    **_own("stage2", "caption_repaired", "language_confidence", "caption_pictures", "quality", "quality_parts"),
    **_own("dedup", "duplicate_of", "duplicate_kind", "eval_match", "eval_item"),
    **_own("dedup", "variant", "tier", "distance", "cosine", "agreement", prefix="eval_"),
    **_own("dedup", "error", prefix="dedup_"),
    **_own("dedup", "bytes_copy_of", "pixels_copy_of", "pixels_distance", "pair_copy_of", "pair_distance", "url_copy_of"),
    **_own("dedup", "semantic_copy_of", "semantic_distance"),
    **_own("captions", "synthetic_caption"),
    **_own(SHARDS, "shard", "position", "split"),
    **_own(SHARDS, "error", prefix="export_"),
}


def places_of(column: str) -> tuple[Place, ...]:
    """The families and columns that a column of the manifest is taken from; any other is one of the open family `scores`."""
    return PRECEDENCE.get(column, (("scores", column),))


def require_columns(columns: Iterable[str], scores: Collection[str]) -> None:
    """RequestError for a column that the manifest does not have, given the names of all scores."""
    for column in columns:
        if column not in PRECEDENCE and column not in scores:
            raise RequestError(f"the manifest has no column {column!r}; {nearest(column, [*PRECEDENCE, *scores])}")


def families_of(columns: Iterable[str]) -> tuple[str, ...]:
    """The families besides `samples` that these columns are taken from, in a fixed order."""
    used = {family for column in columns for family, _ in places_of(column)}
    return tuple(family for family in FAMILIES if family in used)


def sql_of(column: str, aliases: dict[str, str]) -> str:
    """The SQL expression of a column, given the alias of each joined family."""
    places = [f'{aliases[family]}."{name}"' for family, name in places_of(column)]
    return places[0] if len(places) == 1 else f"coalesce({', '.join(places)})"


def _families() -> Sequence[str]:
    seen = dict.fromkeys(family for places in PRECEDENCE.values() for family, _ in places)
    return [family for family in seen if family != "samples"]


FAMILIES = tuple(_families())  # all but `samples`
