"""Stage 1: the six factors that cut the extreme points (InternVL §3.2 and Table 2), and pictures that were not downloaded.

InternVL publishes no thresholds, only the shares that they keep; every default here is a choice, mild on purpose, with the
published number behind it beside it. `pairmill calibrate` fits them to a retention.

Columns: clip_similarity, watermark, unsafe, aesthetic (ours where computed, else the publisher's), width, height (of the
picture as fetched, else as published), caption_chars, fetch_status. Scores of different models share no scale: set a
threshold per source with `by_source`. A new rule is one more `Rule` in `RULES`.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import Rule, Thresholds, above, below, column

# The name of the rule, and so the reason, which means that the picture was not downloaded.
DOWNLOAD = "download"


def _shorter_side(table: pa.Table) -> pa.Array:
    return pc.min_element_wise(table["width"], table["height"], skip_nulls=False)


def _aspect_ratio(table: pa.Table) -> pa.Array:
    longer = pc.max_element_wise(table["width"], table["height"], skip_nulls=False)
    # A side of 0 pixels gives an infinite ratio, which every threshold drops.
    return pc.divide(pc.cast(longer, pa.float64()), pc.cast(_shorter_side(table), pa.float64()))


def _not_downloaded(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    return pc.not_equal(table["fetch_status"], "ok")


RULES = [
    Rule(
        name="clip_similarity",
        columns=("clip_similarity",),
        drops=below(column("clip_similarity")),
        measure=column("clip_similarity"),
        catches="captions that do not belong to their picture",
        origin="a choice; LAION cut at 0.28 (English) and 0.26 (other languages) with ViT-B/32, Data-Juicer at 0.203",
        kept={"clip_similarity": 0.31},
        dropped={"clip_similarity": 0.11},
        thresholds={"min": 0.26},
    ),
    Rule(
        name="watermark",
        columns=("watermark",),
        drops=above(column("watermark")),
        measure=column("watermark"),
        catches="pictures that probably carry a watermark",
        origin="LAION: pwatermark < 0.8",
        kept={"watermark": 0.2},
        dropped={"watermark": 0.97},
        thresholds={"max": 0.8},
    ),
    Rule(
        name="unsafe",
        columns=("unsafe",),
        drops=above(column("unsafe")),
        measure=column("unsafe"),
        catches="pictures that are probably not safe for work",
        origin="LAION: punsafe < 0.5; COYO: nsfw <= 0.5",
        kept={"unsafe": 0.01},
        dropped={"unsafe": 0.99},
        thresholds={"max": 0.5},
    ),
    Rule(
        name="aesthetic",
        columns=("aesthetic",),
        drops=below(column("aesthetic")),
        measure=column("aesthetic"),
        catches="the ugliest pictures",
        origin="a choice: on LAION's published v1 histogram a cut at 3 loses 8.1 %, a cut at 4 loses 27 %",
        kept={"aesthetic": 5.2},
        dropped={"aesthetic": 1.4},
        thresholds={"min": 3.0},
    ),
    Rule(
        name="resolution.shorter_side",
        columns=("width", "height"),
        drops=below(_shorter_side),
        measure=_shorter_side,
        catches="tiny pictures (pixels of the shorter side)",
        origin="a choice; COYO and DataComp require 200, which alone loses more than InternVL's whole first stage",
        kept={"width": 640, "height": 480},
        dropped={"width": 640, "height": 16},
        thresholds={"min": 64},
    ),
    Rule(
        name="resolution.aspect_ratio",
        columns=("width", "height"),
        drops=above(_aspect_ratio),
        measure=_aspect_ratio,
        catches="banners and rulers (longer side over shorter side)",
        origin="a choice; COYO and DataComp allow 3",
        kept={"width": 640, "height": 480},
        dropped={"width": 3000, "height": 100},
        thresholds={"max": 5},
    ),
    Rule(
        name="caption_length.short",
        columns=("caption_chars",),
        drops=below(column("caption_chars")),
        measure=column("caption_chars"),
        catches="captions of a single character; one Chinese character can be a word, so the threshold is low",
        origin="a choice; COYO requires 6 characters, DataComp more than 5, of English",
        kept={"caption_chars": 7},
        dropped={"caption_chars": 1},
        thresholds={"min": 2},
    ),
    Rule(
        name="caption_length.long",
        columns=("caption_chars",),
        drops=above(column("caption_chars")),
        measure=column("caption_chars"),
        catches="whole pages instead of a caption",
        origin="COYO: at most 1000 characters",
        kept={"caption_chars": 90},
        dropped={"caption_chars": 40_000},
        thresholds={"max": 1000},
    ),
    Rule(
        name=DOWNLOAD,
        columns=("fetch_status",),
        drops=_not_downloaded,
        catches="pictures that could not be fetched; no verdict before fetch has run",
        origin="InternVL Table 2 counts download failures in stage 1",
        kept={"fetch_status": "ok"},
        dropped={"fetch_status": "failed"},
    ),
]
