"""Samples as columns, as an object for each takes as long to make as its bytes take to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from infra.compat.errors import RequestError
from sharding.sample import Sample


class ReadError(RequestError):
    """A sample that cannot be read; `sample_id` is -1 where its index cannot be read either."""

    def __init__(self, message: str, sample_id: int = -1) -> None:
        super().__init__(message)
        self.sample_id = sample_id


@dataclass
class SampleColumns:
    """N samples, with what a `Sample` has of each; a member that is missing, or was not read, is empty.

    others  members that are none of these, of the samples that have such, by number
    errors  why samples could not be read, by number
    """

    sample_ids: list[int]
    images: list[bytes]
    texts: list[str]
    json: list[bytes]
    others: dict[int, dict[str, bytes]] = field(default_factory=dict)
    errors: dict[int, ReadError] = field(default_factory=dict)

    @classmethod
    def empty(cls, count: int) -> SampleColumns:
        """Columns of so many samples of which nothing is read yet."""
        return cls([-1] * count, [b""] * count, [""] * count, [b""] * count)

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __getitem__(self, i: int) -> Sample | ReadError:
        """The sample of this number, or why it could not be read."""
        if i in self.errors:
            return self.errors[i]
        return Sample(self.sample_ids[i], self.images[i], self.texts[i], self.json[i], self.others.get(i, {}))

    def identify(self, numbers: Sequence[int], sample_ids: Sequence[int]) -> None:
        """Puts the ids of the samples of these numbers."""
        for i, sample_id in zip(numbers, sample_ids, strict=True):
            self.sample_ids[i] = sample_id

    def fail(self, i: int, error: ReadError) -> None:
        """Notes that a sample could not be read."""
        self.errors[i], self.sample_ids[i] = error, error.sample_id
        self.images[i], self.texts[i], self.json[i] = b"", "", b""

    def fill(self, member: str, numbers: Sequence[int], data: Sequence[bytes]) -> None:
        """Puts what was read of a member into the samples of these numbers; bytes of a text that are not UTF-8 become U+FFFD."""
        if member == "text":
            for i, part in zip(numbers, data, strict=True):
                self.texts[i] = part.decode(errors="replace")
        elif member in ("image", "json"):
            column = self.images if member == "image" else self.json
            for i, part in zip(numbers, data, strict=True):
                column[i] = part
        else:
            for i, part in zip(numbers, data, strict=True):
                self.others.setdefault(i, {})[member] = part

    def put(self, numbers: np.ndarray, other: SampleColumns) -> None:
        """Puts the samples of other columns in the places int64[M] among these."""
        places = numbers.tolist()
        for i, place in enumerate(places):
            self.sample_ids[place], self.images[place] = other.sample_ids[i], other.images[i]
            self.texts[place], self.json[place] = other.texts[i], other.json[i]
        self.others |= {places[i]: members for i, members in other.others.items()}
        self.errors |= {places[i]: error for i, error in other.errors.items()}
