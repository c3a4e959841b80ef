"""A picture whose file says another size than its coded picture has is refused before a pixel is decoded."""

import contextlib
import io
import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.images.identify import RejectedImage, identify
from pipelines.images.settings import ImageSettings
from sharding.avif_sizes import avif_sizes
from sharding.coded_size import has_coded_size
from sharding.decode import decode_picture
from tests.support.images import encoded, smooth, stored_of

SIDE = 64
COLOUR = smooth(SIDE, SIDE)
CLEAR = COLOUR.copy()
CLEAR.putalpha(128)
FRAMES = {"save_all": True, "append_images": [COLOUR.rotate(90)]}
AVIFS = {
    "one": encoded(COLOUR, "AVIF", speed=10),
    "with alpha": encoded(CLEAR, "AVIF", speed=10),
    "film": encoded(COLOUR, "AVIF", speed=10, **FRAMES),
}
LIES = [size for size in itertools.product((SIDE // 2, SIDE, 2 * SIDE, 16_384), repeat=2) if size != (SIDE, SIDE)]


def opened_sizes(body: bytes) -> bool:
    return has_coded_size(body, Image.open(io.BytesIO(body)))


def refused(body: bytes) -> bool:
    """Whether fetch, and the decoder of all other jobs, refuse the body before they decode it."""
    with pytest.raises(RejectedImage, match=r"corrupt_image|too_many_pixels|truncated"):
        identify(body, ImageSettings())
    with pytest.raises(ValueError, match="not a picture"):
        decode_picture(body)
    return True


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 300), st.integers(1, 300), st.booleans(), st.sampled_from(["4:2:0", "4:4:4"]))
def test_the_sizes_of_a_sound_avif_agree(width: int, height: int, has_alpha: bool, subsampling: str) -> None:
    image = smooth(width, height)
    if has_alpha:
        image.putalpha(99)
    sizes = avif_sizes(encoded(image, "AVIF", speed=10, subsampling=subsampling))
    assert sizes == [((width, height), (width, height))] * (2 if has_alpha else 1)


@pytest.mark.parametrize("kind", AVIFS)
def test_sound_avifs_of_all_kinds_are_stored(kind: str) -> None:
    stored = stored_of(AVIFS[kind], ImageSettings(size=32))
    assert (stored.width, stored.height) == (SIDE, SIDE)


def places_of_sizes(body: bytes) -> list[int]:
    """Where the boxes `ispe` have their widths."""
    return [at + 8 for at in range(len(body)) if body.startswith(b"ispe", at)]


@pytest.mark.parametrize("size", LIES)
@pytest.mark.parametrize("kind", ["one", "with alpha"])
def test_an_avif_whose_container_lies_is_refused(kind: str, size: tuple[int, int]) -> None:
    for place in places_of_sizes(AVIFS[kind]):
        body = AVIFS[kind]
        body = body[:place] + struct.pack(">II", *size) + body[place + 8 :]
        assert refused(body)


@pytest.mark.parametrize("size", LIES[:6])
def test_an_avif_film_whose_track_lies_is_refused(size: tuple[int, int]) -> None:
    body = AVIFS["film"]
    start = body.index(b"tkhd") - 4
    place = start + int.from_bytes(body[start : start + 4], "big") - 8
    assert body[place : place + 8] == struct.pack(">II", SIDE << 16, SIDE << 16)
    assert refused(body[:place] + struct.pack(">II", size[0] << 16, size[1] << 16) + body[place + 8 :])


def with_sequence_header(body: bytes, width: int, height: int) -> bytes:
    """The AVIF with the size of the coded picture changed: as many bits as before."""
    start = body.index(b"\x0a", body.index(b"mdat")) + 2  # behind the header of the first OBU that is a sequence header
    bits = int.from_bytes(body[start : start + 8], "big")
    assert bits >> 59 == 0b00011  # profile 0, a still picture with a reduced header
    width_bits, height_bits = (bits >> 50 & 15) + 1, (bits >> 46 & 15) + 1
    place = 46 - width_bits - height_bits
    size = (width - 1) << height_bits | (height - 1)
    bits = bits & ~(((1 << width_bits + height_bits) - 1) << place) | size << place
    return body[:start] + bits.to_bytes(8, "big") + body[start + 8 :]


@pytest.mark.parametrize("size", [(SIDE // 2, SIDE), (SIDE, SIDE // 2), (1, 1), (SIDE - 1, SIDE)])
def test_an_avif_whose_coded_picture_lies_is_refused(size: tuple[int, int]) -> None:
    body = AVIFS["one"]
    assert with_sequence_header(body, SIDE, SIDE) == body
    assert refused(with_sequence_header(body, *size))


def test_an_avif_of_another_sequence_header_behind_the_first_is_refused() -> None:
    small, large = AVIFS["one"], encoded(smooth(200, 200), "AVIF", speed=10)
    start = small.index(b"mdat") + 4
    length, added = len(small) - start, large[large.index(b"mdat") + 4 :]
    body = bytearray(small + added)
    of_item = small.index(struct.pack(">I", length), small.index(b"iloc"))
    body[of_item : of_item + 4] = struct.pack(">I", length + len(added))
    body[start - 8 : start - 4] = struct.pack(">I", length + len(added) + 8)
    assert avif_sizes(bytes(body)) == [((SIDE, SIDE), (SIDE, SIDE)), ((SIDE, SIDE), (200, 200))]
    assert refused(bytes(body))


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(AVIFS)), st.data())
def test_any_bytes_have_sizes_or_none(kind: str, data: st.DataObject) -> None:
    body = bytearray(AVIFS[kind][: data.draw(st.integers(0, len(AVIFS[kind])))])
    for place in data.draw(st.lists(st.integers(0, 700), max_size=6)):
        if place < len(body):
            body[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        assert all(len(declared) == len(coded) == 2 for declared, coded in avif_sizes(bytes(body)))


def test_an_item_that_cannot_be_read_is_not_believed() -> None:
    """A second item whose data is said to lie in another item: one decoder may read it, and this one does not."""
    body = bytearray(AVIFS["with alpha"])
    iloc = body.index(b"iloc")
    assert body[iloc + 4] == 0  # a version without that possibility: an extent beyond the file does the same
    extents = [at for at in range(iloc, body.index(b"iinf")) if int.from_bytes(body[at : at + 2], "big") == 1]
    body[extents[-1] + 2 : extents[-1] + 6] = struct.pack(">I", len(body) * 2)
    with pytest.raises(ValueError, match="no sequence header"):
        avif_sizes(bytes(body))
    with pytest.raises(RejectedImage):
        identify(bytes(body), ImageSettings())


def with_tags(tiff: bytes, **values: int) -> bytes:
    """A TIFF of Pillow's with other values of some of its tags."""
    tags = {"width": 256, "height": 257, "rows": 278}
    body = bytearray(tiff)
    (at,) = struct.unpack_from("<I", body, 4)
    (count,) = struct.unpack_from("<H", body, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        for name, value in values.items():
            if struct.unpack_from("<H", body, entry)[0] == tags[name]:
                struct.pack_into("<HHII", body, entry, tags[name], 4, 1, value)
    return bytes(body)


@pytest.mark.parametrize("compression", ["raw", "jpeg"])
@pytest.mark.parametrize("width, height", [(32, 64), (64, 32), (128, 64), (64, 128), (32, 128), (4000, 4000)])
def test_a_tiff_whose_tags_lie_is_refused(compression: str, width: int, height: int) -> None:
    sound = encoded(COLOUR, "TIFF", **({"compression": "jpeg"} if compression == "jpeg" else {}))
    lying = with_tags(sound, width=width, height=height, rows=height)
    if compression == "jpeg" or width * height < SIDE * SIDE:
        assert refused(lying)
    elif (width, height) != (32, 128):  # of as many bytes
        with pytest.raises(RejectedImage, match="truncated"):
            stored_of(lying, ImageSettings())


@pytest.mark.parametrize("compression", [None, "jpeg", "tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "CMYK"])
@pytest.mark.parametrize("size", [(SIDE, SIDE), (301, 500), (1, 1)])
def test_sound_tiffs_have_the_coded_size(compression: str | None, mode: str, size: tuple[int, int]) -> None:
    if compression == "jpeg" and mode == "1":
        return
    image = smooth(*size).convert(mode)
    for strip in (8 * size[0] * len(image.getbands()), 65536):
        options = {"compression": compression, "strip_size": strip} if compression else {}
        assert opened_sizes(encoded(image, "TIFF", **options))


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP", "BMP", "JPEG"])
def test_formats_that_say_their_size_once_are_believed(format: str) -> None:
    assert opened_sizes(encoded(COLOUR, format))
