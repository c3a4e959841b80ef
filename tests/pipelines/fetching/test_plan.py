"""The plan requests each URL once, and none that has a cached result."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.fetching.plan import make_plan

urls = st.sampled_from([f"http://a/{i}" for i in range(6)])
verdicts = st.sampled_from([None, [], [], ["watermark"], ["download"], ["download", "watermark"]])
matches = st.sampled_from([None, None, None, "coco"])
cached_states = st.sampled_from([None, None, "ok", "timeout", "http_404"])


@settings(deadline=None)
@given(st.lists(st.tuples(urls, verdicts, cached_states, matches), max_size=25), st.booleans())
def test_each_url_of_a_passed_sample_without_a_cached_result_is_requested_once(rows: list, retry: bool) -> None:
    samples = pa.table(
        {
            "sample_id": pa.array(range(100, 100 + len(rows)), pa.uint64()),
            "url": pa.chunked_array([[url for url, _, _, _ in rows]], pa.string()),
            "image_hash": pa.nulls(len(rows), pa.string()),
            "stage1_reasons": pa.chunked_array([[reasons for _, reasons, _, _ in rows]], pa.list_(pa.string())),
            "eval_match": pa.chunked_array([[match for _, _, _, match in rows]], pa.string()),
        }
    )
    results = [(100 + i, None if state == "ok" else state) for i, (_, _, state, _) in enumerate(rows) if state]
    ids, errors = [sample_id for sample_id, _ in results], [error for _, error in results]
    cached = pa.table({"sample_id": pa.array(ids, pa.uint64()), "error": pa.array(errors, pa.string())})
    plan = make_plan(samples, cached, ("timeout",) if retry else ())

    cached_urls = {url for url, _, state, _ in rows if state}
    retried_urls = {url for url, _, state, _ in rows if state == "timeout"} if retry else set()
    # A failed download does not speak against a retry; any other reason does, and so does an evaluation picture.
    is_passed = [set(reasons or []) <= {"download"} and match is None for _, reasons, _, match in rows]
    passed = [row[0] for row, passes in zip(rows, is_passed, strict=True) if passes]
    due = {url for url in passed if url not in cached_urls or url in retried_urls}
    expected = list(dict.fromkeys(url for url, _, _, _ in rows if url in due))
    requests = plan.requests(samples, plan.requested)
    assert requests.urls == expected
    assert requests.keys == [f"{100 + [url for url, _, _, _ in rows].index(url):016x}" for url in expected]
    assert plan.samples_per_url[plan.requested].tolist() == [passed.count(url) for url in expected]

    has_result, result_rows = plan.result_rows(cached)
    new_rows = {url: len(cached) + number for number, url in enumerate(expected)}
    for i, (url, _, state, _) in enumerate(rows):
        assert has_result[i] == bool(state or (is_passed[i] and url in cached_urls | due))
    for i, row in zip(np.flatnonzero(has_result), result_rows, strict=True):
        url = rows[i][0]
        assert row == new_rows[url] if url in new_rows else rows[ids[row] - 100][0] == url
