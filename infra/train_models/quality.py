"""Trains the caption quality score: `python -m infra.train_models quality`, minutes on one core.

A caption has a grade from 0 to 4; the model learns for each grade from 1 on whether a caption reaches it: from captions graded by
hand, and from more that a slow teacher graded (teacher.py).
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from filters.quality.describe import BUCKETS, FORMS, STRUCTURES
from filters.quality.features import STATISTICS, Features, features_of
from filters.quality.network import GRADES, PATH
from filters.text.repair import repair
from filters.text.vocabulary import PATH as VOCABULARY
from filters.text.vocabulary import VECTOR_STEPS, vocabulary
from infra.compat.content import content_digest
from infra.models import QUALITY
from infra.train_models.quality_card import write_card

HIDDEN, NOISE = 16, 0.2
EPOCHS, BATCH, RATE, DECAY = 12, 64, 3e-3, 1e-4
WORD_RATE = 1e-3  # at which a word's vector moves from what multilingual-e5 makes of the word alone
AVERAGE = 0.998  # of the weights of before, at each step: what is kept is the mean of the last thousand steps or so
SEED = 0
FOLDS = 5
TEACHER = QUALITY / "teacher.parquet"
TEACHER_SHARE = 0.5  # what the teacher says of a caption graded by hand, beside its grade


class Caption(NamedTuple):
    """A caption graded by hand: 0 junk, 1 and 2 weak, 3 good, 4 describes a scene.

    fold  of FOLDS, by its place in its file: captions of one idea, and their translations in other files, are in one fold
    """

    text: str
    grade: int
    fold: int


def make() -> None:
    """Trains the model on all captions and writes it, and its card.

    The card's figures are of models trained on four fifths of the graded captions alone: the teacher has seen them all.
    """
    torch.set_num_threads(1)  # the order of sums, and so every bit, depends on the number of threads
    captions = read_captions(QUALITY / "captions")
    texts = repaired([caption.text for caption in captions])
    grades, folds = (np.array(column) for column in list(zip(*captions, strict=True))[1:])
    taught, targets = read_teacher(TEACHER)
    targets[: len(texts)] += (1 - TEACHER_SHARE) * (reached(grades) - targets[: len(texts)])
    features = features_of(repaired(taught))
    network = train(features, targets, SEED)
    save_file(weights_of(network, centre(network, features)), PATH, metadata={"trained_on": trained_on()})
    PATH.chmod(0o644)
    unseen = np.zeros((len(captions), GRADES), np.float32)
    for fold in range(FOLDS):
        network = train(features_of(texts.filter(pa.array(folds != fold))), reached(grades[folds != fold]), SEED)
        unseen[folds == fold] = probabilities(network, features_of(texts.filter(pa.array(folds == fold))))
    write_card(texts, grades, unseen, len(taught) - len(texts))


def trained_on() -> str:
    """A digest of the data that the weights depend on."""
    return content_digest(QUALITY / "captions", TEACHER, VOCABULARY)


def read_captions(folder: Path) -> list[Caption]:
    """The captions of the folder's tsv files (grade, caption), each once, in the order of the files."""
    captions = dict[str, Caption]()
    for path in sorted(folder.glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
        for place, (grade, text) in enumerate(rows):
            captions.setdefault(text, Caption(text, int(grade), place * FOLDS // len(rows)))
    return [*captions.values()]


def read_teacher(path: Path) -> tuple[list[str], np.ndarray]:
    """N captions, those graded by hand first, and how likely each reaches each grade by the teacher: float32[N, GRADES]."""
    table = pq.read_table(path)
    columns = [table[f"reaches_{grade}"].to_numpy() for grade in range(1, GRADES + 1)]
    return table["caption"].to_pylist(), np.stack(columns, axis=1).astype(np.float32) / 255


def repaired(texts: list[str]) -> pa.StringArray:
    """The captions as stage 2 judges them."""
    captions = pa.chunked_array([texts], pa.string())
    fixed = repair(captions)
    return pa.array([new or old for new, old in zip(fixed.to_pylist(), texts, strict=True)], pa.string())


class Reader(nn.Module):
    """Rows of tokens → one vector a caption: the strongest and the mean answer of each filter over three tokens, and over one."""

    def __init__(self, width: int, filters: int) -> None:
        super().__init__()
        self.three = nn.Conv1d(width, filters, 3, padding=1)
        self.one = nn.Conv1d(width, filters // 2, 1)
        self.size = 2 * filters + filters // 2

    def forward(self, tokens: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """[B, T, width] and bool[B, T] → [B, size]."""
        mask = present[:, None, :].float()
        tokens = F.dropout((tokens * present[..., None]).transpose(1, 2), 0.1, self.training)
        three, one = F.relu(self.three(tokens)) * mask, F.relu(self.one(tokens)) * mask
        count = mask.sum(-1).clamp(min=1)
        return torch.cat([three.amax(-1), three.sum(-1) / count, one.sum(-1) / count], -1)


class Network(nn.Module):
    """Five small networks, one a part of the score, whose outputs are added: logits of reaching each grade."""

    def __init__(self, mean: dict[str, np.ndarray], deviation: dict[str, np.ndarray]) -> None:
        super().__init__()
        vectors = torch.from_numpy(vocabulary().vectors / np.float32(VECTOR_STEPS))
        self.vectors = nn.Embedding.from_pretrained(vectors, freeze=True)
        self.moved = nn.Embedding.from_pretrained(torch.zeros_like(vectors), freeze=False, sparse=True)
        self.structures, self.forms, self.buckets = nn.Embedding(STRUCTURES, 12), nn.Embedding(FORMS, 8), nn.Embedding(BUCKETS, 8)
        for table, scale in ((self.structures, 0.3), (self.forms, 0.3), (self.buckets, 0.02)):
            nn.init.normal_(table.weight, 0, scale)
        self.readers = nn.ModuleDict(
            {"completeness": Reader(12, 24), "information": Reader(vectors.shape[1] + 8, 32), "style": Reader(8, 16)}
        )
        sizes = {part: len(names) for part, names in STATISTICS.items()}
        sizes |= {part: sizes[part] + reader.size for part, reader in self.readers.items()}
        self.heads = nn.ModuleDict(
            {part: nn.Sequential(nn.Linear(size, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, GRADES)) for part, size in sizes.items()}
        )
        self.mean, self.deviation = mean, deviation

    def forward(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """The logits that each part adds: [B, GRADES]."""
        tokens = {
            "completeness": self.structures(batch["structures"]),
            "information": torch.cat([self._words(batch["words"]), self.buckets(batch["buckets"])], -1),
            "style": self.forms(batch["forms"]),
        }
        logits = {}
        for part, head in self.heads.items():
            scaled = (batch["statistics"][part] - torch.from_numpy(self.mean[part])) / torch.from_numpy(self.deviation[part])
            inputs = [scaled.clamp(-3, 3)]
            if part in tokens:
                inputs.insert(0, self.readers[part](tokens[part], batch["present"]))
            logits[part] = head(F.dropout(torch.cat(inputs, -1), 0.3, self.training))
        return logits

    def _words(self, words: torch.Tensor) -> torch.Tensor:
        """The vectors of words, in training a little aside: words of similar meaning are treated alike."""
        vectors = self.vectors(words) + self.moved(words)
        return vectors + NOISE * torch.randn_like(vectors) if self.training else vectors


def batch_of(features: Features, rows: np.ndarray, drop: torch.Generator | None = None) -> dict[str, Any]:
    """The padded tokens of some captions; with `drop` some tokens are hidden, words more often than structures."""
    first = features.first
    count = (first[1:] - first[:-1])[rows]
    length = max(3, int(count.max(initial=0)))
    present = np.arange(length)[None] < count[:, None]
    places = (first[:-1][rows][:, None] + np.arange(length)[None])[present]
    batch: dict[str, Any] = {"present": torch.from_numpy(present)}
    for name, hidden, share in (
        ("structures", 0, 0.05),
        ("forms", 0, 0.05),
        ("words", vocabulary().unknown, 0.15),
        ("buckets", 0, 0.3),
    ):
        padded = np.full(present.shape, hidden, np.int64)
        padded[present] = getattr(features, name)[places]
        batch[name] = torch.from_numpy(padded)
        if drop is not None:
            batch[name][torch.rand(padded.shape, generator=drop) < share] = hidden
    batch["statistics"] = {part: torch.from_numpy(values[rows]) for part, values in features.statistics.items()}
    return batch


def train(features: Features, targets: np.ndarray, seed: int, epochs: int = EPOCHS) -> Network:
    """A network trained on N captions and their targets, float32[N, GRADES] in 0 … 1; of its weights the moving average."""
    torch.manual_seed(seed)
    generator, order = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    mean = {part: values.mean(axis=0) for part, values in features.statistics.items()}
    deviation = {part: np.maximum(values.std(axis=0), 1e-3) for part, values in features.statistics.items()}
    network = Network(mean, deviation)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
    steps = len(targets) // BATCH
    words = network.moved.weight
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad and parameter is not words]
    optimizers = (torch.optim.AdamW(trained, RATE, weight_decay=DECAY), torch.optim.SparseAdam([words], WORD_RATE))
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * steps + 1)
        for optimizer, rate in zip(optimizers, (RATE, WORD_RATE), strict=True)
    ]
    expected = torch.from_numpy(targets)
    for _ in range(epochs):
        shuffled = order.permutation(len(targets))
        for step in range(steps):
            rows = shuffled[step * BATCH : (step + 1) * BATCH]
            logits = added(network(batch_of(features, rows, generator)))
            loss = F.binary_cross_entropy_with_logits(logits, expected[rows])
            network.zero_grad()
            loss.backward()
            for each in (*optimizers, *schedules):
                each.step()
            average.update_parameters(network)
    kept: Network = average.module.eval()
    return kept


def probabilities(network: Network, features: Features) -> np.ndarray:
    """How likely each caption reaches each grade: float32[N, GRADES]."""
    return np.concatenate([torch.sigmoid(added(batch)).numpy() for batch in _outputs(network, features)])


def _outputs(network: Network, features: Features) -> list[dict[str, torch.Tensor]]:
    """What the network gives for N captions, in batches."""
    rows = np.arange(len(features.first) - 1)
    with torch.no_grad():
        return [network(batch_of(features, rows[start : start + 512])) for start in range(0, len(rows), 512)]


def added(logits: dict[str, torch.Tensor]) -> torch.Tensor:
    """The sum of what the parts give: [B, GRADES]."""
    return torch.stack([*logits.values()]).sum(0)


def reached(grades: np.ndarray) -> np.ndarray:
    """Whether each grade (int[N]) reaches 1 … GRADES: float32[N, GRADES]."""
    return (grades[:, None] >= np.arange(1, GRADES + 1)).astype(np.float32)


def centre(network: Network, features: Features) -> np.ndarray:
    """Makes the mean output of each part over N captions 0; returns what is to be added to their sum: float32[GRADES]."""
    batches, total = _outputs(network, features), np.zeros(GRADES, np.float32)
    for part, head in network.heads.items():
        mean = torch.cat([batch[part] for batch in batches]).mean(0)
        head[2].bias.data -= mean
        total += mean.numpy()
    return total


def weights_of(network: Network, bias: np.ndarray) -> dict[str, np.ndarray]:
    """The weights by the names that `filters.quality.network` reads them by, float16 where they are many."""
    stored = {name: values.numpy() for name, values in network.state_dict().items()}
    weights = {name: stored[f"{name}.weight"].astype(np.float16) for name in ("structures", "forms", "buckets")}
    for part in network.readers:
        weights[f"{part}.three"] = stored[f"readers.{part}.three.weight"].transpose(2, 1, 0)  # [F, width, 3] → [3, width, F]
        weights[f"{part}.one"] = stored[f"readers.{part}.one.weight"][..., 0].T  # [F / 2, width, 1] → [width, F / 2]
        weights |= {f"{part}.{name}_bias": stored[f"readers.{part}.{name}.bias"] for name in ("three", "one")}
    for part in network.heads:
        weights |= {f"{part}.mean": network.mean[part], f"{part}.deviation": network.deviation[part]}
        for name, layer in (("hidden", 0), ("out", 2)):
            weights[f"{part}.{name}"] = stored[f"heads.{part}.{layer}.weight"].T
            weights[f"{part}.{name}_bias"] = stored[f"heads.{part}.{layer}.bias"]
    weights |= _moved(network)
    return {"bias": bias, **{name: np.ascontiguousarray(values) for name, values in weights.items()}}


def _moved(network: Network) -> dict[str, np.ndarray]:
    """The words whose vectors training has moved: their rows in the vocabulary, int32[R], and vectors, int8[R, DIM]."""
    vectors = (network.vectors.weight + network.moved.weight).detach().numpy() * VECTOR_STEPS
    steps = np.clip(np.round(vectors), -127, 127).astype(np.int8)
    rows = np.flatnonzero((steps != vocabulary().vectors).any(axis=1)).astype(np.int32)
    return {"moved.rows": rows, "moved.vectors": steps[rows]}
