"""No damaged file raises anything but its class, crashes, hangs, or takes more memory than its pixels need."""

import json
import subprocess
import sys

import pytest

from pipelines.images.identify import RejectedImage
from pipelines.images.settings import MAX_SIDE, ImageSettings
from tests import ROOT
from tests.support.images import encoded, smooth, stored_of
from tests.support.mutants import grey_local_palette, seeds


@pytest.mark.parametrize("count", [600, pytest.param(60_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_every_mutant_of_every_format_is_stored_or_has_a_class(count: int) -> None:
    command = [sys.executable, "-m", "tests.support.mutants", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=1500)
    assert done.returncode == 0, f"a decoder crashed the process: status {done.returncode}"
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert "raised" not in outcome, outcome
    assert sum(outcome["classes"].values()) == 3 * count
    assert {"ok", "truncated", "not_an_image", "too_many_pixels"} <= set(outcome["classes"])
    assert outcome["slowest"] < 10 and outcome["grown_mib"] < 200  # 4 megapixels of 32 bytes, and what malloc keeps


def test_the_seeds_of_the_mutants_are_sound_images_of_all_formats() -> None:
    stored = [stored_of(body, ImageSettings(resize="keep")) for body in seeds().values()]
    assert {image.extension for image in stored} == {"png", "gif", "jpg", "webp", "avif", "tif", "bmp"}


@pytest.mark.parametrize("size", [(MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)])
@pytest.mark.parametrize("resize, error", [("shorter_side", "unsupported_image"), ("longer_side", None), ("keep", None)])
def test_an_image_that_stays_longer_than_a_jpeg_can_be_has_a_class(size: tuple[int, int], resize: str, error: str | None) -> None:
    body = encoded(smooth(1, 1).resize(size), "PNG")
    try:
        stored = stored_of(body, ImageSettings(resize=resize))
        assert error is None and (stored.width, stored.height) == size
    except RejectedImage as rejected:
        assert rejected.error == error


@pytest.mark.parametrize("resize", ["keep", "shorter_side"])
def test_a_gif_whose_local_palette_is_the_grey_ramp_has_a_class_at_most(resize: str) -> None:
    try:
        assert stored_of(grey_local_palette(), ImageSettings(resize=resize)).width == 1
    except RejectedImage as rejected:
        assert rejected.error == "unsupported_image"
