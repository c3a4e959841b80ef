"""Which samples of a part are exported, how often, with which caption, into which split, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.exporting.pictures import ENDING_OF_MIME
from pipelines.exporting.settings import ExportSettings
from pipelines.exporting.where import meets
from pipelines.manifest.join import read_columns
from pipelines.manifest.parts import Part
from pipelines.manifest.pictures import STORED
from pipelines.manifest.receipts import read_receipts
from pipelines.manifest.selection import DISTINCT, FILTERED, columns_of, mask_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.step import PartResult
from pipelines.sources.pictures import ADOPTED
from pipelines.sources.pictures import NAME as PICTURES
from sharding.order import mix

TRAIN, HELD_OUT = "train", "heldout"
FIRST_HELD_OUT = 1 << 63  # orders of training samples are below
HOLDOUT_SALT = 0x686F6C64  # the draw for the split is another than the draw for the place
CAPTION_SALT = 0x63617074  # and so is the draw for the caption of a mixture
WEIGHT_SALT = 0x77656967  # and for how often a sample is exported
REPEAT_SALT = 0x72657065  # and for the places of its repeats

TYPES, BYTES = "pictures.", "bytes."  # begin the names of counts: pictures by type, as the ending of its files; bytes by split
OVERHEAD = 4 * 512 + 512  # bytes in a tar beside picture and caption: headers, half a block of padding each, the json

COLUMNS = (
    "url",
    "caption",
    "caption_repaired",
    "source",
    "language",
    "width",
    "height",
    "mime",
    "sha256",
    "synthetic_caption",
    *STORED,
)


def plan_part(
    storage: Storage, part: Part, reporter: Reporter, *, settings: ExportSettings, stage: int, where_columns: Sequence[str] = ()
) -> PartResult:
    """The kept samples of a part, in the order of the export: the family `export_<name>`.

    `where_columns` are those of the manifest that the condition `settings.where` reads.
    """
    kept_by = DISTINCT if stage == 1 else FILTERED
    table = read_columns(storage, part, dict.fromkeys([*COLUMNS, *columns_of(kept_by), *where_columns]))
    kept = table.filter(mask_of(table, kept_by))
    kept = kept.filter(meets(kept, settings.where)) if settings.where else kept
    if part.source == PICTURES:  # which have no text of their own, where others may have an empty one
        kept = kept.set_column(kept.column_names.index("caption"), "caption", pa.nulls(len(kept), pa.string()))
    kept = _captioned(kept, settings)
    plan = _placed(kept, settings.weights.get(part.source, 1.0), settings)
    reporter(part.rows)
    counts = {"kept": pc.count_distinct(kept["sample_id"]).as_py(), **_sizes(plan)}
    counts |= {f"{TYPES}{ending}": count for ending, count in _types(storage, part, kept).items()}
    plan = plan.rename_columns([name.removeprefix("tar_") for name in plan.column_names])
    return PartResult(plan.sort_by([("order", "ascending"), ("sample_id", "ascending")]), counts)


def _picture_keys(table: pa.Table) -> np.ndarray:
    """uint64[N], the same for all samples of a picture: of the fetched bytes where these are known, else of the stored ones."""
    stored = table["stored_checksum"]
    keys: np.ndarray = np.where(pc.is_valid(stored).to_numpy(), pc.fill_null(stored, 0).to_numpy(), table["sample_id"].to_numpy())
    known = pc.fill_null(pc.match_substring_regex(table["sha256"], "^[0-9a-f]{64}$"), False).to_numpy()
    first = pc.utf8_slice_codeunits(table["sha256"].filter(pa.array(known)), 0, 16)
    keys[known] = np.frombuffer(bytes.fromhex("".join(first.to_pylist())), ">u8")
    return keys


def _placed(table: pa.Table, weight: float, settings: ExportSettings) -> pa.Table:
    """The table with `order`, a hash whose first bit is the split, and a row more for each `repeat` of a training sample.

    The hash is of the sample's id, or of its picture where captions of a picture shall come together.
    """
    ids, pictures, seed = table["sample_id"].to_numpy(), _picture_keys(table), settings.seed
    draws = mix(pictures if settings.holdout_by == "picture" else ids, seed ^ HOLDOUT_SALT)
    held_out = draws < np.uint64(settings.holdout * 2**64)
    copies = int(weight) + (mix(ids, seed ^ WEIGHT_SALT) < np.uint64(weight % 1 * 2**64)).astype(np.int64)
    copies[held_out] = 1
    placed_by, repeats = ids if settings.captions_per_sample == 1 else pictures, []
    for repeat in range(max(1, int(copies.max(initial=0)))):
        rows = np.flatnonzero(copies > repeat)
        hashes = mix(placed_by[rows], seed if repeat == 0 else seed ^ (REPEAT_SALT + repeat))
        order = hashes >> np.uint64(1) | held_out[rows].astype(np.uint64) << np.uint64(63)
        one = table.take(rows).append_column("order", pa.array(order))
        repeats.append(one.append_column("repeat", pa.array(np.full(len(rows), repeat, np.int32))))
    return pa.concat_tables(repeats)


def _sizes(plan: pa.Table) -> dict[str, int]:
    """The rows of each split, and about how many bytes they take in a tar."""
    held_out = plan["order"].to_numpy() >= np.uint64(FIRST_HELD_OUT)
    captions = pc.binary_length(plan["caption"]).to_numpy()
    sizes = plan["tar_length"].to_numpy() + captions + OVERHEAD
    counts = {TRAIN: int((~held_out).sum()), HELD_OUT: int(held_out.sum())}
    return counts | {f"{BYTES}{TRAIN}": int(sizes[~held_out].sum()), f"{BYTES}{HELD_OUT}": int(sizes[held_out].sum())}


def _types(storage: Storage, part: Part, kept: pa.Table) -> dict[str, int]:
    """How many of the kept pictures are stored in which type, by its ending; none of those of unknown type."""
    receipt = read_receipts(storage, "fetch", [part]).get(part)
    as_fetched = part.source in ADOPTED or receipt is None or receipt.settings.get("resize", "keep") == "keep"
    mimes = pc.value_counts(kept["mime"].drop_null()).to_pylist()
    counts: Counter[str] = Counter()
    for row in mimes:
        counts[ENDING_OF_MIME[row["values"]] if as_fetched else "jpg"] += row["counts"]
    return counts


def _captioned(table: pa.Table, settings: ExportSettings) -> pa.Table:
    """The samples that have the chosen caption, with it, and whether it is synthetic or repaired; two rows of one with both."""
    if settings.captions == "both":
        return pa.concat_tables(_with_caption(table, pa.repeat(synthetic, len(table))) for synthetic in (False, True))
    if settings.captions != "mixture":
        return _with_caption(table, pa.repeat(settings.captions == "synthetic", len(table)))
    draws = mix(table["sample_id"].to_numpy(), settings.seed ^ CAPTION_SALT)
    drawn = (draws >> np.uint64(11)) * 2.0**-53 < settings.synthetic_share  # the upper bits as a number in 0 … 1
    chosen = pc.or_(pa.array(drawn), pc.is_null(table["caption"]).combine_chunks())
    return _with_caption(table, pc.and_(chosen, pc.is_valid(table["synthetic_caption"]).combine_chunks()))


def _with_caption(table: pa.Table, synthetic: pa.Array) -> pa.Table:
    """Those samples that have it with the synthetic caption where `synthetic` bool[N], else the original, repaired by stage 2."""
    original = pc.coalesce(table["caption_repaired"], table["caption"])
    caption = pc.if_else(synthetic, table["synthetic_caption"], original)
    repaired = pc.and_not(pc.is_valid(table["caption_repaired"]), synthetic)
    table = table.set_column(table.column_names.index("caption"), "caption", caption)
    table = table.append_column("synthetic", synthetic).append_column("repaired", repaired)
    return table.filter(pc.is_valid(caption))
