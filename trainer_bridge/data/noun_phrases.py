"""The name in a caption, as a dictionary has it: giraffe of "A giraffe."."""

from __future__ import annotations

import re
from functools import lru_cache

# What a name goes without.
ARTICLES = {
    "en": "a an the some",
    "de": "ein eine einen der die das",
    "fr": "un une des le la les du l'",
    "es": "un una unos unas el la los las",
    "pt": "um uma uns umas o a os as",
    "it": "un una uno un' il lo la gli le l' dei delle",
}
MEASURE_WORDS = {"zh": "只个支张条把朵棵块辆片座枚双对根本种位顶艘架", "zh_Hant": "隻個支張條把朵棵塊輛片座枚雙對根本種位頂艘架"}
CAPITALISED = {"de"}  # their nouns are
MOST_WORDS, MOST_CHARACTERS = 4, 7  # the latter in a language without spaces
NO_NAME = re.compile(r"[.,;:!?()。，、！？：（）»«…–]")


def name_in(caption: str, language: str) -> str | None:
    """What a dictionary would call what the caption shows; None of a caption that is more than a name.

    A caption that has neither article nor full stop is taken for a name already.
    """
    words = re.sub(r"[.。]$", "", caption.partition(": ")[0].strip())
    bare = _article(language).sub("", words, count=1) or words
    if bare == words != caption and language not in CAPITALISED:
        bare = words[:1].lower() + words[1:]
    most = MOST_CHARACTERS if language in MEASURE_WORDS else MOST_WORDS
    long = len(bare) if language in MEASURE_WORDS else len(bare.split())
    return bare if long <= most and not NO_NAME.search(bare) else None


@lru_cache
def _article(language: str) -> re.Pattern[str]:
    """An article of the language with the space after it, where a caption begins."""
    if language in MEASURE_WORDS:
        return re.compile(f"^[一两兩][{MEASURE_WORDS[language]}]?")
    articles = [word if word.endswith("'") else f"{word} " for word in ARTICLES.get(language, "").split()]
    return re.compile(f"^(?:{'|'.join(articles)})" if articles else "^", re.IGNORECASE)
