"""Faulty shards, or indexes, are written again by the job that wrote them: the summary of a dataset says which, and how."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

import tomli_w

from infra.compat.errors import RequestError
from pipelines.cli import load_job
from pipelines.manifest.storage import Storage
from pipelines.shards.indexing import indexed_dataset, run_index
from pipelines.shards.plan import Cut
from pipelines.shards.resharding import run_reshard
from pipelines.shards.tars import Tars
from sharding.index import Dataset
from sharding.layout import receipt_file


def repair(dataset: Dataset, shards: Collection[str], root: str | None, address: str | None) -> None:
    """Has these shards written again, and no others: a shard whose receipt is there is done.

    RequestError where no job of ours wrote them, or they are an export and its manifest, `root`, is not named.
    """
    out, receipts = Storage(dataset.uri), [receipt_file(shard) for shard in shards]
    if "index" in dataset.about:
        out.remove(receipts)
        for split, own in dataset.splits.items():
            tars, checksums = Tars(dataset.tars, tuple(shard.name for shard in own)), all(shard.sha256 for shard in own)
            run_index(tars, out, split, checksums=checksums, address=address)
    elif "reshard" in dataset.about:
        request = dataset.about["reshard"]
        cut = Cut(request["samples_per_shard"], request["bytes_per_shard"], request["seed"])
        source = indexed_dataset(request["of"])
        out.remove(receipts)
        run_reshard(source, out, cut, address)
    elif "settings" in dataset.about:
        if root is None:
            raise RequestError(f"{dataset.uri} is an export; name its manifest by --root to --repair it")
        out.remove(receipts)
        _export(dataset, root, address)
    else:
        raise RequestError(f"{dataset.uri} does not say what wrote it; run `pairmill export` again with its recipe")


def _export(dataset: Dataset, root: str, address: str | None) -> None:
    """Runs the export again with the settings that it had."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder, "recipe.toml")
        recipe.write_text(tomli_w.dumps({"export": dataset.about["settings"]}), encoding="utf-8")
        where = ["--root", root, "--out", dataset.uri, *(["--address", address] if address else [])]
        load_job("export").main([*where, "--recipe", str(recipe)])
