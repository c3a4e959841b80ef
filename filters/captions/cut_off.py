"""Completeness of the end: captions that break off. One that can be cut back to a whole clause was, before any rule sees it.

A word that cannot stand last is judged in the caption's own language: "and" ends no English caption, but a Danish one about a duck.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import Rule, Thresholds, above
from filters.text.patterns import match_any, match_within, prepare

ORIGIN = "InternVL §3.2 names completeness; the patterns are ours"

# Words that cannot end a caption, in lower case only, because "Vitamin A" is complete. Those without a language end none in any;
# the others are words of other languages too ("bague en or", "9 am", "a time to die"): they count after a word of their own.
DANGLING = {
    "": r"the|and/or|(?:on|in|at|with|from|of|for|by|to|into|near|under|over) an?|(?:the|an?) \pL+ of|(?:covers?|photos?|images?|pictures?|views?|portraits?|maps?|lists?|examples?|collections?|sets?|pairs?|logos?|parts?|most|all|one|some|pieces?|kinds?|types?) of|with|during|among|towards?|onto|than|because|whose|(?:match|game|relationship|difference|war|battle|meeting|fight|line|space) between|your|their|our|(?:\S+\s+){{4,}}and|und|mit (?:dem|der|einem|einer)"
    r"|einem|einen|eines|zum|avec|(?:sur|dans) (?:le|la|les)|(?:en|para) (?:el|la|los)|de los|em uma?|della|nella"
    r"|из-за|и|в|на|с|для|из|от|по|к|у|за|под|над|при|без|до|или",
    "en": r"an|and|or|&",
    "de": r"der|die|des|dem|oder|von|für|im|am|zur|einer",
    "fr": r"le|les|des|du|de|et|ou|aux",
    "es": r"los|las|de|del|con|el|y",
    "pt": r"dos|das|de|com|e",
    "it": r"il|lo|gli|di|del|dei|con|nel|un",
}
OWN_WORDS = {
    "en": r"the|of|a|an|with|in|is|are|this|that|from|for|your|you|his|her|on|at|its|their|has|was",
    "de": r"der|die|das|und|mit|ein|eine|einer|von|im|auf|ist|für|bei|nach|zum|zur|den|dem|sich|wie",
    "fr": r"le|la|les|un|une|des|du|et|en|dans|sur|avec|pour|par|est|qui|que|son|sa|ses|leur",
    "es": r"el|la|los|las|un|una|del|y|en|con|para|por|que|su|sus|se|es",
    "pt": r"o|os|as|um|uma|do|da|dos|das|em|no|na|com|para|por|que|se|e",
    "it": r"il|la|lo|gli|un|una|di|del|della|e|in|con|per|che|dal|sul|nel|è",
}
LAST = r"(?:^|[\s,(])(?:{words})"
BEFORE_LAST = r"(?:^|[\s(\"“„])(?i:{words})\s(?:.*\s)?\S+\s*$"
# How a caption ends that is cut off behind such a word: with nothing more, or with an ellipsis. An ellipsis behind a whole word is
# no sign of anything: headlines in Chinese, Japanese and Korean have it as punctuation, and everybody else in posts.
NOTHING_MORE, ELLIPSIS = r"[\s,:;-]*$", r"[\s,:;-]*(?:…+|\.{2,}|\[…\]|\[\.\.\.\])[\s\"”’)»]*$"
ANY_WORD = LAST.format(words="|".join(DANGLING.values()).format())
LAST_WORDS = {end: prepare([ANY_WORD + end]) for end in (NOTHING_MORE, ELLIPSIS)}
# A name and an enumeration may end in a comma, as a headline in a colon; one that has had two is a form or a list.
OPEN_ENDS = prepare(
    [
        r"(?:以及|、|[^温柔祥饱总共平谐缓亲暖中调]和|或者|关于|对于|由于|和一[个只位条]|一[个只位条张]的?)\s*$",
        r"(?:^|[^:;=\-'])[(\[–—]\s*$|,[^,]*,\s*$|:[^:]*:\s*$",
        r"^(?:\S+\s+){4,}(?:With|And|(?:Of|In|On|For|With|And|To|From) (?:The|A|An|Your))\s*$",
    ]
)


def _lacks_a_word(captions: pa.ChunkedArray, end: str) -> np.ndarray:
    """Whether what stands before `end` is a word of DANGLING, in a caption of its language: bool[N]."""
    lacking, candidates = np.zeros(len(captions), bool), match_any(captions, LAST_WORDS[end])
    for language, words in DANGLING.items():
        last = match_within(captions, [LAST.format(words=words.format()) + end], candidates)
        lacking |= match_within(captions, [BEFORE_LAST.format(words=OWN_WORDS[language])], last) if language else last
    return lacking


def _dangles(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    captions = table["caption"]
    return pa.array(match_any(captions, OPEN_ENDS) | _lacks_a_word(captions, NOTHING_MORE))


def _words_before_ellipsis(table: pa.Table) -> pa.Array:
    breaks_off = pa.array(_lacks_a_word(table["caption"], ELLIPSIS))
    return pc.if_else(breaks_off, table["caption_words"], pa.scalar(None, pa.int32()))


def _breaks_off(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    return pc.fill_null(above(_words_before_ellipsis)(table, thresholds), False)


RULES = [
    Rule(
        name="completeness.breaks_off",
        columns=("caption", "caption_words"),
        drops=_breaks_off,
        measure=_words_before_ellipsis,
        catches="captions cut off with an ellipsis where something must follow (most words of those that are meant so)",
        origin=ORIGIN,
        kept={"caption": "To be continued...", "caption_words": 3},
        dropped={"caption": "The ten best places to stay in Lisbon with children and …", "caption_words": 11},
        thresholds={"max": 6},
    ),
    Rule(
        name="completeness.dangling",
        columns=("caption",),
        drops=_dangles,
        catches="captions that end where something must follow: an article, a conjunction, an open bracket",
        origin=ORIGIN,
        kept={"caption": "What dreams are made of clouds"},
        dropped={"caption": "Portrait of the"},
    ),
]
