"""A picture of the demo is the same bytes in every run, or it is left out."""

from pathlib import Path

import pytest
import resvg_py

from pipelines.demo_corpus.corpus import Picture
from pipelines.demo_corpus.render import encode, render

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40">{}</svg>'


def drawn(tmp_path: Path, body: str) -> Picture:
    path = tmp_path / "drawing.svg"
    path.write_text(SVG.format(body))
    return Picture("site/drawing", str(path), "", (("en", "A drawing."),))


def test_a_drawing_of_shapes_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    picture = drawn(tmp_path, '<circle cx="30" cy="20" r="15" fill="red"/>')
    first, second = render(picture), render(picture)
    assert first is not None and second is not None and encode(first, "png") == encode(second, "png")


def test_a_drawing_that_depends_on_the_machines_fonts_is_left_out(tmp_path: Path) -> None:
    picture = drawn(tmp_path, '<text x="5" y="30" font-family="DejaVu Sans" font-size="20">Ag</text><rect width="4" height="4"/>')
    drawings = {
        bytes(resvg_py.svg_to_bytes(svg_path=picture.file, width=480, skip_system_fonts=skip_fonts))
        for skip_fonts in (False, True)
    }
    if len(drawings) == 1:
        pytest.skip("no font of this machine draws the text")
    assert render(picture) is None


def test_a_file_that_is_no_drawing_is_left_out(tmp_path: Path) -> None:
    picture = drawn(tmp_path, "<circle")
    assert render(picture) is None
