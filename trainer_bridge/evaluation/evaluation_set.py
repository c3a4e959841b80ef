"""What is evaluated on: pictures, and what is known of each, its texts or its class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

NO_TEXTS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class EvaluationSet:
    """P pictures with T texts about them, or with their classes.

    pictures     P
    read         picture numbers → encoded images, or why one cannot be read
    texts        T texts, none of them empty
    image_index  int64[T], the picture that each text is about
    metadata     what is known of each text: its `language`, and of shards some members of its json
    labels       P keys of classes, "" where one is unknown; empty: classes are unknown
    class_names  each class that a picture may have → its names in English, as the set gives them; none where it names none
    names        names of the classes by language, as `read_classes` gives them; none: class_names
    by_language  whether figures are wanted for each language by itself
    unread       samples that could not be read, so that they are in none of the fields above
    """

    pictures: int
    read: Callable[[Sequence[int]], list[bytes | Exception]]
    texts: Sequence[str] = ()
    image_index: np.ndarray = field(default_factory=lambda: NO_TEXTS)
    metadata: Sequence[Mapping[str, Any]] = ()
    labels: Sequence[str] = ()
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: Mapping[str, Any] = field(default_factory=dict)
    by_language: bool = False
    unread: int = 0

    @classmethod
    def of_files(cls, paths: Sequence[Path], **fields: Any) -> EvaluationSet:
        """The set of pictures in files."""
        return cls(len(paths), lambda numbers: [_read(paths[number]) for number in numbers], **fields)

    def first(self, pictures: int) -> EvaluationSet:
        """Its first pictures, with all that is known of them."""
        if not 0 < pictures < self.pictures:
            return self
        kept = np.flatnonzero(self.image_index < pictures).tolist()
        return replace(
            self,
            pictures=pictures,
            texts=[self.texts[row] for row in kept],
            image_index=self.image_index[kept],
            metadata=[self.metadata[row] for row in kept],
            labels=self.labels[:pictures],
        )

    def languages(self) -> dict[str, np.ndarray]:
        """The rows of the texts in each language, int64; of texts whose language is unknown there are none."""
        known = [str(row.get("language") or "") for row in self.metadata]
        names = sorted(set(known) - {""})
        return {name: np.flatnonzero(np.array(known) == name) for name in names}


def _read(path: Path) -> bytes | Exception:
    try:
        return path.read_bytes()
    except OSError as error:
        return error
