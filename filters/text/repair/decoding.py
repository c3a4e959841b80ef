"""Undone: text read in the wrong encoding, HTML entities (double ones too) and tags, quotes as CSV and programs escape them."""

from __future__ import annotations

import html
import re
import unicodedata
from html.entities import html5

from filters.text.repair.phrases import Step

# A letter that UTF-8 read as a one-byte encoding gives, followed by one that only its second byte gives.
SECOND = r"\x{80}-\x{BF}ƒ‚„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ€"
MISREAD = (
    rf"[ÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßâãäåæçèéêëìíîïð][{SECOND}]",
    r"[РСÐÑ][°±²³µ¶·¸¹»¼½¾¿ЂЃѓЉЊЌЋЏђљњќћџЎўЈҐЁЄЇІіґёєјЅѕї‚„…†‡€‰‹‘’“”•–—™›№]",
    r"[\x{80}-\x{9F}]",
)

ENTITY = re.compile(r"&(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
BREAKING = "br|p|div|li|ul|ol|dl|dt|dd|tr|td|th|table|tbody|h[1-6]|hr|center|figure|figcaption|blockquote|pre|section|article"
FORMATTING = "a|abbr|acronym|b|big|cite|code|em|font|i|ins|label|mark|nobr|q|s|small|span|strike|strong|sub|sup|time|tt|u|wbr"
BREAK = re.compile(rf"(?i)</?(?:{BREAKING})(?:\s+[\w:-]+\s*=[^<>]*|\s*/?)>")
FORMAT = re.compile(rf"(?i)</?(?:{FORMATTING})(?:\s+[\w:-]+\s*=[^<>]*|\s*/?)>")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
CUT_TAG = re.compile(rf"(?i)\s*</?(?:{BREAKING}|{FORMATTING})(?:\s+[\w:-]+\s*=[^<>]*|\s*/?)$")
CODE = re.compile(r"(?i)<(?:script|style|img|iframe|input|form|object|embed|svg|meta|link|html|body)\b|<[?%]")
MOST_TAGS = 8  # a caption with more formatting than that is a list of fields or keywords, or a page


def fix_encoding(text: str) -> str:
    """Text whose bytes were read in the wrong encoding, read in the right one, where ftfy (Robyn Speer) is sure of it."""
    import ftfy

    return ftfy.fix_encoding(text, replace_lossy_sequences=False).strip("\ufeff")


def unescape_entities(text: str) -> str:
    """Text with each HTML entity replaced by its character, a space by a plain one; one that names none stays."""
    unescaped = ENTITY.sub(lambda match: _character(match[1], match[0]), text)
    return text if unescaped == text else " ".join(unescaped.split())


def _character(name: str, entity: str) -> str:
    """The characters of an entity; the entity itself where there are none that can stand in a text."""
    characters = html.unescape(entity) if name[0] == "#" else html5.get(f"{name};", entity)
    if characters.isspace():
        return " "
    return entity if characters == "\ufffd" or unicodedata.category(characters[:1] or "\0") in ("Cc", "Cs", "Cn") else characters


def strip_tags(text: str) -> str:
    """Text without HTML comments and tags of formatting, in whose place stands a space where they break a line.

    Markup that is more than formatting stays as it is: scripts, pictures, forms, lists of fields.
    """
    if CODE.search(text):
        return text
    stripped, count = FORMAT.subn("", COMMENT.sub(" ", text))
    stripped = CUT_TAG.sub("", BREAK.sub(" ", stripped))
    if stripped == text or count > MOST_TAGS or not any(map(str.isalpha, stripped)):
        return text
    return " ".join(stripped.split())


def unescape_quotes(text: str) -> str:
    r"""Text without the quotes that CSV puts around a field and doubles inside it, and without backslashes before quotes."""
    if len(text) > 2 and text[0] == text[-1] == '"' and '""' in text[1:-1] and '"' not in text[1:-1].replace('""', ""):
        text = text[1:-1].replace('""', '"')
    return re.sub(r"\\+(['\"])", r"\1", text)


STEPS = (
    Step("|".join(MISREAD), fix_encoding),
    Step(r"&#?\w{1,31};", unescape_entities),
    Step(r"^\".*\"\".*\"$|\\['\"]", unescape_quotes),
    Step(r"<[a-zA-Z/!]", strip_tags),
)
