"""Stage 2: rules that judge the caption (InternVL §3.2: length, completeness, readability; gibberish, boilerplate, offensive
language, placeholder text, source code). InternVL publishes neither rules nor thresholds: all of these are ours.

Columns: caption, caption_chars, caption_words, caption_pictures (on how many pictures of the corpus the caption stands). One
concern a file under `captions/`; a rule's name begins with its concern. No rule assumes spaces, Latin letters or capitals.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from filters.captions import boilerplate, completeness, gibberish, length, offensive, placeholder, readability, source_code
from filters.text.words import count_words

PICTURES = "caption_pictures"


def columns_of(captions: pa.ChunkedArray) -> pa.Table:
    """What the rules read of captions alone (string[N], none NULL): table[N]. Pictures are NULL: a corpus has them."""
    return pa.table(
        {
            "caption": captions,
            "caption_chars": pc.utf8_length(captions).cast(pa.int32()),
            "caption_words": count_words(captions),
            PICTURES: pa.nulls(len(captions), pa.int32()),
        }
    )


RULES = [
    *length.RULES,
    *completeness.RULES,
    *readability.RULES,
    *gibberish.RULES,
    *boilerplate.RULES,
    *offensive.RULES,
    *placeholder.RULES,
    *source_code.RULES,
]
