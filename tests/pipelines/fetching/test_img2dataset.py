"""The engine img2dataset: only URLs that our policy allows reach it."""

import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image

from infra.compat.errors import RequestError
from pipelines.fetching import img2dataset
from pipelines.fetching.plan import Requests
from pipelines.fetching.settings import FetchSettings
from pipelines.manifest.storage import Storage
from tests.support import hostile_web


@pytest.mark.slow
def test_img2dataset_requests_only_what_our_policy_allows(tmp_path: Path) -> None:
    from infra.benchmarks.peers import peer

    settings = FetchSettings(size=32, img2dataset_python=str(peer("img2dataset")), retries=0, total_timeout=50)
    with hostile_web.serve() as (port, request_counts):
        settings = settings.model_copy(update={"connect_to": {"127.0.0.1": f"127.0.0.1:{port}"}})
        paths = ["ok.jpg", "ok.png", "404", "html", "robots/no.jpg", "noai", "large.jpg"]
        urls = [f"http://127.0.0.1:{port}/{path}" for path in paths]
        urls += ["file:///etc/passwd", "http://10.0.0.1/x.jpg", "http://localhost/x.jpg", f"http://127.0.0.1:{port}/ok.webp"]
        requests = Requests(urls, [f"{i:016x}" for i in range(len(urls))], [None] * len(urls))
        storage, finished = Storage(str(tmp_path)), []
        img2dataset.require_img2dataset(settings)
        rows = img2dataset.fetch_chunk(storage, requests, "images/x.tar", settings, 600, finished.append).to_pylist()
    errors = [None, None, "http_404", "not_an_image", "robots", "opt_out", "http_404"]
    assert [row["error"] for row in rows] == [*errors, "bad_url", "refused_address", "refused_address", None]
    assert request_counts["/robots/no.jpg"] == 0 and sorted(finished) == list(range(len(urls)))
    for row in (rows[0], rows[1], rows[-1]):
        data = storage.read_range(row["tar"], row["offset"], row["length"])
        assert Image.open(io.BytesIO(data)).size == (43, 32) and row["width"] == 64 and row["phash"] is not None
    assert rows[0]["sha256"] == hashlib.sha256(hostile_web.picture()).hexdigest()


def test_an_engine_that_is_not_installed_is_a_wrong_request(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\necho 'ModuleNotFoundError: No module named img2dataset' >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(RequestError, match=r"cannot import it .* fetch\.img2dataset_python"):
        img2dataset.require_img2dataset(FetchSettings(img2dataset_python=str(tmp_path / "python")))
