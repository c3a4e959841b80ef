"""Which samples of a part are exported, with which caption, into which split, and in which order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.exporting.pictures import ENDING_OF_MIME
from pipelines.exporting.settings import ExportSettings
from pipelines.manifest.join import read_columns
from pipelines.manifest.parts import Part
from pipelines.manifest.pictures import STORED
from pipelines.manifest.receipts import read_receipts
from pipelines.manifest.selection import DISTINCT, FILTERED, columns_of, mask_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.step import PartResult
from pipelines.sources.img2dataset import NAME as IMG2DATASET
from sharding.order import mix

TRAIN, HELD_OUT = "train", "heldout"
HOLDOUT_SALT = 0x686F6C64  # the draw for the split is another than the draw for the place
CAPTION_SALT = 0x63617074  # and so is the draw for the caption of a mixture


TYPES = "pictures."  # begins the names of counts by the type of picture, as the ending of its files

COLUMNS = ("url", "caption", "caption_repaired", "source", "language", "width", "height", "mime", "synthetic_caption", *STORED)


def plan_part(storage: Storage, part: Part, reporter: Reporter, *, settings: ExportSettings, stage: int) -> PartResult:
    """The kept samples of a part, in the order of the export: the family `export_<name>`."""
    kept_by = DISTINCT if stage == 1 else FILTERED
    table = _with_chosen_caption(read_columns(storage, part, dict.fromkeys([*COLUMNS, *columns_of(kept_by)])), settings)
    kept = table.filter(pc.and_(mask_of(table, kept_by), pc.is_valid(table["caption"])))
    kept = kept.rename_columns([name.removeprefix("tar_") for name in kept.column_names])
    ids = kept["sample_id"].to_numpy()
    held_out = mix(ids, settings.seed ^ HOLDOUT_SALT) < np.uint64(settings.holdout * 2**64)
    plan = kept.append_column("order", pa.array(mix(ids, settings.seed)))
    plan = plan.append_column("split", pa.array(np.where(held_out, HELD_OUT, TRAIN)))
    reporter(part.rows)
    counts = {"kept": len(kept), HELD_OUT: int(held_out.sum()), TRAIN: int((~held_out).sum())}
    counts |= {f"{TYPES}{ending}": count for ending, count in _types(storage, part, kept).items()}
    return PartResult(plan.sort_by([("order", "ascending"), ("sample_id", "ascending")]), counts)


def _types(storage: Storage, part: Part, kept: pa.Table) -> dict[str, int]:
    """How many of the kept pictures are stored in which type, by its ending; none of those of unknown type."""
    receipt = read_receipts(storage, "fetch", [part]).get(part)
    as_fetched = part.source == IMG2DATASET or receipt is None or receipt.settings.get("resize", "keep") == "keep"
    mimes = pc.value_counts(kept["mime"].drop_null()).to_pylist()
    counts: Counter[str] = Counter()
    for row in mimes:
        counts[ENDING_OF_MIME[row["values"]] if as_fetched else "jpg"] += row["counts"]
    return counts


def _with_chosen_caption(table: pa.Table, settings: ExportSettings) -> pa.Table:
    """The table with the caption to export, NULL where the chosen kind is missing, and whether it is synthetic or repaired."""
    original, synthetic = pc.coalesce(table["caption_repaired"], table["caption"]), table["synthetic_caption"]
    if settings.captions == "original":
        chosen = pa.repeat(False, len(table))
    elif settings.captions == "synthetic":
        chosen = pa.repeat(True, len(table))
    else:
        draws = mix(table["sample_id"].to_numpy(), settings.seed ^ CAPTION_SALT)
        synthetic_drawn = (draws >> np.uint64(11)) * 2.0**-53 < settings.synthetic_share  # the upper bits as a number in 0 … 1
        chosen = pc.and_(pa.array(synthetic_drawn), pc.is_valid(synthetic).combine_chunks())
    caption = pc.if_else(chosen, synthetic, original)
    repaired = pc.and_not(pc.is_valid(table["caption_repaired"]), chosen)
    table = table.set_column(table.column_names.index("caption"), "caption", caption)
    return table.append_column("synthetic", chosen).append_column("repaired", repaired)
