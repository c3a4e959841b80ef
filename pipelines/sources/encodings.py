"""Which encoding a text has, by its bytes.

A mark at its start tells it, or where its zero bytes lie, or which bytes above 127 there are. Encodings of 7 bits (UTF-7,
ISO-2022, HZ) look like ASCII with odd words in it; they are named, so that they can be refused.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from collections import Counter

BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
BOMS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
HIGH, HAN = re.compile(rb"[\x80-\xff]"), re.compile("[\u4e00-\u9fff]")
# The most frequent Chinese characters: a third and more of any Chinese text. Korean or Japanese bytes that happen to be valid
# GB18030 become characters drawn from thousands.
FREQUENT = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当"
    "没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物"
    "手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条"
)
LEAST_SHARE, LEAST_FREQUENT = 0.2, 5  # of all characters, and how many different ones: of a few words none can tell
LEAST_TAKEN_APART, ASCII_SHARE, ABOVE_ASCII = 40, 0.9, bytes(range(128, 256))  # characters; of bytes
HIGHEST_PLANE = 16  # of Unicode: the second highest byte of UTF-32

# Of ISO-2022, what switches to another set of characters, and the encoding that it belongs to.
SWITCHES = {
    "ISO-2022-KR": re.compile(r"\x1b\$\)C"),
    "ISO-2022-CN": re.compile(r"\x1b\$(?:[)*][AEGH])"),
    "ISO-2022-JP": re.compile(r"\x1b(?:\$[@AB]|\$\([@-DO-Q]|\([IJ])"),
}
IN_HZ = re.compile(r"~\{((?:[\x21-\x77][\x21-\x7e])+)~\}")
UTF7_MARK, IN_UTF7 = re.compile(r"\ufeff?\+/v[89+/]"), re.compile(r"\+([A-Za-z0-9+/]*)(-?)")
LEAST_UTF7 = 4  # characters: a shorter text may have such words by chance
ONE_SCRIPT = {"HIRAGANA": "CJK", "KATAKANA": "CJK"}
ONE_SCRIPT_SHARE = 0.7


def encoding_of(head: bytes) -> str:
    """The encoding of a file that begins so: by its mark, or by which bytes there are. UTF-8 where no other is recognised."""
    for bom, encoding in sorted(BOMS.items(), key=lambda item: -len(item[0])):
        if head.startswith(bom):
            return encoding
    if head and b"\0" in head:
        for encoding, high, plane in (("utf-32-le", head[3::4], head[2::4]), ("utf-32-be", head[::4], head[1::4])):
            if plane and not any(high) and max(plane) <= HIGHEST_PLANE:
                return encoding
        even, odd = head[::2].count(0) * 2 / len(head), head[1::2].count(0) * 2 / len(head)
        if max(even, odd) > 0.3 > min(even, odd) * 3:
            return "utf-16-le" if odd > even else "utf-16-be"
        little, big = _lines_in_utf16(head)  # of Chinese text hardly any other bytes are zeros
        if max(little, big) > 1 and max(even, odd) < 0.3:
            return "utf-16-le" if little > big else "utf-16-be"
    # A character may be cut at the end; the last line is left out.
    lines = [line for line in head[: head.rfind(b"\n") + 1 or len(head)].split(b"\n") if HIGH.search(line)]
    is_utf8 = sum(_decodes(line, "utf-8") for line in lines)
    if is_utf8 * 2 >= len(lines):
        return "utf-8"
    chinese = [line.decode("gb18030") for line in lines if _decodes(line, "gb18030")]
    han = HAN.findall("".join(chinese))
    frequent = [character for character in han if character in FREQUENT]
    is_chinese = len(frequent) >= LEAST_SHARE * len(han) and len(set(frequent)) >= LEAST_FREQUENT
    return "gb18030" if len(chinese) * 2 > len(lines) and is_chinese else "utf-8"


def _lines_in_utf16(head: bytes) -> tuple[int, int]:
    """How many lines end as in UTF-16, of either order of bytes."""
    pairs = Counter(zip(head[::2], head[1::2], strict=False))
    return pairs[ord("\n"), 0], pairs[0, ord("\n")]


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def seven_bit_encoding(text: str) -> str | None:
    """The name of the encoding that lets this text look like ASCII: of ISO-2022, or HZ; None where it seems to be plain."""
    if "\x1b" in text:
        for name, switch in SWITCHES.items():
            if switch.search(text):
                return name
    if "~{" in text and any(_decodes(b"~{" + word.encode() + b"~}", "hz") for word in IN_HZ.findall(text)):
        return "HZ"
    return None


def is_utf16_taken_for_utf8(text: str) -> bool:
    """Whether a third of a text is zeros, as where a program has appended UTF-16 to a file of another encoding."""
    return text.count("\0") * 3 > len(text)


def is_utf8_taken_for_utf16(text: str) -> bool:
    """Whether a text of some length is lines of ASCII, or nearly, if its characters are taken apart into bytes."""
    data = text.encode("utf-16-le", "surrogatepass")
    has_lines = b"\n" in data and data.count(0) * 20 < len(data)
    return has_lines and len(text) >= LEAST_TAKEN_APART and len(data.translate(None, ABOVE_ASCII)) >= ASCII_SHARE * len(data)


def is_utf7(text: str) -> bool:
    """Whether each `+` of an ASCII text begins a word of UTF-7, and nearly all in these words are signs or of one script."""
    if UTF7_MARK.match(text):
        return True
    pieces = IN_UTF7.findall(text) if text.isascii() else []
    # `+-` is a plus sign, as UTF-7 writes it. A word without an end, such as a name of a variable, counts once.
    written = [word for word, end in pieces if word and end] + sorted({word for word, end in pieces if not end})
    words = [_of_utf7(word) for word in written]
    scripts = Counter(_script(character) for word in words for character in word or "")
    total, signs = scripts.total(), scripts.pop("", 0)
    of_one = signs + max(scripts.values(), default=0)
    return None not in words and of_one >= max(LEAST_UTF7, ONE_SCRIPT_SHARE * total)


def _script(character: str) -> str:
    """The script of a letter, "" for punctuation and symbols; else the category."""
    category = unicodedata.category(character)
    if category[0] in "PS":
        return ""
    script = unicodedata.name(character, category).split()[0]
    return ONE_SCRIPT.get(script, script)


def _of_utf7(word: str) -> str | None:
    """The characters of a word of UTF-7, without its `+`; None where it is none."""
    size = len(word) * 6 // 16 * 2
    try:
        data = base64.b64decode(word + "A" * (-len(word) % 4), validate=True)
        characters = data[:size].decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError):
        return None
    is_text = not any(unicodedata.category(character) in ("Cn", "Co") for character in characters)
    # Bits that are left over are zeros, and ASCII alone is not written so.
    return characters if is_text and not characters.isascii() and not any(data[size:]) else None
