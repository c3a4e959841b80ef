"""index-evalset NAME URI: the pictures of an evaluation set → one file of their hashes, for `dedup --against NAME=FILE`.

URI is a folder or pattern of images, WebDataset tars (indexed or not), Parquet with a column of images, or a list of published
hashes: csv, tsv or Parquet with a name and a hash in hex (`phash`, 64 bits, as ImageHash and COYO; `pdq`, 256 bits). The file can
be taken anywhere: it holds names and hashes, no pictures but tiny ones, less than 60 bytes an item; 300 with variants (its
picture mirrored, with a white or black border, cropped and small, so that such copies are found too), and 1 500 more with looks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.compat.errors import RequestError
from infra.compat.paths import absolute
from pipelines.corpus.evaluation_hashing import Embedder
from pipelines.corpus.evaluation_search import local_file
from pipelines.corpus.evaluation_sets import AUTO, Options, index_set, require_sets
from pipelines.manifest.storage import Storage
from pipelines.recipe import recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.runner import start_ray
from pipelines.scoring import clip
from pipelines.scoring.settings import ScoreSettings

if TYPE_CHECKING:
    from PIL.Image import Image


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Hashes the pictures that have changed since the last run."""
    parser = command_line.parser("index-evalset", __doc__ or "")
    parser.add_argument("name", metavar="NAME", help="what the set is called in the manifest")
    parser.add_argument("uri", metavar="URI", help="its pictures, or their hashes, on any fsspec URI")
    variants = "also hash changed copies of each picture; auto (the default): of sets of 3 million pictures at most"
    parser.add_argument("--variants", choices=("auto", "all", "none"), default=AUTO, help=variants)
    looks = (
        "also keep a tiny look (1.5 kB) of each picture, by which `dedup` confirms what a hash matched, and tells flags or coins "
    )
    auto = "from each other; auto (the default): of sets of 500 000 pictures at most"
    parser.add_argument("--looks", choices=("auto", "all", "none"), default=AUTO, help=looks + auto)
    embed = "also embed each picture by the CLIP of [score], as `score` does with score.embeddings, for dedup.eval_cosine"
    parser.add_argument("--embed", action="store_true", help=embed)
    squares = "also keep a small square (5 kB) of each picture, by which changed copies that no hash meets are found: "
    parser.add_argument("--squares", action="store_true", help=squares + "dedup.eval_agreement")
    options = parser.parse_args(argv)
    embedder = _embedder(recipe_of(options).score) if options.embed else None
    uri, storage = absolute(options.uri), Storage(options.root)
    require_sets({options.name: uri})
    storage.require_writable()
    start_ray(options.address)
    kept = Options(options.variants, options.looks, options.squares, embedder)
    one = index_set(storage, options.name, uri, kept)
    counts = {"file": one.uri, "items": local_file(one.uri).items, "failed": dict(one.faults)}
    return command_line.named_failures(counts)


def _embedder(settings: ScoreSettings) -> Embedder:
    """The CLIP that the settings name; RequestError where they name none."""
    if (about := clip.provenance(settings)) is None:
        raise RequestError("--embed needs a model: --set score.clip_model=… --set score.clip_checkpoint=…")
    return Embedder(partial(_load, settings), about)


def _load(settings: ScoreSettings) -> Callable[[Sequence[Image]], np.ndarray]:
    loaded = clip.load_clip(settings, "cpu")

    def embed(images: Sequence[Image]) -> np.ndarray:
        return loaded.embed_pixels([loaded.prepare(np.asarray(image)) for image in images])

    return embed


if __name__ == "__main__":
    command_line.run("index-evalset", main)
