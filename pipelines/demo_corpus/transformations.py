"""What happens to a picture on its way through the web, each as a function of pixels: RGB picture → RGB picture."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from pipelines.corpus.variants import Transformation, bordered, cropped, scaled


def jpeg(quality: int) -> Transformation:
    """Encoded as JPEG of that quality."""
    return lambda image: _encoded(image, "JPEG", quality=quality)


def gamma(power: float) -> Transformation:
    """Its values, 0 … 1, to a power."""
    table = [round(255 * (value / 255) ** power) for value in range(256)] * 3
    return lambda image: image.point(table)


def with_bar(share: float) -> Transformation:
    """With a black bar with words below, a share of its height."""

    def add(image: Image.Image) -> Image.Image:
        height = max(12, round(image.height * share))
        whole = Image.new("RGB", (image.width, image.height + height), "black")
        whole.paste(image)
        ImageDraw.Draw(whole).text((6, image.height + height // 4), "A caption of this picture", "white")
        return whole

    return add


def with_logo(share: float) -> Transformation:
    """With a red label in a corner, a share of each side."""

    def add(image: Image.Image) -> Image.Image:
        whole = image.copy()
        width, height = round(image.width * share), round(image.height * share * 0.6)
        box = (image.width - width - 4, image.height - height - 4, image.width - 4, image.height - 4)
        pen = ImageDraw.Draw(whole)
        pen.rectangle(box, "#c22")
        pen.text((box[0] + 3, box[1] + 3), "LOGO", "white")
        return whole

    return add


def _encoded(image: Image.Image, form: str, **options: int) -> Image.Image:
    data = io.BytesIO()
    image.save(data, form, **options)
    return Image.open(data).convert("RGB")


def _blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(max(image.size) / 256))


TRANSFORMATIONS: dict[str, Transformation] = {
    "jpeg_30": jpeg(30),
    "quarter": scaled(0.25),
    "double": scaled(2),
    "webp": lambda image: _encoded(image, "WEBP", quality=80),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    "more_contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.1),
    "less_contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.9),
    "gamma_0.9": gamma(0.9),
    "gamma_1.1": gamma(1.1),
    "blur": _blurred,
    "border_white": bordered(0.02, "white"),
    "border_black": bordered(0.02, "black"),
    "crop_middle": cropped(0.9, 0.5, 0.5),
    "crop_corner": cropped(0.9, 0.2, 0.8),
    "logo": with_logo(0.2),
    "bar": with_bar(0.12),
    "mirrored": ImageOps.mirror,
}
