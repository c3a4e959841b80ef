"""An image that crashes its decoder ends no worker twice, and no other image is lost."""

import asyncio
import multiprocessing
import os
import signal
from functools import partialmethod
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.fetching import decoding, isolated, part
from pipelines.fetching.isolated import IsolatedDecoder, decode, marked
from pipelines.fetching.part import FetchOptions
from pipelines.fetching.plan import Requests
from pipelines.fetching.settings import FetchSettings
from pipelines.images.identify import RejectedImage
from pipelines.images.prepare import StoredImage
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from tests.support import hostile_web
from tests.support.fetching import patient
from tests.support.images import encoded, smooth, stored_of

SOUND, CRASHING = hostile_web.picture(format="PNG"), hostile_web.picture(format="GIF")


def crashing_decode(body: bytes, expected_hash: str | None, settings: FetchSettings) -> StoredImage:
    """`decode` of a library with a fault."""
    if body == CRASHING:
        os.kill(os.getpid(), signal.SIGSEGV)
    return decode(body, expected_hash, settings)


def test_an_image_that_crashes_the_child_is_rejected_and_the_others_are_stored() -> None:
    bodies = [SOUND, CRASHING, b"no image", encoded(smooth(30, 20), "JPEG"), SOUND]

    async def results() -> list[StoredImage | BaseException]:
        with IsolatedDecoder(FetchSettings(), crashing_decode) as decoder:
            return await asyncio.gather(*(decoder.decode(body, None) for body in bodies), return_exceptions=True)

    endings = [result.error if isinstance(result, RejectedImage) else result for result in asyncio.run(results())]
    sound, jpeg = (stored_of(bodies[i], FetchSettings()) for i in (0, 3))
    assert endings == [sound, "decoder_crash", "not_an_image", jpeg, sound]


def fetch(root: Path, port: int) -> list[str | None]:
    """The errors of one chunk, which is committed below `root`."""
    urls = [f"http://hostile.test/{name}" for name in ("ok.png", "ok.gif", "404", "ok.jpg")]
    requests = Requests(urls, [f"{i:016x}" for i in range(4)], [None] * 4)
    options = FetchOptions(patient(connect_to={"hostile.test": f"127.0.0.1:{port}"}))
    storage = Storage(str(root))
    path, _ = part._fetch_chunk(storage, Part("coyo", 0, 0, 4), options, requests, 1e12, lambda index: None)
    return storage.read_parquet(path)["error"].to_pylist()


def crashing_worker(root: Path, port: int) -> None:
    """A worker whose decoder has a fault."""

    def prepare(image: object, settings: FetchSettings) -> StoredImage:
        return crashing_decode(image.body, None, settings)  # type: ignore[attr-defined]

    decoding.prepare = prepare
    fetch(root, port)


@pytest.mark.slow
def test_a_chunk_that_ended_its_worker_is_fetched_with_the_crash_as_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hostile_web.serve() as (port, _):
        worker = multiprocessing.get_context("spawn").Process(target=crashing_worker, args=(tmp_path, port))
        worker.start()
        worker.join(120)
        assert worker.exitcode == -signal.SIGSEGV
        monkeypatch.setattr(
            isolated.IsolatedDecoder, "__init__", partialmethod(IsolatedDecoder.__init__, function=crashing_decode)
        )
        assert fetch(tmp_path, port) == [None, "decoder_crash", "http_404", None]
    assert not [*tmp_path.rglob("*.begun")]


def test_only_a_process_that_dies_leaves_its_mark(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with marked(storage, "x.begun") as died_before:
        assert not died_before
    with pytest.raises(pa.ArrowInvalid), marked(storage, "x.begun"):
        raise pa.ArrowInvalid("a fault")
    assert not storage.exists("x.begun")
    storage.write("x.begun", b"")
    with marked(storage, "x.begun") as died_before:
        assert died_before
