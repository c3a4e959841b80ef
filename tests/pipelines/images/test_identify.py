"""A body is judged by its content before a pixel is decoded."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from pipelines.images import settings
from pipelines.images.identify import MAX_SCANS, RejectedImage, identify
from pipelines.images.settings import ImageSettings
from sharding import decode
from tests.support import hostile_web
from tests.support.images import encoded, smooth, stored_of, turned_exif


def test_a_jpeg_of_countless_scans_is_rejected_before_decoding() -> None:
    body = hostile_web.scans_over_and_over(800, MAX_SCANS)
    assert len(body) < 30_000
    with pytest.raises(RejectedImage, match="too_many_scans"):
        identify(body, ImageSettings())
    usual = encoded(smooth(300, 200), "JPEG", progressive=True)
    assert (stored_of(usual, ImageSettings(size=32)).width, identify(usual, ImageSettings()).decodes_quickly) == (300, False)


def test_no_picture_is_stored_that_other_jobs_would_not_decode() -> None:
    assert ImageSettings(max_pixels=settings.MOST_PIXELS).max_pixels == decode.MOST_PIXELS
    with pytest.raises(ValidationError, match="less than or equal to 178956970"):
        ImageSettings(max_pixels=decode.MOST_PIXELS + 1)


def colour_by_colour(side: int, times: int) -> bytes:
    """A sequential JPEG with a scan for the first colour, of a few bytes, that is repeated."""
    body = encoded(Image.new("RGB", (side, side), "teal"), "JPEG", subsampling=0)
    return body[: body.index(b"\xff\xda")] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * times + b"\xff\xd9"


def test_countless_scans_are_rejected_in_sequential_jpegs_too() -> None:
    for comment in (b"", b"\xff\xfe\x00\x04\xff\xd9"):  # a comment that looks like the end
        body = colour_by_colour(800, MAX_SCANS + 1).replace(b"\xff\xda", comment + b"\xff\xda")
        assert identify_error(body) == "too_many_scans"
    assert identify_error(colour_by_colour(800, MAX_SCANS)) is None
    assert not identify(colour_by_colour(800, 3), ImageSettings()).decodes_quickly


def test_scans_in_what_lies_behind_a_jpeg_are_not_counted() -> None:
    film = b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x08" * 300
    for options in ({"progressive": True}, {"exif": turned_exif()}, {}):
        assert identify_error(encoded(smooth(300, 200), "JPEG", **options) + film) is None


def identify_error(body: bytes) -> str | None:
    try:
        identify(body, ImageSettings())
    except RejectedImage as rejected:
        return rejected.error
    return None


def test_only_small_sequential_jpegs_decode_quickly() -> None:
    body = encoded(smooth(300, 200), "JPEG")
    assert identify(body, ImageSettings()).decodes_quickly
    assert not identify(encoded(smooth(300, 200), "PNG"), ImageSettings()).decodes_quickly
    assert not identify(encoded(Image.new("L", (4000, 1001)), "JPEG"), ImageSettings()).decodes_quickly


def test_the_mime_type_needs_no_plugin_of_pillow(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(encoded(smooth(90, 60), "JPEG"))
    code = (
        "import sys; from pathlib import Path; from pipelines.images.settings import ImageSettings; settings = ImageSettings();"
        "from pipelines.images.identify import identify; from pipelines.images.prepare import prepare;"
        "print(prepare(identify(Path(sys.argv[1]).read_bytes(), settings), settings).mime)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "image")], capture_output=True, text=True, check=True)
    assert done.stdout == "image/jpeg\n"


def test_plain_jpegs_are_identified_without_pillow() -> None:
    for mode in ("RGB", "L"):
        image = identify(encoded(smooth(300, 200).convert(mode), "JPEG"), ImageSettings())
        assert (image.opened, image.width, image.height) == (None, 300, 200)
    for options in ({"exif": turned_exif()}, {"progressive": True}):
        assert identify(encoded(smooth(300, 200), "JPEG", **options), ImageSettings()).opened is not None
