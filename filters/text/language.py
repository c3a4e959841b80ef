"""The language of a caption and the confidence in it: by script, then by function words, then by a model of letter sequences.

Where hardly any other language uses a script, the script decides. A Latin or Cyrillic caption with several function words of one
language, and hardly any of others, is of that language; one of words that are far likelier in English than in any other language
is English. All others go to fastText's lid.176 (`language_model.py`). The model names some language for names and titles too, in
which there is nothing to be known: its probability counts less, the shorter a caption is and the less its function words agree.
What is not likely right is NULL.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.text.characters import classes, codes_of, count_true, runs
from filters.text.function_words import votes_of
from filters.text.language_model import probabilities
from filters.text.tokens import UPPER, tokens_of
from filters.text.vocabulary import vocabulary

# Scripts that hardly any other language uses; captions in the last ones are told apart by words, letters and the model.
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
    r"\p{Cyrillic}": "",
    r"\p{Arabic}": "",
    r"\p{Devanagari}": "",
    r"\pL": "",
}
LANGUAGES = np.array([*LANGUAGE_OF_SCRIPT.values()])
KANA, HAN, CYRILLIC, ARABIC, DEVANAGARI, OTHER = 0, 2, *range(len(LANGUAGE_OF_SCRIPT) - 4, len(LANGUAGE_OF_SCRIPT))
# The share of letters from which a script decides: a Chinese caption names brands in Latin letters; one α makes no Greek.
LEAST_SHARE = 1 / 3
# The languages that words and the model may name in each of the other scripts. Where it knows nothing, the model names any of a
# hundred others that are written in Latin letters.
NAMEABLE = {
    CYRILLIC: "ru uk bg sr mk be kk ky mn tg tt ba cv",
    ARABIC: "ar fa ur ckb ps ug sd",
    DEVANAGARI: "hi mr ne sa",
    OTHER: "af az ca cs cy da de en es et eu fi fr ga gl hr hu id is it lt lv ms nl no pl pt ro sk sl sq sv sw tl tr uz vi",
}
NAMES = tuple(" ".join(NAMEABLE.values()).split())
ALL = (*NAMES, *LANGUAGES.tolist())
ENGLISH = NAMES.index("en")
IS_NAMEABLE = np.array([[name in NAMEABLE.get(script, "").split() for name in NAMES] for script in range(len(LANGUAGES))])
ROWS = 1 << 12  # captions in a batch, each with a vote for every language
ANSWERS = 3  # of the model, of which function words may prefer the second or third
# Votes of function words from which no model is needed, where other languages have at most a quarter of them; of English one word
# is enough, as it is hardly ever wrong.
CLEAR, CLEAR_ENGLISH = 1.5, 0.99
CONFIDENCE_OF_WORDS = 0.98
# So many known words, at least half of all, that are together e² times likelier in English. Of 59 504 sentences of Tux Paint's
# stamps in other languages 30 are taken for English by this.
ENGLISH_WORDS, ENGLISH_ODDS, KNOWN_SHARE = 2, 2.0, 0.5
LEAST_VOTES = 0.5
# Of the model: an answer less probable than this is never likely right, however many function words speak for it.
LEAST_PROBABILITY = 0.06
# How much likelier an answer is where most function words vote for it, and where they vote for another.
AGREED, DISAGREED = 8.0, 0.03
SURE_LETTERS = 40  # from so many letters on the model's probability is taken at its word
# Of 3 200 captions in eight languages, in tenths by their scores, the share that is right is within 5 % of what this gives.
CALIBRATION = 3.5
LEAST_CONFIDENCE = 0.8


def identify(captions: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """Captions (none NULL) → ISO 639 code string[N], NULL where it is unknown, and confidence in 0.8 … 1, float32[N].

    The confidence is the share of captions like this one whose language is right, on captions that were labelled by hand.
    """
    batches = [_identify(batch) for batch in runs(captions, ROWS)]
    places = np.concatenate([np.zeros(0, np.int64), *(places for places, _ in batches)])
    confidences = np.concatenate([np.zeros(0), *(confidences for _, confidences in batches)])
    unknown = confidences < LEAST_CONFIDENCE
    languages = pa.array(ALL, pa.string()).take(pa.array(places, mask=unknown))
    return languages, pa.array(confidences.astype(np.float32), mask=unknown)


def _identify(captions: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """The languages of a batch as places in ALL, int64[N], and the confidences in them, float64[N], 0 without a letter."""
    scripts, letters = _scripts(captions)
    confidences = (letters > 0).astype(np.float64)
    rows = np.flatnonzero((LANGUAGES[scripts] == "") & (letters > 0))
    places = scripts + len(NAMES)
    places[rows], confidences[rows] = _by_words_and_model(captions.take(pa.array(rows)), scripts[rows], letters[rows])
    return places, confidences


def _scripts(captions: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """The script of each caption, its place in `LANGUAGE_OF_SCRIPT`, and the number of its letters: int64[N] each."""
    scripts, letters = np.full(len(captions), OTHER), np.zeros(len(captions), np.int64)
    is_ascii = pc.string_is_ascii(captions).to_numpy(zero_copy_only=False)
    codes, ends = codes_of(captions.filter(pa.array(is_ascii)))
    letters[is_ascii] = count_true((codes | 32) - np.uint8(97) < 26, ends)
    counts = _letters_by_script(captions.filter(pa.array(~is_ascii)))
    total = counts.sum(axis=1)
    # Japanese uses Chinese characters too: where there is any kana, they count as Japanese.
    counts[:, KANA] += np.where(counts[:, KANA] > 0, counts[:, HAN], 0)
    best = counts[:, :OTHER].argmax(axis=1)
    decided = counts[np.arange(len(counts)), best] > LEAST_SHARE * total
    scripts[~is_ascii], letters[~is_ascii] = np.where(decided, best, OTHER), total
    return scripts, letters


def _letters_by_script(captions: pa.StringArray) -> np.ndarray:
    """The number of letters of each script in each caption: int64[N, scripts]."""
    codes, ends = codes_of(captions)
    kinds = classes(tuple(LANGUAGE_OF_SCRIPT))[codes].astype(np.int64)
    rows = np.repeat(np.arange(len(captions)), np.diff(ends))
    letters, width = kinds > 0, len(LANGUAGE_OF_SCRIPT)
    cells = rows[letters] * width + kinds[letters] - 1
    return np.bincount(cells, minlength=len(captions) * width).reshape(len(captions), width)


def _by_words_and_model(texts: pa.StringArray, scripts: np.ndarray, letters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of M texts the likeliest column of `NAMES`, int64[M], and the confidence in it, float64[M]."""
    votes = votes_of(texts, NAMES) * IS_NAMEABLE[scripts]
    columns, confidences = votes.argmax(axis=1), np.full(len(texts), CONFIDENCE_OF_WORDS)
    second, most = np.partition(votes, -2, axis=1)[:, -2:].T
    clear = (most >= np.where(columns == ENGLISH, CLEAR_ENGLISH, CLEAR)) & (4 * second <= most)
    rows = np.flatnonzero(~clear)
    is_english = _are_english(texts.take(pa.array(rows))) & (scripts[rows] == OTHER)
    columns[rows[is_english]] = ENGLISH
    rows = rows[~is_english]
    lower = pc.utf8_lower(texts.take(pa.array(rows)))
    by_model = probabilities(lower, NAMES, ANSWERS, LEAST_PROBABILITY) * IS_NAMEABLE[scripts[rows]]
    scores = _scores(by_model, votes[rows], letters[rows])
    columns[rows] = scores.argmax(axis=1)
    # More than two digits would depend on the processor.
    confidences[rows] = np.round(1 - (1 - scores.max(axis=1, initial=0)) ** CALIBRATION, 2)
    return columns, confidences


def _are_english(texts: pa.StringArray) -> np.ndarray:
    """Whether the words of each of M texts are English ones: bool[M]."""
    tokens = tokens_of(*codes_of(texts))
    is_word = (tokens.kind <= UPPER) & (tokens.length > 1)
    places = vocabulary().places(tokens.keys[is_word])
    rows, is_known = tokens.rows[is_word], places < vocabulary().unknown
    words, known = np.bincount(rows, minlength=len(texts)), np.bincount(rows[is_known], minlength=len(texts))
    odds = np.bincount(rows, vocabulary().english.take(places), minlength=len(texts))
    return np.asarray((known >= ENGLISH_WORDS) & (known >= KNOWN_SHARE * words) & (odds >= ENGLISH_ODDS))


def _scores(probabilities: np.ndarray, votes: np.ndarray, letters: np.ndarray) -> np.ndarray:
    """What speaks for each answer of the model, given the votes of function words and the number of letters: [M, L] in 0 … 1."""
    most = votes.max(axis=1, keepdims=True, initial=0)
    odds = probabilities / np.maximum(1e-6, 1 - probabilities) * np.where(votes >= most, AGREED, DISAGREED)
    short = np.minimum(1, letters / SURE_LETTERS)[:, None] ** 0.5
    return np.asarray(np.where(most >= LEAST_VOTES, odds / (1 + odds), probabilities * short))
