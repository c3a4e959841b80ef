"""Stage 2: rules that judge the caption (InternVL §3.2: length, completeness, readability; gibberish, boilerplate, offensive
language, placeholder text, source code). InternVL publishes neither rules nor thresholds: all of these are ours.

Rules judge captions as `filters.text.repair` repairs them, unless the recipe says otherwise.

Columns: caption, caption_chars, caption_words, caption_pictures (on how many pictures of the corpus the caption stands), quality
(`filters.quality`). One concern a file under `captions/`, a large one in several: each module there with `RULES` belongs to the
set. A rule's name begins with its concern. No rule assumes spaces, Latin letters or capitals.
"""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters import captions as concerns
from filters.quality.score import quality
from filters.rules import Rule
from filters.text.words import count_words

PICTURES = "caption_pictures"
QUALITY, QUALITY_PARTS = "quality", "quality_parts"

# The order of reasons in the manifest. Modules that are not named here follow, sorted by name.
ORDER = (
    "length",
    "completeness",
    "file_names",
    "cut_off",
    "readability",
    "gibberish",
    "boilerplate",
    "page_furniture",
    "keywords",
    "search_phrases",
    "offensive",
    "placeholder",
    "source_code",
    "quality",
)


def columns_of(captions: pa.ChunkedArray, repaired: pa.Array | None = None) -> pa.Table:
    """The columns that rules read and captions alone give (string[N], none NULL), and `quality_parts`: table[N].

    `repaired` (string[N]) stands in the place of captions where it is not NULL. `caption_pictures` is NULL: only a corpus can
    tell. A rule on any other column is not applicable to captions alone.
    """
    judged = captions if repaired is None else pc.coalesce(repaired, captions)
    scores, parts = quality(judged)
    return pa.table(
        {
            "caption": judged,
            "caption_chars": pc.utf8_length(judged).cast(pa.int32()),
            "caption_words": count_words(judged),
            PICTURES: pa.nulls(len(judged), pa.int32()),
            QUALITY: scores,
            QUALITY_PARTS: parts,
        }
    )


def final_quality(table: pa.Table, reasons: pa.Array) -> pa.Array:
    """The quality in table[N], 0 where a rule on anything else drops the caption, given the `reasons` (list<string>[N])."""
    others = pc.invert(pc.starts_with(reasons.flatten(), f"{QUALITY}."))
    dropped = np.zeros(len(table), bool)
    dropped[pc.list_parent_indices(reasons).filter(others).to_numpy()] = True
    return pc.if_else(pa.array(dropped), pa.scalar(0, pa.float32()), table[QUALITY].combine_chunks())


def _all_rules() -> list[Rule]:
    """The rules of all modules in `captions/`."""
    names = {module.name for module in pkgutil.iter_modules(concerns.__path__)}
    modules = [importlib.import_module(f"{concerns.__name__}.{name}") for name in (*ORDER, *sorted(names - {*ORDER}))]
    return [rule for module in modules for rule in getattr(module, "RULES", ())]


RULES = _all_rules()
