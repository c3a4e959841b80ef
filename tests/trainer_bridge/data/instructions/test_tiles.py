"""Dynamic resolution: the published choice of grids, tiles in their places, scaled decoding."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.data.instructions.tiles import TileRule, decode_tiles, tile_grid


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("width", "height", "most", "grid"),
    [
        (600, 600, 6, (1, 1)),  # Mono-InternVL, figure 5
        (1024, 768, 6, (3, 2)),
        (640, 480, 4, (1, 1)),
        (1024, 768, 12, (4, 3)),
        (1000, 1000, 24, (3, 3)),
        (2480, 3508, 24, (4, 6)),
        (448, 448, 12, (1, 1)),
        (633, 634, 12, (1, 1)),  # of equal grids the larger needs more than half its pixels
        (634, 634, 12, (2, 2)),
        (10_000, 10, 12, (12, 1)),
        (10, 10_000, 12, (1, 12)),
    ],
)
def test_grids_of_worked_examples(width: int, height: int, most: int, grid: tuple[int, int]) -> None:
    assert tile_grid(width, height, 1, most) == grid


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 4), st.integers(0, 20), st.sampled_from([16, 448]))
def test_grids_are_those_of_transformers(width: int, height: int, least: int, more: int, side: int) -> None:
    define_missing_operators()
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

    theirs = get_optimal_tiled_canvas((height, width), (side, side), least, least + more)
    assert tile_grid(width, height, least, least + more, side) == theirs


def test_pictures_of_a_conversation_share_the_tiles() -> None:
    rule = TileRule(448, 2, 12)
    assert [rule.shared(pictures).most for pictures in (0, 1, 2, 5, 12, 40)] == [12, 12, 6, 2, 1, 1]
    assert rule.shared(40).least == 1


def test_tiles_lie_row_by_row_with_the_thumbnail_last() -> None:
    colours = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    picture = Image.fromarray(np.kron(colours, np.ones((16, 16), np.uint8))).convert("RGB")
    tiles = decode_tiles(encoded(picture), TileRule(16, 1, 6))
    assert tiles.shape == (7, 3, 16, 16) and tiles.dtype == np.uint8
    assert [int(np.median(tile)) for tile in tiles[:6]] == colours.ravel().tolist()
    assert abs(float(tiles[6].mean()) - colours.mean()) < 2


def test_tiles_are_pillows_to_within_two_levels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8)
    picture = Image.fromarray(pixels).resize((260, 180), Image.Resampling.BICUBIC)
    tiles = decode_tiles(encoded(picture), TileRule(32, 1, 12)).astype(int)
    columns, rows = tile_grid(260, 180, 1, 12, 32)
    for number, tile in enumerate(tiles):
        whole = picture.resize((columns * 32, rows * 32), Image.Resampling.BICUBIC)
        row, column = divmod(number, columns)
        theirs = whole.crop((column * 32, row * 32, column * 32 + 32, row * 32 + 32))
        if number == columns * rows:
            theirs = picture.resize((32, 32), Image.Resampling.BICUBIC)
        assert np.abs(tile - np.asarray(theirs, int).transpose(2, 0, 1)).max() <= 2


def test_a_jpeg_on_its_side_is_cut_upright_at_a_smaller_scale() -> None:
    colours = np.kron(np.array([[250, 10], [250, 10], [250, 10]], np.uint8), np.ones((200, 200), np.uint8))
    picture = Image.fromarray(colours).convert("RGB")  # 400 wide, 600 high; turned by 90 degrees it is 600 wide
    exif = Image.Exif()
    exif[0x0112] = 6
    tiles = decode_tiles(encoded(picture, "JPEG", exif=exif), TileRule(32, 1, 6))
    assert tiles.shape == (7, 3, 32, 32)
    assert [round(float(tile.mean()), -1) for tile in tiles[:6]] == [250] * 3 + [10] * 3
