"""The columns of the family `scores` beyond those that every manifest has, registered when they are first written.

SQL has to know a manifest's columns without the recipe and the plugins that made them.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import FAMILIES

PATH = "scores/columns.json"


def register_score_columns(storage: Storage, scores: Iterable[str]) -> None:
    """Adds the scores that are not in every manifest to this one's; append only."""
    known = read_score_columns(storage)
    more = sorted(set(scores) - set(FAMILIES["scores"].names) - set(known))
    if more:
        storage.write_json(PATH, {"columns": [*known, *more]})


def read_score_columns(storage: Storage) -> list[str]:
    """The names of the registered columns, all float32, in the order in which they came."""
    columns: list[str] = storage.read_json(PATH)["columns"] if storage.exists(PATH) else []
    return columns
