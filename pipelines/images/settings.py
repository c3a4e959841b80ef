"""How a downloaded image is checked, resized and encoded; part of the section `[fetch]` of a recipe."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from infra.compat.settings import Section

MAX_SIDE = 65_500  # pixels of a JPEG that libjpeg writes
MOST_PIXELS = 178_956_970  # that sharding/decode.py takes: a stored picture that no other job could read would be of no use


class ImageSettings(Section):
    """Limits of what is decoded, and the form in which it is stored.

    max_pixels   width times height; larger images are not decoded; at most 178 956 970, which all other jobs read
    decode_memory  bytes that the images being decoded in one process may take together: large ones wait for each other, and one
                 that alone needs more is refused (too_many_pixels). A pixel takes 10 bytes in a JPEG, 20 in other formats, 32
                 with transparency
    resize       keep: the original bytes; the shorter or longer side at `size`; centre_crop and border: squares
    size         pixels; an image that is still longer than a JPEG can be, 65 500, when scaled is unsupported_image
    quality      of the JPEGs that are written, 1 … 100
    pdq          also compute PDQ, a 256-bit hash of a picture's looks: `dedup` then finds pictures of evaluation sets by it
    verify_hash  reject an image whose bytes do not have the hash that its publisher gives
    """

    max_pixels: int = Field(100_000_000, ge=1, le=MOST_PIXELS)
    decode_memory: int = Field(2 << 30, ge=1 << 20)
    resize: Literal["keep", "shorter_side", "longer_side", "centre_crop", "border"] = "shorter_side"
    size: int = Field(512, ge=1, le=MAX_SIDE)
    quality: int = Field(92, ge=1, le=100)
    pdq: bool = True
    verify_hash: bool = True

    def result_settings(self) -> dict[str, Any]:
        """The settings that decide what is stored: changing them needs --redo."""
        return self.model_dump(include={"resize", "size", "quality"})
