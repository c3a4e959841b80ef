"""The card of the caption quality score: what it was trained on, how well it does on captions it has not seen, where it fails."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyarrow as pa

from filters.quality.score import score_of
from filters.text.language import identify
from infra.models import QUALITY

LEAST = 100  # captions of a language that has a row of its own
EXAMPLES = 8


def write_card(texts: pa.StringArray, grades: np.ndarray, unseen: np.ndarray, taught: int) -> None:
    """Writes infra/models/quality/README.md, given N captions (string[N]) and their grades (int[N]).

    unseen  how likely each reaches each grade, by a model that had not seen it: float32[N, GRADES]
    taught  how many captions the teacher graded beside them
    """
    scores = score_of(unseen)
    languages, _ = identify(pa.chunked_array([texts]))
    rows = defaultdict[str, list[int]](list)
    for place, language in enumerate(languages.to_pylist()):
        rows[language or "unknown"].append(place)
    table = [_row("all", scores, grades)]
    table += [_row(name, scores[places], grades[places]) for name, places in sorted(rows.items()) if len(places) >= LEAST]
    captions = texts.to_pylist()
    high = [place for place in np.argsort(-scores) if grades[place] <= 1][:EXAMPLES]
    low = [place for place in np.argsort(scores) if grades[place] == 4][:EXAMPLES]
    card = CARD.format(
        captions=len(captions),
        taught=taught,
        languages="\n".join(table),
        counts=", ".join(f"{count:,} of grade {grade}" for grade, count in enumerate(np.bincount(grades))),
        high="\n".join(f"* {scores[place]:.2f} `{captions[place]}`" for place in high),
        low="\n".join(f"* {scores[place]:.2f} `{captions[place]}`" for place in low),
    )
    (QUALITY / "README.md").write_text(card, encoding="utf-8")


def _row(name: str, scores: np.ndarray, grades: np.ndarray) -> str:
    cells = [area_under_curve(scores, grades == 4), area_under_curve(scores, grades >= 3), rank_correlation(scores, grades)]
    return f"| {name} | {len(grades):,} | {' | '.join(f'{value:.3f}' for value in cells)} |"


def area_under_curve(scores: np.ndarray, wanted: np.ndarray) -> float:
    """The probability that a wanted caption has the higher score, half of it for equal ones; NaN where all or none are wanted."""
    ranks = _ranks(scores)
    positive, negative = int(wanted.sum()), int((~wanted).sum())
    if not positive or not negative:
        return float("nan")
    return float((ranks[wanted].sum() - positive * (positive + 1) / 2) / (positive * negative))


def rank_correlation(scores: np.ndarray, grades: np.ndarray) -> float:
    """Spearman's rank correlation."""
    return float(np.corrcoef(_ranks(scores), _ranks(grades))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """1 … N, equal values with the mean of their ranks: float64[N]."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


CARD = """# The caption quality score

How much a caption says of its picture, from 0 to 1: `filters/quality`. Five small networks (three of them look at tokens three
at a time), whose outputs are added: they are the parts that `quality_parts` shows.

| part | looks at |
|---|---|
| completeness | function words by class and order, endings, verbs: is it a phrase or a sentence? |
| information | what the words mean: do they name what can be seen? |
| style | capitals, marks, spaces: a title, a product, a headline? |
| fluency | how common its words are |
| repetition | repeated words, commas, hyphens, length |

**Trained** by `python -m infra.train_models quality`, minutes on one core, to the same bytes on the same kind of processor.

**Data.** {captions:,} captions in twenty languages, and a few in each of some thirty more, written for this and graded by
hand, none copied from a corpus (captions/*.tsv: {counts}). 0 is junk, 1 and 2 are weak (names,
titles, headlines; products), 3 names what is seen, 4 describes a scene. {taught:,} more were made of these, by exchanging words
for frequent ones or for those of other captions and by joining halves, and graded by a slow teacher: the network trained on the
graded captions alone, and three over multilingual-e5-small's vectors of whole captions, their mean in log odds
(`teacher.parquet`, by `python -m infra.train_models teacher`). `words.txt`: classes of
function words, by hand. `filters/text/vocabulary.safetensors` (2.6 MB): 74 000 words with wordfreq's frequencies
(Apache 2.0, CC BY-SA 4.0) and 24 dimensions of what multilingual-e5-small (MIT) makes of each word alone,
by `python -m infra.train_models vocabulary`.

**Results** on the captions graded by hand, each judged by a model that had not seen it nor its neighbours in the file (five
folds), trained without what the teacher graded, as that has seen them all: area
under the curve for "describes a scene" (grade 4), for good (3 and 4), and Spearman's correlation with the grade. Real captions
are harder: see the README of the project.

| language | captions | scene | good | Spearman |
|---|---|---|---|---|
{languages}

**Failures** in the same folds. Too high:

{high}

Too low:

{low}

**Limits.** It reads text and never sees the picture. Where a short title may or may not be what the picture shows ("Scarlet
Macaw"), it guesses. Languages without captions above are judged by marks, length and what their words have in common with
others. """
