"""The fetcher ends, says why, and never asks where it may not."""

import io
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from filters.duplicates.hashes import perceptual_hash
from pipelines.fetch import make_plan
from pipelines.fetching.chunks import fetch_chunk
from pipelines.fetching.client import ERRORS
from pipelines.fetching.images import Unfit, prepare
from pipelines.fetching.policy import Refused, check_url, is_public, opted_out
from pipelines.manifest.schema import FAMILIES
from pipelines.manifest.storage import Storage
from pipelines.recipe import FetchSettings
from tests import hostile_web


def quick(**settings: object) -> FetchSettings:
    return FetchSettings(
        connect_timeout=2, first_byte_timeout=1, total_timeout=2, retries=1, max_bytes=2_000_000, resize="keep", **settings
    )


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory):
    """Every behaviour of the hostile web, fetched in one chunk."""
    storage = Storage(str(tmp_path_factory.mktemp("root")))
    with hostile_web.serve() as (port, asked):
        urls = [f"http://hostile.test{path}" for path in hostile_web.BEHAVIOURS]
        keys = [f"{i:016x}" for i in range(len(urls))]
        started = time.monotonic()
        allowed = quick(connect_to={"hostile.test": f"127.0.0.1:{port}"})
        table = fetch_chunk(storage, urls, keys, "images/x.tar", allowed, lambda index: None)
        seconds = time.monotonic() - started
    rows = dict(zip(hostile_web.BEHAVIOURS, table.to_pylist(), strict=True))
    return storage, rows, asked, seconds


@pytest.mark.parametrize("path", hostile_web.BEHAVIOURS)
def test_each_misbehaviour_ends_in_its_class(outcome, path: str) -> None:
    expected = hostile_web.BEHAVIOURS[path][1]
    row = outcome[1][path]
    assert row["error"] == expected
    assert row["status"] == ("ok" if expected is None else row["status"])
    assert expected is None or expected in ERRORS


def test_it_ends(outcome) -> None:
    assert outcome[3] < 30


def test_stored_pictures_are_those_of_their_url(outcome) -> None:
    storage, rows, _, _ = outcome
    for path in ("/ok.jpg", "/ok.png", "/moved"):
        row = rows[path]
        data = storage.read_range(row["tar"], row["offset"], row["length"])
        assert Image.open(io.BytesIO(data)).size == (row["width"], row["height"]) == (64, 48)
    png = rows["/ok.png"]
    assert png["mime"] == "image/png"
    assert storage.read_range(png["tar"], png["offset"], png["length"]) == hostile_web.picture(format="PNG")


def test_only_what_may_heal_is_asked_again(outcome) -> None:
    asked = outcome[2]
    assert asked["/heals"] == asked["/500"] == asked["/429"] == asked["/silent"] == 2
    assert asked["/404"] == asked["/403"] == asked["/html"] == asked["/ok.png"] == 1


@pytest.mark.parametrize(
    "address",
    "127.0.0.1 127.8.8.8 10.0.0.1 172.16.5.5 192.168.1.1 169.254.169.254 0.0.0.0 100.64.0.1 224.0.0.1 255.255.255.255 "
    "::1 :: fe80::1 fc00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: fe80::1%eth0".split(),
)
def test_no_private_address_counts_as_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_do(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url, error",
    [
        ("http://127.0.0.1/x", "refused_address"),
        ("http://[::1]/x", "refused_address"),
        ("https://example.test:8443/x", "refused_port"),
        ("file:///etc/passwd", "bad_url"),
        ("http:///x", "bad_url"),
        ("http://a.test:port/", "bad_url"),
        ("javascript:alert(1)", "bad_url"),
        ("http://user@a.test/", "bad_url"),
        ("", "bad_url"),
    ],
)
def test_what_may_not_be_asked_is_refused_before_any_connection(url: str, error: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(url, (80, 443), {})
    assert caught.value.error == error


@pytest.mark.parametrize(
    "value, no",
    [
        ("noai", True),
        ("noarchive", False),
        ("noarchive, noimageai", True),
        ("otherbot: noai", False),
        ("otherbot: noarchive, pairmill: noai", True),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST, noindex", True),
        ("", False),
    ],
)
def test_opt_out_headers(value: str, no: bool) -> None:
    assert opted_out({"X-Robots-Tag": value}) is no


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "1", "I;16"])
def test_every_png_mode_becomes_rgb(mode: str) -> None:
    image = Image.linear_gradient("L").resize((40, 30))
    image = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50) if mode == "I;16" else image.convert(mode)
    stored = prepare(encoded(image, "PNG"), FetchSettings(size=20))
    assert Image.open(io.BytesIO(stored.data)).mode == "RGB"
    assert (stored.width, stored.height) == (40, 30)


def test_cmyk_exif_rotation_and_the_first_frame() -> None:
    cmyk = encoded(Image.new("CMYK", (40, 30), (0, 255, 255, 0)), "JPEG")
    assert Image.open(io.BytesIO(prepare(cmyk, FetchSettings()).data)).getpixel((5, 5))[0] > 200
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = prepare(encoded(Image.new("RGB", (60, 20)), "JPEG", exif=exif), FetchSettings())
    assert (turned.width, turned.height) == (20, 60) == Image.open(io.BytesIO(turned.data)).size
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(prepare(moving, FetchSettings()).data)).getpixel((9, 9))[0] > 200


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 900), st.integers(1, 900), st.sampled_from(["shorter_side", "longer_side"]), st.integers(1, 600))
def test_resizing_keeps_the_ratio_and_never_enlarges(width: int, height: int, mode: str, size: int) -> None:
    stored = prepare(encoded(Image.new("RGB", (width, height)), "PNG"), FetchSettings(resize=mode, size=size))
    out = Image.open(io.BytesIO(stored.data)).size
    side = min(width, height) if mode == "shorter_side" else max(width, height)
    scale = min(1.0, size / side)
    assert all(abs(o - s * scale) <= 1 for o, s in zip(out, (width, height), strict=True))
    assert (stored.width, stored.height) == (width, height)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_unfit(data: bytes) -> None:
    for prefix in (b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBP", b"GIF89a"):
        with pytest.raises(Unfit):
            prepare(prefix + data, FetchSettings())


def test_a_recompressed_picture_has_a_near_hash_and_another_has_not() -> None:
    chance = np.random.default_rng(0)
    first, second = (Image.fromarray(chance.integers(0, 255, (8, 8), np.uint8)).resize((200, 200)) for _ in range(2))

    def phash(image: Image.Image) -> int:
        return perceptual_hash(np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX)))

    again = Image.open(io.BytesIO(encoded(first.resize((90, 90)), "JPEG", quality=50)))
    assert (phash(first) ^ phash(again)).bit_count() <= 8
    assert (phash(first) ^ phash(second)).bit_count() >= 16


urls = st.sampled_from([f"http://a/{i}" for i in range(6)])
states = st.sampled_from([None, None, "ok", "timeout", "http_404"])


verdicts = st.sampled_from([None, [], [], ["watermark"], ["download"], ["download", "watermark"]])


@given(st.lists(st.tuples(urls, verdicts, states), max_size=25), st.booleans())
def test_a_plan_asks_once_for_each_wanted_url_without_an_answer(rows: list, retry: bool) -> None:
    samples = pa.table(
        {
            "sample_id": pa.array(range(100, 100 + len(rows)), pa.uint64()),
            "url": pa.chunked_array([[url for url, _, _ in rows]], pa.string()),
            "stage1_reasons": pa.chunked_array([[reasons for _, reasons, _ in rows]], pa.list_(pa.string())),
        }
    )
    had = [(100 + i, None if state == "ok" else state) for i, (_, _, state) in enumerate(rows) if state]
    table = pa.table(
        {"sample_id": pa.array([i for i, _ in had], pa.uint64()), "error": pa.array([e for _, e in had], pa.string())}
    )
    plan = make_plan(samples, table, ("timeout",) if retry else ())
    answered = {url for url, _, state in rows if state}
    again = {url for url, _, state in rows if state == "timeout"} if retry else set()
    # A failed download does not speak against asking again; any other reason does.
    wanted = [url for url, reasons, _ in rows if set(reasons or []) <= {"download"}]
    asked = [rows[plan.first[code]][0] for code in plan.asked]
    due = {url for url in wanted if url not in answered or url in again}
    assert asked == list(dict.fromkeys(url for url, _, _ in rows if url in due))
    assert plan.sharing[plan.asked].tolist() == [wanted.count(url) for url in asked]
    # What was answered keeps an answer, asked again or not.
    assert all(plan.answers[plan.codes[i]] >= 0 for i, (url, _, _) in enumerate(rows) if url in answered)


def test_the_fetch_schema_has_the_columns_of_the_contract() -> None:
    assert FAMILIES["fetch"].names == (
        "sample_id status error http_status bytes mime sha256 phash width height tar offset length".split()
    )


def test_a_tar_of_a_killed_chunk_is_made_again_with_the_same_bytes(tmp_path: Path) -> None:
    with hostile_web.serve() as (port, _):
        urls = [f"http://hostile.test/{name}" for name in ("ok.png", "404", "ok.jpg", "ok.webp")]
        tars = []
        for turn in range(2):
            storage = Storage(str(tmp_path / str(turn)))
            allowed = quick(connect_to={"hostile.test": f"127.0.0.1:{port}"})
            fetch_chunk(storage, urls, list("abcd"), "images/x.tar", allowed, lambda index: None)
            tars.append(storage.read("images/x.tar"))
    assert tars[0] == tars[1]


def test_the_rule_that_speaks_of_downloads_is_the_one_of_stage_1() -> None:
    from filters import stage1
    from pipelines.fetch import DOWNLOAD

    assert [rule.columns for rule in stage1.RULES if rule.name == DOWNLOAD] == [("fetch_status",)]


def test_retry_failed_means_every_class_but_refusals() -> None:
    from pipelines.fetch import _classes
    from pipelines.fetching.client import ERRORS, status_of

    assert set(_classes("failed")) == {error for error in ERRORS if status_of(error) == "failed"}
    assert _classes("timeout,failed,timeout")[0] == "timeout" and len(set(_classes("timeout,failed"))) == len(
        _classes("timeout,failed")
    )
