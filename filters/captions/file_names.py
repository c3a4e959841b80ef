"""Completeness: a file name, or the slug that a site made of a title, is no caption, in whatever case and with whatever marks.

The words of a slug stand where spaces should: between hyphens, underscores or full stops, in one unbroken run. Compounds are
written so too (self-portrait, Stratford-upon-Avon, kupu-kupu): a run of few parts must look like no compound of any language.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.captions.placeholder import CAMERA_NAMES
from filters.rules import Rule, Thresholds
from filters.text.patterns import match_any, match_within, prepare

ORIGIN = "InternVL §3.2 names completeness; the patterns are ours"

TYPES = r"jpe?g|jfif|png|gif|webp|bmp|tiff?|svg|heic|avif|psd|eps"
NAMES = prepare(
    [
        rf"(?i)^\s*[^\s/\\]*[\pL\pN_)\]-]\.(?:{TYPES}|pdf|raw|mp4|docx?|pptx?|html?|php|aspx?)\s*$",
        rf"(?i)^\s*[\pL\pN\pM_ (),.&'’+-]+\.(?:{TYPES})\s*$",
        r"^[\pL\pN-]+_[\pL\pN-]*_\S*(?:\s+\S+){0,5}\s*$",
        r"(?i)^\W*name: \S+$",
    ]
)
CAMERA = prepare(CAMERA_NAMES)

SLUG = r"^[\pL\pN\pM]+(?:[-_]+[\pL\pN\pM]+)+[-_.]*$"

# How compounds begin, and what joins the parts of compounds and of names: lily-of-the-valley, Châlons-en-Champagne.
COMPOUND = re.compile(
    r"(?:self|semi|multi|anti|non|co|pre|post|re|sub|super|ultra|mid|half|well|high|low|all|ex|full|cross|micro|mini|mega|auto|bio|eco|vice"
    r"|porte|garde|sous|tire|lave|chou|grand|guarda|porta|beija|couve|quebra|saca|bem|arco|papai|sci|hip|tick|ping|coca|pepsi|rolls"
    r"|mercedes|harley|saint|sainte|san|santa|north|south|east|west|jean|anne|marie|karl|hans)-",
    re.IGNORECASE,
)
JOINED = re.compile(
    r"-(?:of|the|and|in|on|o|n|a|to|me|up|upon|for|by|at|de|du|des|d|l|la|le|les|lès|en|sur|sous|au|aux|et|am|an|der|im|ob|bei|und|e|y|di|da|do"
    r"|del|al|el|i|na|nad|van|von)-",
    re.IGNORECASE,
)
WORD = re.compile(r"[^\W\d_]{2,}\d*")
SIZED = re.compile(r"-(?:\d{2,}x\d{2,}|thumb(?:nail)?|small|large|scaled|copy|final|banner|logo|img|cover)", re.IGNORECASE)


def _file_name(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    captions = table["caption"]
    names = match_any(captions, NAMES)
    runs = match_within(captions, [SLUG], ~pc.match_substring(captions, " ").to_numpy())
    rows = np.flatnonzero(runs & ~names)
    names[rows] = [is_slug(text) for text in captions.take(pa.array(rows)).to_pylist()]
    return pa.array(names & ~match_any(captions, CAMERA))


def is_slug(text: str) -> bool:
    """Whether words with hyphens or underscores between them, and no space, are the slug of a title."""
    if "_" in text:
        return True
    parts, lower = text.strip("-.").split("-"), text == text.lower()
    compound, joined = COMPOUND.match(text) is not None, JOINED.search(text) is not None
    words = [part for part in parts if WORD.fullmatch(part)]
    if len(parts) >= 3 and SIZED.fullmatch("-" + parts[-1]):
        return True
    if len(parts) >= 5:
        return lower or not joined or len(parts) >= 7
    if len(parts) == 4:
        return not (compound or joined)
    if compound or joined or len(words) < 2:
        return False
    if len(parts) == 3:
        return lower or (parts[2].isdigit() and len(parts[2]) > 1)
    return lower and text.isascii() and min(map(len, words)) >= 4 and words[0] != words[1]


RULES = [
    Rule(
        name="completeness.file_name",
        columns=("caption",),
        drops=_file_name,
        catches="nothing but a file name, or the slug of one",
        origin=ORIGIN,
        kept={"caption": "How to open a .jpg file on a phone"},
        dropped={"caption": "summer-party_0042.jpg"},
    ),
]
