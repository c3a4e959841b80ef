"""Which URLs of a part are requested: each distinct URL once, unless a cached result answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.manifest.selection import TO_DOWNLOAD, mask_of


@dataclass(frozen=True)
class Requests:
    """The URLs of a chunk: url[N], the key each image is stored under, the publisher's md5 or sha256 of its bytes or None."""

    urls: Sequence[str]
    keys: Sequence[str]
    hashes: Sequence[str | None]


@dataclass(frozen=True)
class Plan:
    """The requests for one part of N samples and U distinct URLs.

    sample_ids    uint64[N]
    url_index     int64[N] each sample's URL
    first_sample  int64[U] the first sample with that URL
    cached_row    int64[U] the row of the cached results for the URL, -1 where there is none
    requested     int64[R] the URLs to request, in the order of their first samples
    samples_per_url  int64[U] how many of the samples that passed stage 1 share the URL
    passed_stage1    bool[N]
    """

    sample_ids: np.ndarray
    url_index: np.ndarray
    first_sample: np.ndarray
    cached_row: np.ndarray
    requested: np.ndarray
    samples_per_url: np.ndarray
    passed_stage1: np.ndarray

    def result_rows(self, cached: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """(bool[N] which samples have a result, int64 the row of each such result).

        Rows count through the cached results and then the new ones in the order of `requested`. A sample has a result where its
        URL has one and it passed stage 1, or had a cached result itself.
        """
        row = self.cached_row.copy()
        row[self.requested] = len(cached) + np.arange(len(self.requested))
        was_cached = np.isin(self.sample_ids, cached["sample_id"].to_numpy())
        has_result = (row[self.url_index] >= 0) & (self.passed_stage1 | was_cached)
        return has_result, row[self.url_index[has_result]]

    def requests(self, samples: pa.Table, chunk: np.ndarray) -> Requests:
        """The requests for a chunk of `requested`; `samples` has the columns url and image_hash."""
        first = self.first_sample[chunk]
        rows = samples.select(["url", "image_hash"]).take(pa.array(first))
        keys = [f"{sample_id:016x}" for sample_id in self.sample_ids[first]]
        return Requests(rows["url"].to_pylist(), keys, rows["image_hash"].to_pylist())


def make_plan(samples: pa.Table, cached: pa.Table, retry: Sequence[str]) -> Plan:
    """The plan for samples (sample_id, url, stage1_reasons, eval_match), given `cached` results (sample_id, error) and classes to
    retry.

    A URL is requested when a sample that passed stage 1 and is no evaluation picture has it, and it has no cached result or one
    whose error is in `retry`. A failed download does not count as failing stage 1 here.
    """
    ids, passed = samples["sample_id"].to_numpy(), np.asarray(mask_of(samples, TO_DOWNLOAD))
    url_index = samples["url"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    count = int(url_index.max(initial=-1)) + 1
    cached_row, first = np.full(count, -1, dtype=np.int64), np.full(count, len(ids), dtype=np.int64)
    cached_url = url_index[np.searchsorted(ids, cached["sample_id"].to_numpy())]
    cached_row[cached_url[::-1]] = np.arange(len(cached))[::-1]
    due = cached_row < 0
    due[cached_url[pc.fill_null(pc.is_in(cached["error"], pa.array(retry, pa.string())), False).to_numpy()]] = True
    np.minimum.at(first, url_index, np.arange(len(url_index)))
    requested = np.unique(url_index[passed & due[url_index]])
    samples_per_url = np.bincount(url_index[passed], minlength=count)
    return Plan(ids, url_index, first, cached_row, requested[np.argsort(first[requested])], samples_per_url, passed)
