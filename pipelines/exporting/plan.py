"""Which samples of a part are exported, with which caption, into which split, and in which order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.exporting.settings import ExportSettings
from pipelines.manifest.join import read_part
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.step import Made
from sharding.order import mix

TRAIN, HELD_OUT = "train", "heldout"
HOLDOUT_SALT = 0x686F6C64  # the draw for the split is another than the draw for the place
CAPTION_SALT = 0x63617074  # and so is the draw for the caption of a mixture


def plan_part(storage: Storage, part: Part, reporter: Reporter, *, settings: ExportSettings, stage: int) -> Made:
    """The kept samples of a part, in the order of the export: the family `export_<name>`."""
    table = read_part(
        storage,
        part,
        {
            "samples": ["url", "caption", "source", "language"],
            "fetch": ["status", "tar", "offset", "length", "width", "height"],
            "stage1": ["keep"],
            "stage2": ["keep"],
            "dedup": ["duplicate_of", "eval_match"],
            "captions": ["synthetic_caption"],
        },
    )
    table = _captioned(table, settings)
    ok = pc.fill_null(pc.equal(table["fetch_status"], "ok"), False)
    ok = pc.and_(ok, pc.fill_null(table["stage1_keep"], False))
    if stage == 2:
        ok = pc.and_(ok, pc.fill_null(table["stage2_keep"], False))
    ok = pc.and_(ok, pc.is_valid(table["caption"]))
    ok = pc.and_(ok, pc.and_(pc.is_null(table["dedup_duplicate_of"]), pc.is_null(table["dedup_eval_match"])))
    kept = table.filter(ok).rename_columns([name.removeprefix("fetch_") for name in table.column_names])
    ids = kept["sample_id"].to_numpy()
    held = mix(ids, settings.seed ^ HOLDOUT_SALT) < np.uint64(settings.holdout * 2**64)
    plan = kept.append_column("order", pa.array(mix(ids, settings.seed)))
    plan = plan.append_column("split", pa.array(np.where(held, HELD_OUT, TRAIN)))
    reporter(part.rows)
    counts = {"kept": len(kept), HELD_OUT: int(held.sum()), TRAIN: int((~held).sum())}
    return Made(plan.sort_by([("order", "ascending"), ("sample_id", "ascending")]), counts)


def _captioned(table: pa.Table, settings: ExportSettings) -> pa.Table:
    """The table with the caption to export, NULL where the asked kind is missing, and whether it is synthetic."""
    original, synthetic = table["caption"], table["captions_synthetic_caption"]
    if settings.captions == "original":
        chosen = pa.repeat(False, len(table))
    elif settings.captions == "synthetic":
        chosen = pa.repeat(True, len(table))
    else:
        hashed = mix(table["sample_id"].to_numpy(), settings.seed ^ CAPTION_SALT)
        drawn = (hashed >> np.uint64(11)) * 2.0**-53 < settings.synthetic_share  # the upper bits as a number in 0 … 1
        chosen = pc.and_(pa.array(drawn), pc.is_valid(synthetic).combine_chunks())
    caption = pc.if_else(chosen, synthetic, original)
    return table.set_column(table.column_names.index("caption"), "caption", caption).append_column("synthetic", chosen)
