"""Which three letters follow each other in words of some language: what `filters.captions.gibberish` reads.

`python -m pipelines.demo_corpus.trigrams > filters/captions/trigrams.txt`. Counted in the names and keywords that Unicode CLDR
gives emoji and in the sentences of Tux Paint's stamps, each word once a language; a trigram counts when `LEAST` words have it.
"""

from __future__ import annotations

import base64
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable

import numpy as np

from filters.captions.letters import ALPHABETS, EDGE, folded
from infra.compat.paths import cache_folder
from pipelines.demo_corpus.corpus import (
    ANNOTATIONS,
    FONT,
    STAMPS,
    Picture,
    debian_packages,
    load_emoji,
    load_folder,
)
from pipelines.demo_corpus.lessons import base

LATIN = "fi cs pl de hu nl da sv it pt ro es tr fr id en vi sk is eu lv ca hr ga gl nb nn sl af sq eo sw cy ms lt "
LATIN += "zu ff gd son an ast vec ach kab nso ku ak oc"
LANGUAGES = {"latin": LATIN, "cyrillic": "ru uk bg be sr mk"}
LEAST = {"latin": 3, "cyrillic": 1}


def words(pictures: Iterable[Picture]) -> dict[str, set[str]]:
    """The folded words of each language."""
    by_language: dict[str, set[str]] = {}
    for picture in pictures:
        for locale, sentence in picture.sentences:
            by_language.setdefault(base(locale), set()).update(map(folded, re.findall(r"[^\W\d_]+", sentence)))
    return by_language


def frequent_trigrams(alphabet: str, vocabularies: Iterable[set[str]], least: int) -> np.ndarray:
    """bool[(A + 1)³]: whether `least` words have each trigram of an alphabet of A letters; 0 stands for a word's edge."""
    number = {letter: place for place, letter in enumerate(EDGE + alphabet)}
    counts: Counter[tuple[int, int, int]] = Counter()
    for vocabulary in vocabularies:
        for word in vocabulary:
            if len(word) > 2 and all(letter in number for letter in word):
                letters = [0, *(number[letter] for letter in word), 0]
                counts.update(set(zip(letters, letters[1:], letters[2:], strict=False)))
    table = np.zeros((len(number),) * 3, dtype=bool)
    for trigram, count in counts.items():
        table[trigram] = count >= least
    return table.ravel()


def main() -> None:
    """Prints a line an alphabet: its name and the packed bits, compressed, in base 64."""
    tree = debian_packages(cache_folder())
    pictures = [*load_folder(tree / STAMPS, "stamps"), *load_emoji(tree / FONT, [tree / folder for folder in ANNOTATIONS])]
    vocabularies = words(pictures)
    for name, alphabet in ALPHABETS.items():
        bits = np.packbits(
            frequent_trigrams(alphabet, (vocabularies[language] for language in LANGUAGES[name].split()), LEAST[name])
        )
        packed = base64.b64encode(zlib.compress(bits.tobytes(), 9)).decode()
        sys.stdout.write(f"{name} {packed}\n")


if __name__ == "__main__":
    main()
