"""A body that cannot be decoded has the class of its fault: cut off, damaged, of another format, or no image."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.images.containers import error_class, has_text_inside
from pipelines.images.identify import RejectedImage
from pipelines.images.settings import ImageSettings
from tests.support.images import encoded, smooth, stored_of

SETTINGS = ImageSettings(size=64)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
BODIES = {format: encoded(NOISE, format) for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")}

FOREIGN = [b"<html><body>502 Bad Gateway</body></html>\r\n" * 6, b"\0" * 700, b"A" * 300]


def error_of(body: bytes) -> str | None:
    try:
        stored_of(body, SETTINGS)
    except RejectedImage as rejected:
        return rejected.error
    return None


@pytest.mark.parametrize("format", BODIES)
@settings(deadline=None, max_examples=25)
@given(share=st.floats(0.02, 0.97))
def test_a_cut_image_is_truncated(format: str, share: float) -> None:
    body = BODIES[format]
    assert error_of(body) is None
    assert error_of(body[: max(64, int(len(body) * share))]) == "truncated"


def test_a_wrong_checksum_is_no_cut() -> None:
    png = BODIES["PNG"]
    at = png.index(b"IDAT") + 200
    assert error_of(png[:at] + bytes([png[at] ^ 255]) + png[at + 1 :]) == "corrupt_image"
    # A whole chunk with a right CRC, whose zlib stream has a wrong one.
    body = zlib.compress(b"\0" + bytes(8))[:-1] + b"\x99"
    header = struct.pack(">IIBBBBB", 8, 1, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    whole = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    assert error_of(whole) in (None, "corrupt_image")  # what is shown is whole; Pillow need not look at the sum


@settings(deadline=None, max_examples=60)
@given(st.floats(0.2, 0.8), st.sampled_from(FOREIGN), st.booleans())
def test_a_jpeg_with_foreign_bytes_in_its_middle_is_refused(share: float, foreign: bytes, replaced: bool) -> None:
    body = encoded(smooth(400, 300), "JPEG", quality=95) if share > 0.5 else BODIES["JPEG"]
    place = int(len(body) * share)
    spliced = body[:place] + foreign + body[place + (len(foreign) if replaced else 0) :]
    assert error_of(spliced) == "corrupt_image"


def test_a_jpeg_with_two_merged_halves_is_refused_and_one_with_padding_is_not() -> None:
    body = BODIES["JPEG"]
    half = len(body) // 2
    assert error_of(body[:half] + body) in ("corrupt_image", "truncated")
    assert error_of(body[:half] + body[half // 2 :]) == "corrupt_image"
    assert error_of(body + b"appended by a camera" * 50) is None
    assert error_of(body[:-2] + bytes(40) + body[-2:]) is None


def segment(kind: int, data: bytes) -> bytes:
    return b"\xff" + bytes([kind]) + struct.pack(">H", len(data) + 2) + data


XMP = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + b"<rdf:li>a gain map or a long description</rdf:li>" * 20)
EXIF = segment(0xE1, b"Exif\0\0" + Image.Exif().tobytes())
JFIF, THUMBNAIL = 20, encoded(smooth(40, 30), "JPEG")  # SOI and the header of JFIF


def with_segments(body: bytes, *segments: bytes) -> bytes:
    return body[:JFIF] + b"".join(segments) + body[JFIF:]


TEXT_ELSEWHERE = {
    "a gain map behind it": BODIES["JPEG"] + with_segments(THUMBNAIL, XMP),
    "a gain map behind it, EXIF": with_segments(BODIES["JPEG"], EXIF) + with_segments(THUMBNAIL, XMP),
    "a thumbnail of Photoshop before XMP": with_segments(BODIES["JPEG"], segment(0xED, b"8BIM" + THUMBNAIL), XMP),
    "a thumbnail in EXIF before XMP": with_segments(BODIES["JPEG"], segment(0xE1, EXIF[4:] + THUMBNAIL), XMP),
    "fill bytes between segments": with_segments(BODIES["JPEG"], segment(0xED, THUMBNAIL), b"\xff" * 9, XMP),
}


@pytest.mark.parametrize("kind", TEXT_ELSEWHERE)
def test_text_before_the_pixels_or_behind_them_is_not_inside(kind: str) -> None:
    assert error_of(TEXT_ELSEWHERE[kind]) is None


@pytest.mark.parametrize("kind", TEXT_ELSEWHERE)
@pytest.mark.parametrize("foreign", FOREIGN[::2])
def test_foreign_bytes_are_found_whatever_else_holds_text(kind: str, foreign: bytes) -> None:
    pixels = BODIES["JPEG"][BODIES["JPEG"].index(b"\xff\xda") :]
    place = TEXT_ELSEWHERE[kind].index(pixels) + len(pixels) // 2
    spliced = TEXT_ELSEWHERE[kind][:place] + foreign + TEXT_ELSEWHERE[kind][place + len(foreign) :]
    assert error_of(spliced) == "corrupt_image"


RANDOM = np.random.default_rng(1).integers(0, 254, 4000, np.uint8).tobytes()  # coded pixels without a marker
TEXTS = st.text(st.sampled_from("Error 502\t\r\n~"), min_size=1, max_size=20).map(lambda text: (text.encode() * 500)[:500])


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 3000), TEXTS, st.integers(0, 500), st.none() | st.integers(0, 500))
def test_text_inside_is_found_from_192_characters_on_and_never_below(
    place: int, text: bytes, length: int, interrupted: int | None
) -> None:
    foreign = text[:length]
    runs = [length]
    if interrupted is not None and interrupted < length:
        foreign = foreign[:interrupted] + b"\x80" + foreign[interrupted + 1 :]
        runs = [interrupted, length - interrupted - 1]
    pixels = RANDOM[:place] + b"\x80" + foreign + b"\x80" + RANDOM[place:]
    inside = has_text_inside(BODIES["JPEG"][: BODIES["JPEG"].index(b"\xff\xda") + 10] + pixels + b"\xff\xd9")
    assert inside == (max(runs) >= 192)


UNSUPPORTED = {
    "TGA": encoded(NOISE, "TGA"),
    "TGA, packed": encoded(NOISE, "TGA", compression="tga_rle"),
    "DDS": encoded(NOISE, "DDS"),
    "ICO": encoded(NOISE, "ICO"),
    "PPM": encoded(NOISE, "PPM"),
    "JPEG 2000": encoded(NOISE, "JPEG2000"),
    "JPEG 2000, bare": encoded(NOISE, "JPEG2000", no_jp2=True),
    "PSD": b"8BPS\0\1" + bytes(60),
    "JPEG XL": b"\xff\x0a" + bytes(60),
    "HEIC": b"\0\0\0\x18ftypheic" + bytes(60),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_an_image_of_a_format_that_is_not_read_is_unsupported(kind: str) -> None:
    assert error_of(UNSUPPORTED[kind]) == "unsupported_image"


DOCUMENTS = [b"<html></html>", b"%PDF-1.7\n", b"PK\3\4", b"BMW"]


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.text(min_size=1, max_size=400).map(str.encode), st.sampled_from(DOCUMENTS)))
def test_text_and_documents_are_no_images(body: bytes) -> None:
    if body[:1] != b"P" and body[:1] not in b"\0\1":
        assert error_class(body) == "not_an_image"


@settings(deadline=None, max_examples=500)
@given(st.sampled_from(sorted(BODIES)), st.data())
def test_any_damage_has_a_class(format: str, data: st.DataObject) -> None:
    body = bytearray(BODIES[format][: data.draw(st.integers(0, 600))])
    for place in data.draw(st.lists(st.integers(0, 600), max_size=4)):
        if body:
            body[place % len(body)] = data.draw(st.integers(0, 255))
    assert error_class(bytes(body)) in ("truncated", "corrupt_image", "unsupported_image", "not_an_image")
