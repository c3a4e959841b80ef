"""What is exported are the bytes that were fetched, of a known type."""

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.exporting.pictures import LostPicture, exported_picture
from pipelines.exporting.reading import read_pictures
from pipelines.manifest.pictures import StoredPicture, checksum_of
from pipelines.manifest.storage import Storage


def encoded(format: str, mode: str = "RGB", **options: object) -> bytes:
    data = io.BytesIO()
    Image.new(mode, (40, 20), "red" if mode != "RGBA" else (255, 0, 0, 128)).save(data, format, **options)
    return data.getvalue()


PICTURES = {
    "jpg": encoded("JPEG"),
    "png": encoded("PNG"),
    "webp": encoded("WEBP"),
    "gif": encoded("GIF", "P"),
    "bmp": encoded("BMP"),
    "tif": encoded("TIFF"),
    "avif": encoded("AVIF"),
}


def place(length: int, checksum: int | None) -> StoredPicture:
    return StoredPicture("a.tar", 3, length, checksum)


def exported(storage: Storage, place: StoredPicture, pictures: str, types: Sequence[str]) -> bytes:
    (data,) = read_pictures(storage, [place], 1 << 20)
    if isinstance(data, LostPicture):
        raise data
    return exported_picture(data, pictures, types)


def reason(storage: Storage, place: StoredPicture, pictures: str = "mixed", types: Sequence[str] = ()) -> str:
    with pytest.raises(LostPicture) as lost:
        exported(storage, place, pictures, types)
    return str(lost.value)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(PICTURES)), st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_any_changed_byte_is_seen(
    tmp_path_factory: pytest.TempPathFactory, ending: str, where: int, flip: int, cut: bool
) -> None:
    storage, data = Storage(str(tmp_path_factory.mktemp("pictures"))), PICTURES[ending]
    storage.write("a.tar", b"xxx" + data + b"yyy")
    assert exported(storage, place(len(data), checksum_of(data)), "stored", [ending]) == data
    where %= len(data)
    damaged = data[:where] if cut else data[:where] + bytes([data[where] ^ flip]) + data[where + 1 :]
    storage.write("a.tar", b"xxx" + damaged)
    assert reason(storage, place(len(data), checksum_of(data))) == "changed"


def test_what_is_no_picture_of_the_exports_type_has_a_reason(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    assert reason(storage, place(5, None)) == "missing"
    for body in (b"<html>", b"", b"RIFF\0\0\0\0WAVE", b"\0\0\0 ftypisom", b"%PDF-1.4"):
        storage.write("a.tar", b"xxx" + body)
        assert reason(storage, place(len(body), None)) == "not_an_image"
    storage.write("a.tar", b"xxx" + PICTURES["png"])
    assert reason(storage, place(len(PICTURES["png"]), None), "stored", ("jpg",)) == "another_type"
    storage.write("a.tar", b"xxx" + PICTURES["png"][:60])
    assert reason(storage, place(60, None), "jpg") == "undecodable"


@pytest.mark.parametrize("width, target", [(65_501, "jpg"), (16_384, "webp")])
def test_a_picture_longer_than_its_type_can_be_costs_no_other(tmp_path: Path, width: int, target: str) -> None:
    storage, data = Storage(str(tmp_path)), io.BytesIO()
    Image.new("L", (width, 1)).save(data, "PNG")
    storage.write("a.tar", b"xxx" + data.getvalue())
    assert reason(storage, place(len(data.getvalue()), None), target) == "unencodable"


@pytest.mark.parametrize("target", ["jpg", "png", "webp"])
def test_pictures_of_another_type_are_encoded_anew_and_those_of_the_type_kept(tmp_path: Path, target: str) -> None:
    storage = Storage(str(tmp_path))
    for ending, data in PICTURES.items():
        storage.write("a.tar", b"xxx" + data)
        data_out = exported(storage, place(len(data), checksum_of(data)), target, ())
        if ending == target:
            assert data_out == data
        image = Image.open(io.BytesIO(data_out))
        assert image.format == {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[target] and image.size == (40, 20)
        assert max(abs(a - b) for a, b in zip(image.convert("RGB").getpixel((20, 10)), (255, 0, 0), strict=True)) < 12


def test_an_encoded_picture_is_upright_and_over_white(tmp_path: Path) -> None:
    storage, exif = Storage(str(tmp_path)), Image.Exif()
    exif[0x0112] = 6
    for data in (encoded("WEBP", exif=exif), encoded("PNG", "RGBA")):
        storage.write("a.tar", b"xxx" + data)
        image = Image.open(io.BytesIO(exported(storage, place(len(data), None), "jpg", ())))
        assert image.size == ((20, 40) if data[:4] == b"RIFF" else (40, 20)) and image.getexif().get(0x0112, 1) == 1
    assert image.getpixel((5, 5))[1] in range(120, 135)
