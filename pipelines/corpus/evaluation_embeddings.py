"""Which items of evaluation sets the pictures of a part show by their embeddings: the second tier, for what no hash matched.

Each picture is compared with all items, exactly, by matrix products: the work is rows × items. That is little for COCO or
Flickr30K, and too much for a billion rows against ImageNet-22K on cores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from filters.duplicates.semantic import most_similar, rounded
from infra.compat.errors import RequestError
from pipelines.corpus.evaluation_search import EvalSet, file_of
from pipelines.manifest.embeddings import read_embeddings
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage

TIER = "embedding"
BATCH = 1 << 14  # pictures compared at once


def embedding_matches(storage: Storage, part: Part, ids: np.ndarray, sets: Sequence[EvalSet], least: float) -> pa.Table:
    """sample_id, set, item, tier and cosine of the samples among `ids`, uint64[N], whose nearest item is as near as `least`.

    Of several sets the nearest item is named, then the first set. RequestError where a set and the corpus were embedded by
    different models.
    """
    files = [(each, file) for each in sets if (file := file_of(each)).embeddings is not None]
    embeddings = read_embeddings(storage, part) if files else None
    found: list[dict[str, object]] = []
    if embeddings is not None:
        for each, file in files:
            if file.embedder != embeddings.about.get("clip"):
                raise RequestError(
                    f"evaluation set {each.name} was embedded by {file.embedder}, the corpus by {embeddings.about.get('clip')}; "
                    "run `pairmill index-evalset --embed` with the model of the corpus"
                )
        rows = np.flatnonzero(np.isin(embeddings.sample_ids, ids))
        for first in range(0, len(rows), BATCH):
            some = rows[first : first + BATCH]
            vectors = rounded(embeddings.floats(some))
            nearest = [most_similar(vectors, file.embeddings) for _, file in files if file.embeddings is not None]
            cosines = np.stack([cosine for _, cosine in nearest])
            best, highest = cosines.argmax(axis=0), cosines.max(axis=0)
            for place in np.flatnonzero(highest >= least).tolist():
                each, file = files[best[place]]
                (item,) = file.names([int(nearest[best[place]][0][place])])
                match = {"sample_id": int(embeddings.sample_ids[some[place]]), "set": each.name, "item": item}
                found.append({**match, "tier": TIER, "cosine": float(highest[place])})
    schema = pa.schema(
        [("sample_id", pa.uint64()), ("set", pa.string()), ("item", pa.string()), ("tier", pa.string()), ("cosine", pa.float32())]
    )
    return pa.Table.from_pylist(found, schema)
