"""A caption that was cut in the middle of a clause: back to the last whole one, where a whole one stands before the cut.

A caption is cut off where it ends in an ellipsis, an open bracket, a separator, or a word such as "and the". The end of a sentence
is the surest place to go back to, then a separator, then, behind an ellipsis alone, the word that begins the last phrase: a
preposition, a conjunction. Without any of these before it, the caption stays as it is.
"""

from __future__ import annotations

import re

from filters.text.repair.phrases import DANGLING, OPENING, UNSPACED, WORD, Step, count_words, is_whole, trimmed

ELLIPSIS = re.compile(r"\s*(?:…|\.{3,}|\[…\]|\[\.{3}\]|\(…\)|\(\.{3}\)|。。。|……)[\s.…]*$")
LEAST_WORDS = 7  # a shorter caption with an ellipsis is meant so: "To be continued..."
# A full stop after a word of four letters or more, or after a digit or bracket: most abbreviations are shorter.
SENTENCE_END = re.compile(
    rf"(?<=[^\W\d_]{{4}})[.!?][\"”’»)\]]*(?=\s+[\"“„«(]?[A-ZÀ-ÞА-ЯЁ\u0590-\u10ff{UNSPACED}])|(?:(?<=[)\"”»])|(?<=\d\d))[.!?](?=\s+[^\W\d_a-zа-я])|[。！？](?=\S)|।(?=\s)"
)
ABBREVIATED = re.compile(
    r"\b(?:Capt|Prof|Calif|Tenn|Mass|Conn|Univ|Dept|Corp|Bros|Sept|Minn|Penn|Wash|Messrs|inkl|zzgl|bzw|usw|approx|обл|руб|прим)\.$"
)
SEPARATOR, COMMA = re.compile(r"\s+[-–—|•»~]+\s+|\s*\|\s*|;\s|\s+[(\[（【](?=[^()\[\]（）【】]*$)"), re.compile(r",\s")
OPEN_BRACKET = re.compile(r"\s+[(\[（【][^()\[\]（）【】]*$")
JOINING = frozenset({"and", "or", "the", "an", "und", "oder", "et", "и", "или"})


def cut_back(text: str) -> str:
    """A caption cut off by an ellipsis, without its last, broken clause."""
    match = ELLIPSIS.search(text)
    if match is None or count_words(text) < LEAST_WORDS:
        return text
    head = text[: match.start()]
    if match[0][0].isspace() and head.islower() and not any(map(str.isdigit, head)):
        # In lower case and split into words, as Conceptual Captions are, an ellipsis ends a sentence that is whole.
        return head if is_whole(head, LEAST_WORDS) and _is_phrase(head) else _to_phrase(head) or text
    return _to_sentence(head) or _to_separator(head, SEPARATOR) or _to_separator(head, COMMA) or _to_phrase(head) or text


def close(text: str) -> str:
    """A caption that ends in an open bracket, a separator or a joining word, without what is left open."""
    bracket = OPEN_BRACKET.search(text)
    if bracket is not None and is_whole(head := trimmed(text[: bracket.start()]), 3):
        return head
    bare = trimmed(text)
    if bare != text.rstrip():
        return _closed(text, bare)
    *_, last = text.split() or [""]
    return (_to_sentence(text) or text) if last in JOINING else text


def _closed(text: str, bare: str) -> str:
    """A caption that ends in separators: without them, or back to its last sentence; a list of items or a label stays."""
    mark = text[len(bare) :].strip()[:1]
    if mark in ("-", "–", "—", "|", "•", "~") and text[len(bare)].isspace() and is_whole(bare, 3):
        return bare
    if mark == "," and "," not in bare and is_whole(bare, 3):
        return bare
    if mark == ":" and ":" not in bare and is_whole(bare, 5) and _is_phrase(bare):
        return bare
    return _to_sentence(bare) or text


def _to_sentence(text: str) -> str:
    ends = [match.end() for match in SENTENCE_END.finditer(text) if not ABBREVIATED.search(text[: match.end()])]
    return next((head for end in reversed(ends) if count_words(head := text[:end].rstrip()) >= 3), "")


def _to_separator(text: str, separator: re.Pattern[str]) -> str:
    """Back to the last separator before which a phrase stands: words enough, one of them a function word."""
    heads = (trimmed(text[: match.start()]) for match in reversed([*separator.finditer(text + " ")]))
    return next((head for head in heads if is_whole(head, 3) and _is_phrase(head)), "")


def _to_phrase(text: str) -> str:
    """Back to before the word that begins the last phrase; words that would dangle then go too."""
    words = [*re.finditer(r"\S+", text)]
    start = next((match.start() for match in reversed(words) if match[0] in OPENING), 0)
    head = trimmed(text[:start])
    while head.rpartition(" ")[2] in OPENING:
        head = trimmed(head.rpartition(" ")[0])
    return head if is_whole(head, 4) and (_is_phrase(head) or start == words[-1].start()) else ""


def _is_phrase(text: str) -> bool:
    """Whether a text has a function word, as titles of products and lists of keywords have not."""
    return any(word in DANGLING for word in WORD.findall(text.lower()))


STEPS = (
    Step(r"(?:…|\.\.\.|\[…\]|\(…\)|。。。)[\s\])…]*$|\.\.\.[\])]$", cut_back),
    Step(rf"[,:;|(\[（【&+•~–—-]\s*$|\s[(\[（【][^()\[\]（）【】]*$|\s(?:{'|'.join(sorted(JOINING))})\s*$", close),
)
