"""Letters of the alphabets whose words are judged by their trigrams, and words folded to them."""

from __future__ import annotations

import base64
import unicodedata
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from filters.characters import CODES

EDGE = "^"
ALPHABETS = {"latin": "abcdefghijklmnopqrstuvwxyz", "cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяєіїґђјљњћџѓќѕў"}
# Letters that no decomposition leads to one of the alphabet.
LIKE = str.maketrans("ßøłđæœıðþħŋə", "soldaoidthne")
TRIGRAMS = Path(__file__).with_name("trigrams.txt")


def folded(text: str) -> str:
    """Lower case, without marks: é is e, й stays й."""
    return "".join(_fold(letter) for letter in text.lower())


def _fold(letter: str) -> str:
    if letter in ALPHABETS["cyrillic"]:
        return letter
    return unicodedata.normalize("NFKD", letter.translate(LIKE))[:1]


@lru_cache(2)
def letter_numbers(alphabet: str) -> np.ndarray:
    """uint8[0x110000]: for each code point the place of its letter in an alphabet, counted from 1; 0 where it has none."""
    number = {letter: place for place, letter in enumerate(ALPHABETS[alphabet], start=1)}
    numbers = np.zeros(CODES, np.uint8)
    for code in range(0x250 if alphabet == "latin" else 0x530):
        numbers[code] = number.get(folded(chr(code)), 0)
    for code in range(0x1E00, 0x1F00):  # Vietnamese and others, each one character
        numbers[code] = number.get(folded(chr(code)), 0)
    return numbers


@lru_cache(1)
def trigrams() -> dict[str, np.ndarray]:
    """Alphabet → bool[(A + 1)³], whether words have that trigram; made by `pipelines.demoweb.trigrams`."""
    lines = (line.split() for line in TRIGRAMS.read_text().splitlines())
    found = {}
    for name, data in lines:
        bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(data)), np.uint8))
        found[name] = bits[: (len(ALPHABETS[name]) + 1) ** 3].astype(bool)
    return found
