"""Each request ends in its error class, and none goes where the policy forbids."""

from collections import Counter

import pytest

from pipelines.fetching.errors import ERRORS
from pipelines.manifest.storage import Storage
from tests.support import hostile_web
from tests.support.fetching import fetch_urls, patient

NEVER_END = [path for path, (_, error) in hostile_web.BEHAVIOURS.items() if error == "timeout"]


@pytest.fixture(scope="module")
def hostile_rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict], Counter[str]]:
    """Path → row of every behaviour of the hostile web, and how often each path was requested."""
    storage = Storage(str(tmp_path_factory.mktemp("root")))
    rows = {}
    with hostile_web.serve() as (port, requests):
        settings = patient(connect_to={"hostile.test": f"127.0.0.1:{port}"}, retries=1)
        impatient = settings.model_copy(update={"first_byte_timeout": 1, "total_timeout": 2})
        others = [path for path in hostile_web.BEHAVIOURS if path not in NEVER_END]
        for paths, chosen in ((others, settings), (NEVER_END, impatient)):
            urls = [f"http://hostile.test{path}" for path in paths]
            rows |= dict(zip(paths, fetch_urls(storage, urls, chosen), strict=True))
    return rows, requests


@pytest.mark.parametrize("path", hostile_web.BEHAVIOURS)
def test_each_misbehaviour_ends_in_its_class(hostile_rows: tuple, path: str) -> None:
    expected = hostile_web.BEHAVIOURS[path][1]
    row = hostile_rows[0][path]
    assert row["error"] == expected
    assert (row["status"] == "ok") == (expected is None)
    assert expected is None or expected in ERRORS


def test_only_errors_that_may_pass_are_retried(hostile_rows: tuple) -> None:
    requests = hostile_rows[1]
    assert requests["/heals"] == requests["/500"] == requests["/429"] == requests["/silent"] == requests["/paused"] == 2
    assert requests["/robots.txt"] == 1 and requests["/robots/no.jpg"] == 1  # the one with a query
    assert requests["/404"] == requests["/403"] == requests["/html"] == requests["/ok.png"] == 1


@pytest.fixture(scope="module")
def raw_rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Rows of responses that are hardly HTTP, and at last of https on a port that speaks no TLS."""
    storage = Storage(str(tmp_path_factory.mktemp("root")))
    with hostile_web.serve_raw() as port:
        urls = [f"http://raw.test{path}" for path in hostile_web.RAW]
        return fetch_urls(storage, [*urls, "https://raw.test/http10"], patient(connect_to={"raw.test": f"127.0.0.1:{port}"}))


@pytest.mark.parametrize("number, path", enumerate(hostile_web.RAW))
def test_malformed_http_ends_in_its_class(raw_rows: list[dict], number: int, path: str) -> None:
    assert raw_rows[number]["error"] == hostile_web.RAW[path][1]


def test_a_port_that_speaks_no_tls_is_a_tls_failure(raw_rows: list[dict]) -> None:
    assert raw_rows[-1]["error"] == "tls"
