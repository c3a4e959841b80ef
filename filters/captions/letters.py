"""Alphabets whose words are judged by their trigrams, the folding of letters to them, and the table of known trigrams."""

from __future__ import annotations

import base64
import unicodedata
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from filters.text.characters import CODES

EDGE = "^"
ALPHABETS = {"latin": "abcdefghijklmnopqrstuvwxyz", "cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяєіїґђјљњћџѓќѕў"}
# Letters whose Unicode decomposition has no letter of the alphabet.
LIKE = str.maketrans("ßøłđæœıðþħŋə", "soldaoidthne")
TRIGRAMS = Path(__file__).with_name("trigrams.txt")


def folded(text: str) -> str:
    """Text in lower case without diacritics: é becomes e, й stays й."""
    return "".join(_fold(letter) for letter in text.lower())


def _fold(letter: str) -> str:
    if letter in ALPHABETS["cyrillic"]:
        return letter
    return unicodedata.normalize("NFKD", letter.translate(LIKE))[:1]


def letter_count() -> int:
    """The number of letters of all alphabets and one more, for 0."""
    return 1 + sum(map(len, ALPHABETS.values()))


@lru_cache(1)
def letter_numbers() -> np.ndarray:
    """uint8[0x110000]: for each code point the number of its letter, counted from 1 through all alphabets; 0 where it has none."""
    number = {letter: index for index, letter in enumerate("".join(ALPHABETS.values()), start=1)}
    numbers = np.zeros(CODES, np.uint8)
    for code in (*range(0x530), *range(0x1E00, 0x1F00)):  # from U+1E00 on Vietnamese and others, each one character
        numbers[code] = number.get(folded(chr(code)), 0)
    return numbers


@lru_cache(1)
def unseen_trigrams() -> np.ndarray:
    """bool[letter_count()³]: whether no known word has these three letters in a row.

    A first or third letter that is not of the alphabet of the second stands for the edge of the word.
    """
    unseen, first = np.zeros((letter_count(),) * 3, bool), 1
    for alphabet, seen in trigrams().items():
        size = len(ALPHABETS[alphabet])
        local = np.zeros(letter_count(), np.int64)
        local[first : first + size] = np.arange(1, size + 1)
        table = ~seen.reshape((size + 1,) * 3)
        table[0, :, 0] = False  # a letter alone is no word to judge
        unseen[:, first : first + size] = table[local][:, 1:][:, :, local]
        first += size
    return unseen.ravel()


@lru_cache(1)
def trigrams() -> dict[str, np.ndarray]:
    """Alphabet of A letters → bool[(A + 1)³]: whether known words have that trigram. `pipelines.demo_corpus.trigrams` wrote them."""
    lines = (line.split() for line in TRIGRAMS.read_text().splitlines())
    tables = {}
    for name, data in lines:
        bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(data)), np.uint8))
        tables[name] = bits[: (len(ALPHABETS[name]) + 1) ** 3].astype(bool)
    return tables
