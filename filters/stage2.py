"""Stage 2: rules that judge the caption (InternVL §3.2: length, completeness, readability; gibberish, boilerplate, offensive
language, placeholder text, source code). InternVL publishes neither rules nor thresholds: all of these are ours.

Rules judge captions as `filters.text.repair` repairs them, unless the recipe says otherwise.

Columns: caption, caption_chars, caption_words, caption_pictures (on how many pictures of the corpus the caption stands). One
concern a file under `captions/`, a large one in several: each module there with `RULES` belongs to the set. A rule's name begins
with its concern. No rule assumes spaces, Latin letters or capitals.
"""

from __future__ import annotations

import importlib
import pkgutil

import pyarrow as pa
import pyarrow.compute as pc

from filters import captions as concerns
from filters.rules import Rule
from filters.text.words import count_words

PICTURES = "caption_pictures"

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
)


def columns_of(captions: pa.ChunkedArray) -> pa.Table:
    """The columns that rules read and captions alone give (string[N], none NULL): table[N].

    `caption_pictures` is NULL: only a corpus can tell. A rule on any other column is not applicable to captions alone.
    """
    return pa.table(
        {
            "caption": captions,
            "caption_chars": pc.utf8_length(captions).cast(pa.int32()),
            "caption_words": count_words(captions),
            PICTURES: pa.nulls(len(captions), pa.int32()),
        }
    )


def with_repaired(table: pa.Table, repaired: pa.Array) -> pa.Table:
    """The table[N] with `repaired` (string[N]) in the place of its captions, those left as they are where it is NULL.

    Of a repaired caption the columns caption_chars and caption_words, where the table has them, are counted anew.
    """
    changed, captions = pc.is_valid(repaired), pc.drop_null(repaired)
    if not len(captions):
        return table
    new = columns_of(pa.chunked_array([captions]))
    for name in ("caption", "caption_chars", "caption_words"):
        if name in table.column_names:
            values = pc.replace_with_mask(table[name].combine_chunks(), changed, new[name].combine_chunks())
            table = table.set_column(table.column_names.index(name), name, values)
    return table


def _all_rules() -> list[Rule]:
    """The rules of all modules in `captions/`."""
    names = {module.name for module in pkgutil.iter_modules(concerns.__path__)}
    modules = [importlib.import_module(f"{concerns.__name__}.{name}") for name in (*ORDER, *sorted(names - {*ORDER}))]
    return [rule for module in modules for rule in getattr(module, "RULES", ())]


RULES = _all_rules()
