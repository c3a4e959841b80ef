"""The noun phrase in a caption, as a dictionary has it: "giraffe" in "A giraffe."."""

from __future__ import annotations

import re
from functools import lru_cache

# Words that stand before a noun phrase and do not belong to it.
ARTICLES = {
    "en": "a an the some",
    "de": "ein eine einen der die das",
    "fr": "un une des le la les du l'",
    "es": "un una unos unas el la los las",
    "pt": "um uma uns umas o a os as",
    "it": "un una uno un' il lo la gli le l' dei delle",
}
MEASURE_WORDS = {"zh": "只个支张条把朵棵块辆片座枚双对根本种位顶艘架", "zh_Hant": "隻個支張條把朵棵塊輛片座枚雙對根本種位頂艘架"}
CAPITALISED_NOUNS = {"de"}
MOST_WORDS, MOST_CHARACTERS = 4, 7  # the latter in languages without spaces
PUNCTUATION = re.compile(r"[.,;:!?()。，、！？：（）»«…–]")


def noun_phrase(caption: str, language: str) -> str | None:
    """The caption without article and full stop where that is a short noun phrase; None where it is more.

    A caption with neither article nor full stop is taken for a noun phrase as it stands.
    """
    words = re.sub(r"[.。]$", "", caption.partition(": ")[0].strip())
    bare = _article(language).sub("", words, count=1) or words
    if bare == words != caption and language not in CAPITALISED_NOUNS:
        bare = words[:1].lower() + words[1:]
    most = MOST_CHARACTERS if language in MEASURE_WORDS else MOST_WORDS
    length = len(bare) if language in MEASURE_WORDS else len(bare.split())
    return bare if length <= most and not PUNCTUATION.search(bare) else None


@lru_cache
def _article(language: str) -> re.Pattern[str]:
    """An article of the language and the space after it, at the start of a caption."""
    if language in MEASURE_WORDS:
        return re.compile(f"^[一两兩][{MEASURE_WORDS[language]}]?")
    articles = [word if word.endswith("'") else f"{word} " for word in ARTICLES.get(language, "").split()]
    return re.compile(f"^(?:{'|'.join(articles)})" if articles else "^", re.IGNORECASE)
