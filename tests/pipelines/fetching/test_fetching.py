"""The fetcher ends, says why, and never asks where it may not."""

import asyncio
import hashlib
import io
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from filters.duplicates.hashes import perceptual_hashes
from infra.compat.errors import RequestError
from pipelines.fetch import make_plan
from pipelines.fetching import decoding, robots
from pipelines.fetching import frontier as frontier_module
from pipelines.fetching.chunks import NoNetwork, fetch_chunk
from pipelines.fetching.client import ERRORS
from pipelines.fetching.decoding import Decoder
from pipelines.fetching.frontier import HOST_DOWN, Frontier
from pipelines.fetching.policy import PublicResolver, Refused, blocklist, check_url, is_public, opted_out
from pipelines.fetching.request import Wanted
from pipelines.fetching.settings import FetchSettings
from pipelines.images.identify import MOST_SCANS, Unfit, identify
from pipelines.images.jpeg_header import plain_size
from pipelines.images.prepare import Stored, prepare
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import FAMILIES
from tests.support import hostile_web
from tests.support.s3 import free_port


def quick(**settings: object) -> FetchSettings:
    return FetchSettings(
        connect_timeout=2, first_byte_timeout=1, total_timeout=2, retries=1, max_bytes=2_000_000, resize="keep", **settings
    )


@pytest.fixture(autouse=True, scope="module")
def nothing_remembered() -> None:
    robots._KNOWN.clear()


def fetch_urls(storage: Storage, urls: list[str], chosen: FetchSettings, seconds: float = 60, hashes: list | None = None) -> list:
    keys = [f"{i:016x}" for i in range(len(urls))]
    wanted = Wanted(urls, keys, hashes or [None] * len(urls))
    return fetch_chunk(storage, wanted, "images/x.tar", chosen, seconds, lambda index: None).to_pylist()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory):
    """Every behaviour of the hostile web, fetched in one chunk."""
    storage = Storage(str(tmp_path_factory.mktemp("root")))
    with hostile_web.serve() as (port, asked):
        urls = [f"http://hostile.test{path}" for path in hostile_web.BEHAVIOURS]
        started = time.monotonic()
        found = fetch_urls(storage, urls, quick(connect_to={"hostile.test": f"127.0.0.1:{port}"}))
        seconds = time.monotonic() - started
    return storage, dict(zip(hostile_web.BEHAVIOURS, found, strict=True)), asked, seconds


@pytest.mark.parametrize("path", hostile_web.BEHAVIOURS)
def test_each_misbehaviour_ends_in_its_class(outcome, path: str) -> None:
    expected = hostile_web.BEHAVIOURS[path][1]
    row = outcome[1][path]
    assert row["error"] == expected
    assert row["status"] == ("ok" if expected is None else row["status"])
    assert expected is None or expected in ERRORS


@pytest.fixture(scope="module")
def raw_outcome(tmp_path_factory: pytest.TempPathFactory):
    """What is not HTTP, or hardly, and a TLS port that speaks none."""
    storage = Storage(str(tmp_path_factory.mktemp("root")))
    with hostile_web.serve_raw() as port:
        urls = [f"http://raw.test{path}" for path in hostile_web.RAW]
        return fetch_urls(storage, [*urls, "https://raw.test/http10"], quick(connect_to={"raw.test": f"127.0.0.1:{port}"}))


@pytest.mark.parametrize("number, path", enumerate(hostile_web.RAW))
def test_what_is_hardly_http_ends_in_its_class(raw_outcome, number: int, path: str) -> None:
    assert raw_outcome[number]["error"] == hostile_web.RAW[path][1]


def test_a_port_that_speaks_no_tls_is_a_tls_failure(raw_outcome) -> None:
    assert raw_outcome[-1]["error"] == "tls"


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
    assert asked["/heals"] == asked["/500"] == asked["/429"] == asked["/silent"] == asked["/paused"] == 2
    assert asked["/robots.txt"] == 1 and asked["/robots/no.jpg"] == 1  # the second is that with a query
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


def stored_of(body: bytes, settings: FetchSettings) -> Stored:
    return prepare(identify(body, settings), settings)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "1", "I;16"])
def test_every_png_mode_becomes_rgb(mode: str) -> None:
    image = Image.linear_gradient("L").resize((40, 30))
    image = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50) if mode == "I;16" else image.convert(mode)
    stored = stored_of(encoded(image, "PNG"), FetchSettings(size=20))
    assert Image.open(io.BytesIO(stored.data)).mode == "RGB"
    assert (stored.width, stored.height) == (40, 30)


def test_cmyk_exif_rotation_and_the_first_frame() -> None:
    cmyk = encoded(Image.new("CMYK", (40, 30), (0, 255, 255, 0)), "JPEG")
    assert Image.open(io.BytesIO(stored_of(cmyk, FetchSettings()).data)).getpixel((5, 5))[0] > 200
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = stored_of(encoded(Image.new("RGB", (60, 20)), "JPEG", exif=exif), FetchSettings())
    assert (turned.width, turned.height) == (20, 60) == Image.open(io.BytesIO(turned.data)).size
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(stored_of(moving, FetchSettings()).data)).getpixel((9, 9))[0] > 200


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 900), st.integers(1, 900), st.sampled_from(["shorter_side", "longer_side"]), st.integers(1, 600))
def test_resizing_keeps_the_ratio_and_never_enlarges(width: int, height: int, mode: str, size: int) -> None:
    stored = stored_of(encoded(Image.new("RGB", (width, height)), "PNG"), FetchSettings(resize=mode, size=size))
    out = Image.open(io.BytesIO(stored.data)).size
    side = min(width, height) if mode == "shorter_side" else max(width, height)
    scale = min(1.0, size / side)
    assert all(abs(o - s * scale) <= 1 for o, s in zip(out, (width, height), strict=True))
    assert (stored.width, stored.height) == (width, height)


def smooth(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)).resize((width, height))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(200, 1200), st.integers(200, 1200), st.integers(0, 9), st.sampled_from([96, 256]), st.sampled_from(["RGB", "L"])
)
def test_a_scaled_jpeg_is_the_picture_upright(width: int, height: int, orientation: int, size: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = encoded(smooth(width, height).convert(mode), "JPEG", quality=95, exif=exif)
    stored = stored_of(body, FetchSettings(size=size, resize="longer_side", quality=95))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(body))).convert("RGB")
    assert (stored.width, stored.height) == upright.size
    out = Image.open(io.BytesIO(stored.data))
    expected = np.asarray(upright.resize(out.size, Image.Resampling.BOX), np.float32)
    assert np.abs(np.asarray(out.convert("RGB"), np.float32) - expected).mean() < 12  # another turn is off by over 40
    kept = stored_of(body, FetchSettings(resize="keep"))
    assert kept.data == body
    assert (kept.phash ^ stored.phash).bit_count() <= 16  # of another picture about 32


def test_a_jpeg_that_holds_further_pictures_is_one(tmp_path: Path) -> None:
    body = encoded(smooth(90, 60), "MPO", save_all=True, append_images=[smooth(90, 60)])
    for resize in ("keep", "shorter_side"):
        stored = stored_of(body, FetchSettings(resize=resize))
        assert (stored.ending, stored.mime, stored.width) == ("jpg", "image/jpeg", 90)


@settings(deadline=None, max_examples=200)
@given(st.data(), st.sampled_from(["keep", "shorter_side"]))
def test_a_spoiled_jpeg_is_a_picture_or_unfit(data: st.DataObject, resize: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    body = bytearray(encoded(smooth(64, 48), "JPEG", exif=exif))
    for place in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=4)):
        body[place] = data.draw(st.integers(0, 255))
    try:
        stored_of(bytes(body[: data.draw(st.integers(1, len(body)))]), FetchSettings(resize=resize))
    except Unfit as unfit:
        assert unfit.error in ("truncated", "not_an_image", "unsupported_image", "too_many_pixels")


def test_a_jpeg_of_countless_scans_is_refused_before_decoding() -> None:
    body = hostile_web.scans_over_and_over(800, MOST_SCANS)
    assert len(body) < 30_000
    with pytest.raises(Unfit, match="too_many_scans"):
        identify(body, FetchSettings())
    usual = encoded(smooth(300, 200), "JPEG", progressive=True)
    assert (stored_of(usual, FetchSettings(size=32)).width, identify(usual, FetchSettings()).quick) == (300, False)


def test_what_is_decoded_between_requests_is_quick() -> None:
    body = encoded(smooth(300, 200), "JPEG")
    assert identify(body, FetchSettings()).quick
    assert not identify(encoded(smooth(300, 200), "PNG"), FetchSettings()).quick
    assert not identify(encoded(Image.new("L", (4000, 1001)), "JPEG"), FetchSettings()).quick


EXIF = Image.Exif()
EXIF[0x0112] = 6
WAYS = st.sampled_from([{}, {"exif": EXIF}, {"progressive": True}, {"comment": b"made by hand"}, {"subsampling": 0}])


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["RGB", "L", "CMYK"]), WAYS)
def test_what_the_header_of_a_jpeg_says_is_what_pillow_finds(width: int, height: int, mode: str, way: dict) -> None:
    body = encoded(smooth(width, height).convert(mode), "JPEG", **way)
    plain = mode != "CMYK" and not way.keys() & {"exif", "progressive"}
    assert plain_size(body) == (Image.open(io.BytesIO(body)).size if plain else None)


@settings(deadline=None, max_examples=300)
@given(st.data(), WAYS)
def test_the_header_of_a_spoiled_jpeg_says_nothing_else_than_pillow(data: st.DataObject, way: dict) -> None:
    body = bytearray(encoded(smooth(64, 48), "JPEG", **way))
    for place in data.draw(st.lists(st.integers(0, 700), max_size=3)):
        body[place % len(body)] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))]
    said = plain_size(bytes(body))
    try:
        image = Image.open(io.BytesIO(body))
    except Exception:  # a spoiled table, of which we hear when it is decoded
        return
    assert said in (None, image.size)
    assert said is None or (image.mode in ("RGB", "L") and "progressive" not in image.info)


def test_a_process_that_has_opened_no_picture_knows_what_a_jpeg_is(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(encoded(smooth(90, 60), "JPEG"))
    said = (
        "import sys; from pathlib import Path; from pipelines.images.settings import ImageSettings; settings = ImageSettings();"
        "from pipelines.images.identify import identify; from pipelines.images.prepare import prepare;"
        "print(prepare(identify(Path(sys.argv[1]).read_bytes(), settings), settings).mime)"
    )
    done = subprocess.run([sys.executable, "-c", said, str(tmp_path / "picture")], capture_output=True, text=True, check=True)
    assert done.stdout == "image/jpeg\n"


def test_most_jpegs_need_no_pillow() -> None:
    for mode in ("RGB", "L"):
        picture = identify(encoded(smooth(300, 200).convert(mode), "JPEG"), FetchSettings())
        assert (picture.image, picture.width, picture.height) == (None, 300, 200)
    for options in ({"exif": EXIF}, {"progressive": True}):
        assert identify(encoded(smooth(300, 200), "JPEG", **options), FetchSettings()).image is not None


BODIES = [
    encoded(smooth(300, 200), "JPEG"),
    encoded(smooth(300, 200), "JPEG", progressive=True),
    encoded(smooth(40, 30), "PNG"),
    encoded(smooth(300, 200), "JPEG")[:900],
    b"no picture",
]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(BODIES), max_size=12), st.sets(st.integers(0, 11)), st.integers(0, 64))
def test_a_decoder_gives_what_each_picture_alone_gives_whatever_is_given_up(
    bodies: list[bytes], given_up: set[int], idle: int
) -> None:
    chosen = FetchSettings(size=32)

    def alone(body: bytes) -> Stored | str:
        try:
            return stored_of(body, chosen)
        except Unfit as unfit:
            return unfit.error

    async def together() -> list[Stored | BaseException]:
        with Decoder(chosen) as decoder, patch.object(decoding, "idle_cores", lambda: idle):
            tasks = [asyncio.ensure_future(decoder.stored(body, None)) for body in bodies]
            await asyncio.sleep(0)
            for number in given_up & set(range(len(tasks))):
                tasks[number].cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

    for number, (body, found) in enumerate(zip(bodies, asyncio.run(together()), strict=True)):
        if number in given_up:
            assert isinstance(found, asyncio.CancelledError)
        else:
            assert (found.error if isinstance(found, Unfit) else found) == alone(body)


def test_threads_that_slow_pictures_keep_are_not_waited_for() -> None:
    async def decoded() -> list[Stored]:
        released = threading.Event()
        with Decoder(FetchSettings(size=32)) as decoder, patch.object(decoding, "idle_cores", lambda: 64):
            try:
                for _ in range(2 * decoding.THREADS):
                    decoder.pool.submit(released.wait)
                return await asyncio.gather(*(decoder.stored(BODIES[0], None) for _ in range(9)))
            finally:
                released.set()

    assert asyncio.run(decoded()) == [stored_of(BODIES[0], FetchSettings(size=32))] * 9


def test_idle_cores_are_counted_where_the_system_says(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    said = {f"0.1 0.2 0.3 1/99 {cores}": cores - 1, f"0.1 0.2 0.3 {cores + 7}/99 5": 0, "0.1 0.2": 0, "a b c d/e": 0}
    for number, (words, idle) in enumerate(said.items()):
        (tmp_path / str(number)).write_text(words)
        with patch.object(decoding, "RUNNING", tmp_path / str(number)):
            assert decoding.idle_cores() == idle
    with patch.object(decoding, "RUNNING", tmp_path / "none"):
        assert decoding.idle_cores() == 0


def test_a_slow_picture_leaves_the_loop_to_others() -> None:
    async def rounds() -> int:
        with Decoder(FetchSettings(size=32)) as decoder:
            slow, count = asyncio.ensure_future(decoder.stored(encoded(Image.new("RGB", (5000, 4000)), "PNG"), None)), 0
            while not slow.done():
                await asyncio.sleep(0)
                count += 1
            assert (await slow).width == 5000
            return count

    assert asyncio.run(rounds()) > 20


@given(st.integers(2, 200))
def test_a_jpeg_without_its_end_is_truncated(missing: int) -> None:
    body = encoded(smooth(300, 200), "JPEG")
    for resize in ("keep", "shorter_side"):
        with pytest.raises(Unfit, match="truncated"):
            stored_of(body[:-missing], FetchSettings(resize=resize, size=32))


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_unfit(data: bytes) -> None:
    for prefix in (b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBP", b"GIF89a"):
        with pytest.raises(Unfit):
            stored_of(prefix + data, FetchSettings())


def test_a_recompressed_picture_has_a_near_hash_and_another_has_not() -> None:
    chance = np.random.default_rng(0)
    first, second = (Image.fromarray(chance.integers(0, 255, (8, 8), np.uint8)).resize((200, 200)) for _ in range(2))

    def phash(image: Image.Image) -> int:
        return int(perceptual_hashes(np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX))[None])[0])

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
            fetch_urls(storage, urls, allowed)
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


def test_robots_are_asked_once_for_an_origin_and_name_the_pace() -> None:
    robots._KNOWN.clear()
    asked = []

    async def ask(url: str) -> tuple[str | None, int | None, bytes]:
        asked.append(url)
        await asyncio.sleep(0.01)
        return None, 200, b"User-agent: *\nDisallow: /private\nCrawl-delay: 3\n\nUser-agent: evil\nDisallow: /\n"

    async def judge(agent: str) -> list:
        known = robots.Robots(ask, agent)
        paths = ("http://a.test/x", "http://a.test/private/x", "http://a.test:81/x")
        return await asyncio.gather(*(known.verdict(url) for url in paths for _ in range(3)))

    assert asyncio.run(judge("pairmill")) == [(None, 3.0)] * 3 + [("robots", 3.0)] * 3 + [(None, 3.0)] * 3
    assert sorted(asked) == ["http://a.test/robots.txt", "http://a.test:81/robots.txt"]
    assert [error for error, _ in asyncio.run(judge("evil"))] == ["robots"] * 9 and len(asked) == 2


@pytest.mark.parametrize(
    "error, status, verdict",
    [
        ("http_404", 404, None),
        ("http_403", 403, None),
        ("empty", 200, None),
        ("redirect_limit", 302, None),
        ("http_5xx", 503, "http_5xx"),
        ("http_429", 429, "http_429"),
        ("timeout", None, "timeout"),
        ("dns", None, "dns"),
    ],
)
def test_robots_that_are_not_there_allow_and_those_that_cannot_be_had_do_not(
    error: str, status: int | None, verdict: str | None
) -> None:
    robots._KNOWN.clear()

    async def ask(url: str) -> tuple[str | None, int | None, bytes]:
        return error, status, b""

    assert asyncio.run(robots.Robots(ask, "pairmill").verdict("http://a.test/x")) == (verdict, 0.0)


def test_blocklists_hold_domains_with_all_below_and_urls_by_hash(tmp_path: Path) -> None:
    domains, urls = tmp_path / "domains", tmp_path / "urls"
    domains.write_text("# ours\nBad.test\n\nworse.test  # theirs\n")
    one, two = "http://fine.test/1.jpg", "http://fine.test/2.jpg"
    urls.write_text(hashlib.md5(one.encode()).hexdigest() + "\n" + hashlib.sha256(two.encode()).hexdigest().upper() + "\n")
    found = fetch_urls(
        Storage(str(tmp_path)),
        ["http://bad.test/x", "http://www.BAD.test/x", "http://worse.test/", one, two],
        quick(blocked_domains=str(domains), blocked_urls=str(urls)),
    )
    assert [(row["status"], row["error"]) for row in found] == [("refused", "blocked")] * 5
    assert not blocklist(str(domains), str(urls)).holds("http://notbad.test/x")
    urls.write_text("http://fine.test/1.jpg\n")
    blocklist.cache_clear()
    with pytest.raises(RequestError, match=r"fetch\.blocked_urls = .* give md5 or sha256"):
        blocklist("", str(urls))
    with pytest.raises(RequestError, match=r"fetch\.blocked_domains = .* cannot be read"):
        blocklist(str(tmp_path / "none"), "")


def test_a_picture_with_other_bytes_than_its_publisher_hashed_is_dropped(tmp_path: Path) -> None:
    body = hostile_web.picture()
    md5, sha256 = hashlib.md5(body).hexdigest(), hashlib.sha256(body).hexdigest()
    with hostile_web.serve() as (port, _):
        allowed = quick(connect_to={"hostile.test": f"127.0.0.1:{port}"})
        urls = [f"http://hostile.test/ok.jpg?{i}" for i in range(4)]
        hashes = [md5, sha256.upper(), "0" * 64, None]
        found = fetch_urls(Storage(str(tmp_path / "a")), urls, allowed, hashes=hashes)
        trusting = fetch_urls(
            Storage(str(tmp_path / "b")), urls, allowed.model_copy(update={"verify_hash": False}), hashes=hashes
        )
    assert [row["error"] for row in found] == [None, None, "hash_mismatch", None]
    assert [row["error"] for row in trusting] == [None] * 4


def test_a_chunk_ends_when_its_time_is_over_and_accounts_for_every_url(tmp_path: Path) -> None:
    with hostile_web.serve() as (port, _):
        urls = ["http://hostile.test/ok.jpg", *(f"http://hostile.test/drip?{i}" for i in range(60))]
        slow = FetchSettings(connect_to={"hostile.test": f"127.0.0.1:{port}"}, resize="keep", per_host=4)
        started = time.monotonic()
        found = fetch_urls(Storage(str(tmp_path)), urls, slow, seconds=4)
    assert time.monotonic() - started < 25
    assert [row["error"] for row in found] == [None, *["out_of_time"] * 60]


def test_answers_that_only_say_that_this_machine_is_offline_are_not_committed(tmp_path: Path) -> None:
    closed = free_port()
    chosen = quick(connect_to={"gone.test": f"127.0.0.1:{closed}"}, breaker=1000, robots=False)
    with pytest.raises(NoNetwork, match="is this machine online"):
        fetch_urls(Storage(str(tmp_path)), [f"http://{i}.gone.test/x" for i in range(60)], chosen)
    assert not (tmp_path / "images").exists()


def test_names_that_turn_to_private_addresses_are_refused_where_the_connection_is_made() -> None:
    answers = [["93.184.216.34", "10.0.0.1"], ["127.0.0.1"], ["::ffff:192.168.0.1", "169.254.169.254"]]

    async def look_up() -> list:
        resolver, found = PublicResolver({}), []

        async def resolve(host: str, port: int, family: object) -> list:
            return [{"host": address} for address in answers.pop(0)]

        resolver.resolver.resolve = resolve  # type: ignore[method-assign]
        for _ in range(3):
            try:
                found.append([result["host"] for result in await resolver.resolve("rebinding.test", 80)])
            except Refused as refusal:
                found.append(refusal.error)
        return found

    assert asyncio.run(look_up()) == [["93.184.216.34"], "refused_address", "refused_address"]


def crawl(hosts: list[str], chosen: FetchSettings, answer) -> tuple[list[int], int, Frontier]:
    """(URLs in the order they ended, most at once at one host, the frontier)."""
    ended, active, most = [], Counter(), [0]

    async def run() -> Frontier:
        frontier = Frontier(hosts, chosen)

        async def worker() -> None:
            while (index := await frontier.take()) is not None:
                active[hosts[index]] += 1
                most[0] = max(most[0], active[hosts[index]])
                error = HOST_DOWN if frontier.is_down(index) else await answer(index)
                active[hosts[index]] -= 1
                if frontier.ended(index, error, may_heal=error in ("timeout", "http_5xx"), pause=None):
                    ended.append(index)

        await asyncio.gather(*(worker() for _ in range(chosen.concurrency)))
        return frontier

    frontier = asyncio.run(run())
    return ended, most[0], frontier


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60), st.integers(1, 3), st.integers(0, 2))
def test_every_url_ends_once_and_no_host_is_asked_too_much(urls: list, per_host: int, retries: int) -> None:
    hosts = [f"{host}.test" for host, _ in urls]
    chosen = FetchSettings(per_host=per_host, retries=retries, concurrency=7, breaker=10_000)
    tries: Counter = Counter()

    async def answer(index: int) -> str | None:
        tries[index] += 1
        await asyncio.sleep(0)
        return "timeout" if urls[index][1] else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frontier_module, "BACKOFF", 0.0001)
        ended, most, _ = crawl(hosts, chosen, answer)
    assert sorted(ended) == list(range(len(urls))) and most <= per_host
    assert all(tries[index] == (1 + retries if fails else 1) for index, (_, fails) in enumerate(urls))


def test_a_host_that_stays_down_is_given_up_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontier_module, "REST", 0.02)
    hosts = ["down.test"] * 500 + ["up.test"] * 50
    asked: Counter = Counter()

    async def answer(index: int) -> str | None:
        asked[hosts[index]] += 1
        return "connect" if index < 500 else None

    ended, _, frontier = crawl(hosts, FetchSettings(breaker=5, per_host=4, retries=0), answer)
    assert len(ended) == 550 and asked["up.test"] == 50 and asked["down.test"] <= 5 + 4 + frontier_module.PROBES + 1
    assert frontier.is_down(0) and not frontier.is_down(549)


def test_a_host_that_comes_back_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontier_module, "REST", 0.02)
    answers = []

    async def answer(index: int) -> str | None:
        answers.append("http_5xx" if len(answers) < 12 else None)
        return answers[-1]

    chosen = FetchSettings(breaker=10, per_host=2, retries=1)
    ended, _, frontier = crawl(["a.test"] * 40, chosen, answer)
    assert len(ended) == 40 and not frontier.is_down(0) and answers.count(None) == 40


def test_a_rate_and_a_crawl_delay_are_kept() -> None:
    times: list[float] = []

    async def answer(index: int) -> str | None:
        times.append(time.monotonic())
        return None

    crawl(["a.test"] * 5, FetchSettings(per_host_rate=20, per_host=5), answer)
    assert all(later - earlier > 0.045 for earlier, later in pairwise(times))


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["centre_crop", "border"]), st.integers(1, 64))
def test_squares_are_squares(width: int, height: int, mode: str, size: int) -> None:
    body = encoded(Image.new("RGB", (width, height), "red"), "PNG")
    made = Image.open(io.BytesIO(stored_of(body, FetchSettings(resize=mode, size=size)).data))
    side = size if mode == "border" else min(size, width, height)
    assert made.size == (side, side)
    if min(width, height) >= 16 and side >= 16 and max(width, height) < 3 * min(width, height):
        red, green, blue = made.getpixel((side // 2, side // 2))  # the picture is in the middle
        assert red > 200 and green < 90 and blue < 90
