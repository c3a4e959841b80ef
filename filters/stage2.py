"""Stage 2: rules that judge the caption (InternVL §3.2: length, completeness, readability; gibberish, boilerplate, offensive
language, placeholder text, source code). InternVL publishes neither rules nor thresholds: all of these are ours.

Columns: caption, caption_chars, caption_words, caption_pictures (on how many pictures of the corpus the caption stands). One
concern a file under `captions/`; a rule's name begins with its concern. No rule assumes spaces, Latin letters or capitals.
"""

from __future__ import annotations

from filters.captions import boilerplate, completeness, gibberish, length, offensive, placeholder, readability, source_code

PICTURES = "caption_pictures"

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
