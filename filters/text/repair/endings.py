"""Cut: what sites put before and behind a caption: stock-photo labels, credits, rights notices, "click to enlarge", file endings.

Each pattern matches from where it begins to the end of the caption. What stands before it is kept if it can stand alone; so a caption
that is nothing but a credit stays as it is.
"""

from __future__ import annotations

import re

from filters.text.repair.phrases import UNSPACED, Step, is_whole, trimmed
from filters.text.repair.site_words import (
    AGENCIES,
    CLICK,
    CLICK_FIRST,
    CLICK_HINTS,
    CREDIT_BY,
    CREDIT_HINTS,
    CREDIT_LABELS,
    FILE_LABELS,
    KIND,
    MORE,
    RIGHTS,
    SITE_HINTS,
    SITES,
    STOCK,
    STOCK_ELSEWHERE,
    STOCK_HINTS_ELSEWHERE,
)

LONGEST = 200  # characters that are cut at once
FILE_TYPES = r"jpe?g|png|gif|webp|bmp|tiff?|svg|heic|avif|eps|psd"

# Each caption that a step below may change matches this: words that are quick to search for.
HINTS = rf"(?i)stock|royalty|{STOCK_HINTS_ELSEWHERE}|{CREDIT_HINTS}|{SITE_HINTS}|{CLICK_HINTS}|https?://|www\.|\.(?:{FILE_TYPES})\s*$|- (?:jpe?g|eps|png)\s*$"

# The end of a sentence, or a mark that separates; a credit without a colon needs one before it.
SEPARATED = r"(?:(?<=[.!?。！？।…\"”’'»)\]|;,•·*~/])|(?<=\s[-–—:])|\s(?=\s)|\n)\s*"
# The rest of a credit: names, places, years; a full stop only in an initial, an abbreviation or an address, or at the end.
NAMES = r"(?:[^.!?。！？।\n]|\.(?=[^\s])|(?<=\b\w)\.|(?<=\b(?:Jr|Sr|St|Dr|Mr|Ms))\.){1,90}?[.。]?\s*$"
NUMBER = r"(?:\s*[-–—:,|.]?\s*\(?(?:image|photo|code|id|no|nr|vector|illustration)?\.?\s*[:#№]?\s*#?[\dA-Z]*\d[\d-]{2,}\)?)?"

RIGHTS_TAIL = rf"(?i)(?:[\s|,;–—-]|(?<=[.!?。！？]))+(?:(?:©|ⓒ|\(c\)|copyright)[^.!?。]{{0,60}}[.,;|]?\s*)?[(\[]?(?:{RIGHTS})[^.!?。]{{0,80}}[.!。)\]]*\s*$"
CREDITS = (
    # (Photo by A. Name/Agency), [Foto: Name], (AP Photo/Name), （图源：新华社）
    rf"(?i)\s*[(（\[【]+(?:(?:{CREDIT_LABELS})\s*[:：=/|©]|(?:{CREDIT_BY})|©|ⓒ|\(c\)|copyright\b)[^()（）\[\]]{{0,120}}[)）\]】\s]+(?:\[\d+\])?[\s.。]*$",
    rf"\s*[(（\[](?:[^()（）\[\]]{{0,60}}[/\s|,–-]\s*)?(?:{AGENCIES})(?:\s*[/|,-][^()（）\[\]]{{0,60}})?[)）\]](?:\s*\[\d+\])?[\s.。]*$",
    r"(?<=[.!?。”\"])\s*\((?:[^()]{2,50}/[^()]{2,50}|[A-Z]{2,8}(?: Photo)?)\)[\s.]*$",
    # . Photo: Name / Agency
    rf"(?i){SEPARATED}(?:{CREDIT_LABELS})\s*[:：=]\s*{NAMES}",
    rf"\s(?:[Ss]tock )?(?:Photos?|Photo [Cc]redits?|Photograph|Picture|Image [Cc]redit|(?:Mandatory )?Credit|Foto|Fotos|Bild|Crédits?(?: photo)?|Фото|Fot\.)\s?[:©]\s*{NAMES}",
    # – photo by Name; in capitals it needs no separator
    rf"(?i){SEPARATED}(?:{CREDIT_BY})\s(?-i:(?<!by\s)|(?![a-z])){NAMES}",
    rf"\s(?:Photo(?:graph)?|Image|Picture|PHOTO) (?:[Bb]y|BY|[Cc]ourtesy(?: of)?|©) {NAMES}",
    rf"(?i)\s(?:staff|file|handout|courtesy) photo\s*[/:]\s*{NAMES}",
    # © Name
    rf"(?i)(?:\b(?:copyright|(?:stock )?(?:photo|image|foto)|фото)\s*)?[©ⓒ]\s*(?=[^\W_]|[@\"'“«]){NAMES}",
    rf"[\s,;|–—/-]+(?:\([cC]\)|[Cc]opyright(?:\s*\([cC]\))?)\s*(?:(?:by|photograph(?:er)?)\s+)?(?=[A-ZА-Я\d@]){NAMES}",
    # . Name/Agency; – AFP
    rf"(?:(?<=[.!?])\s*|\s+[-–—|]\s*)(?:[A-Z][\w.'’-]* ){{0,3}}?(?:[A-Z][\w.'’-]*\s*/\s*)?(?:{AGENCIES})(?: Photo| Images)?(?:\s*/\s*[A-Z]{NAMES}|[\s.]*$)",
)
# 新华社记者 李明 摄
REPORTERS = r"(?:(?<=[。！？；，])\s*|\s+)[(（]?(?:新华社|中新社|人民网|新华网|央视|本报)?(?:记者|通讯员|特约)?\s*[\u4e00-\u9fff·、]{2,8}\s*(?:摄影?|供图|/图)[)）。\s]*$"
# © Name – caption; Photo by Name: caption
CREDIT_FIRST = rf"(?i)^\W{{0,2}}(?:©|ⓒ|\(c\)|(?:by:?\s+)?(?:{CREDIT_BY}))\s*[^.!?:|–—]{{2,50}}?(?:[.:]|\s[|–—-])\s+"
CREDITED = (
    rf"(?i:(?:{CREDIT_LABELS})\s*[:：=/|©]|(?:{CREDIT_BY})|©|ⓒ|\(c\)|copyright)|{AGENCIES}"
    r"|[.!?。”\"]\s*\((?:[^()]+/[^()]+|[A-Z]{2,8}(?: Photo)?)\)"
)
SITE = (
    rf"(?i)\s*(?:[-–—|:·•,/]|(?<=[.!?])|\s(?:on|via|from|at|auf|sur|en|su|op|bei|на|с))\s*(?:{SITES})(?:\.[a-z]{{2,3}})?"
    rf"(?:\s*[.:|-]?\s*(?:\.?[a-z]{{2,4}}\s)?(?:vector|photo|image|stock \w+|editorial))?{NUMBER}\s*\.?\s*$"
)
LABELLED = rf"(?:\s*[-–—,|]?\s*(?:royalty[- ]free|premium|images?|eps ?\d*)\b){{0,4}}(?:\s*,?\s*(?:artist|code|image id|id|by)\s*:?[^.:]{{1,60}}?){{0,3}}{NUMBER}\s*[.]?\s*$"
KIND_ALONE = r"photos?|images?|pictures?|pics?|fotos?|bild(?:er)?|vectors?|jpe?g|eps|png|photo \d+|image \d+|фото|картинка|图片|照片|写真|画像|사진"
STOCK_TAILS = (
    # – dogs stock videos & royalty-free footage
    rf"(?i)\s[-–—]\s[^-–—|]{{1,40}}\sstock (?:{KIND})(?:,? (?:and|&) [\w-]+(?: [\w-]+)?)+\s*$",
    rf"(?i)(?:[\s|—:]|(?<=[.!?])|(?<=[a-z])(?=Stock ))[\s|:,.·•~/–—-]*(?:{STOCK}){LABELLED}",
)
STOCK_TAILS_ELSEWHERE = rf"(?i)(?:[\s|—:]|(?<=[.!?{UNSPACED}]))[\s|:,.·•~/–—-]*(?:{STOCK_ELSEWHERE}){NUMBER}\s*\.?\s*$"
KIND_TAILS = rf"(?i)\s[-–—|]\s*(?:{KIND_ALONE})\s*$", r"(?i)\s*\|\s*price\s*:\s*\d+\s*credits?\b.*$"
STOCK_FIRST = rf"(?i)^\W*(?:{STOCK}|{STOCK_ELSEWHERE})(?:\s*[:：]\s*|\s+(?:of|von|de|di|van)\s+)"
CLICK_TAILS = (
    rf"(?i)(?:(?<=[.!?。！？…])\s*|\s*[(\[（【|•·»*]+\s*|\s+[-–—:]\s*|\s{{2,}}|\n\s*|\s(?=click|klick|cliqu|haga|haz|clic|нажм))(?:{CLICK})[^.!?。]{{0,70}}[.!?。)\]）】\s»>]*$",
    rf"(?i)\s*(?:…|\.\.\.)?\s*[|(\[–—-]*\s*(?:{MORE})[\s)\].»>→…]*$",
)
URL = r"(?i)[\s(\[|–—:,-]*(?:(?:seen on|image|photo|credit|via|source|from|see|on|at|visit|quelle|fuente|fonte)\s*:?[\s#]*)?(?:https?://|www\.)[^\s()]+[)\].]*\s*$"


# What is left of a caption that was nothing but a credit or a label: such a caption stays whole, for the rules to drop.
LABEL_ALONE = re.compile(rf"(?i)\W*(?:{CREDIT_LABELS}|{CREDIT_BY}|{STOCK}|{STOCK_ELSEWHERE}|{CLICK})\W*")


def _cut(where: str, least: int, *patterns: str) -> Step:
    """A step that cuts what one of the patterns matches at a caption's end, where at least so many words remain."""
    searched = [re.compile(pattern) for pattern in patterns]

    def cut(text: str) -> str:
        for pattern in searched:
            heads = (trimmed(text[: match.start()]) for match in pattern.finditer(text, max(0, len(text) - LONGEST)))
            text = next((head for head in heads if is_whole(head, least) and not LABEL_ALONE.fullmatch(head)), text)
        return text

    return Step(where, cut)


def _cut_first(where: str, least: int, pattern: str) -> Step:
    """A step that cuts what a pattern matches at a caption's beginning, where at least so many words remain."""
    searched = re.compile(pattern)

    def cut(text: str) -> str:
        match = searched.match(text)
        rest = text[match.end() :].strip() if match else ""
        return rest if is_whole(rest, least) else text

    return Step(where, cut)


FILE = re.compile(rf"(?i)^(?:(?:{FILE_LABELS})\s*[:：]\s*)?(.*\S)\.(?:{FILE_TYPES})\s*$")


def cut_file_ending(text: str) -> str:
    """The name of a file without its ending, where it was given in words: "A dog on the beach.jpg", no slug, number or code."""
    match = FILE.match(text)
    if match is None:
        return text
    name = match[1]
    words = name.split()
    unspaced = re.fullmatch(rf"[{UNSPACED}]{{4,}}", name) is not None
    plain = len(words) > 2 and not re.search(r"_|\w-\w+-\w|\d$|[\\/]|%20", name)
    return name if unspaced or (plain and is_whole(name, 3)) else text


STEPS = (
    _cut_first(r"^\W*(?i:royalty|free|premium|lizenz|st[oō]ck|foto|photo|imag)", 2, STOCK_FIRST),
    _cut_first(CLICK_FIRST, 2, CLICK_FIRST),
    _cut_first(
        r"^\W{0,2}(?i:©|ⓒ|\(c\)|by|[a-z]+ ?photo|photo|courtesy|image|picture|pic|foto|bild|crédit|provided|all|file|staff|main|cover)",
        4,
        CREDIT_FIRST,
    ),
    _cut(rf"(?i:{RIGHTS})", 4, RIGHTS_TAIL),
    _cut(CREDITED, 2, *CREDITS),
    _cut(r"[摄供/][影图]?[)）。\s]*$", 2, REPORTERS),
    _cut(rf"(?i:{SITES})", 2, SITE),
    _cut(r"(?i:stock|royalty)", 1, *STOCK_TAILS),
    _cut(rf"(?i:{STOCK_HINTS_ELSEWHERE})", 1, STOCK_TAILS_ELSEWHERE),
    _cut(rf"(?i:\|\s*price\s*:|[-–—|]\s*(?:{KIND_ALONE})\s*$)", 1, *KIND_TAILS),
    _cut(rf"(?i:{CLICK}|{MORE})", 2, *CLICK_TAILS),
    _cut(r"(?i:https?://|www\.)", 3, URL),
    Step(rf"(?i:\.(?:{FILE_TYPES})\s*$)", cut_file_ending),
)
