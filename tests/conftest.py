"""What tests share: a small corpus of drawn images, its web, Ray on this machine, an S3 server, a small CLIP."""

from __future__ import annotations

import itertools
import os
import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import hypothesis
import pytest
from PIL import Image, ImageDraw

from infra.benchmarks.tools.object_store import bucket, environment, free_port, server
from tests.support.s3 import Faults, faulty

# No test depends on how fast this machine is.
hypothesis.settings.register_profile("loaded", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("loaded")

# Ray's workers inherit the environment that Ray was started with, so the S3 server's address is set before it runs.
S3_PORT = free_port()
os.environ |= environment(S3_PORT)
fsspec.config.set_conf_env(fsspec.config.conf)

SENTENCES = {
    "de": "{colour} {shape} auf weißem Grund, Bild {number}.",
    "fr": "{shape} {colour} sur fond blanc, image {number}.",
    "es": "{shape} {colour} sobre fondo blanco, imagen {number}.",
    "zh_CN": "白色背景上的{colour}{shape}，图{number}。",
    "ru": "{colour} {shape} на белом фоне, рисунок {number}.",
}
LONGEST = ("tests/pipelines/test_demo", "tests/test_contributing")  # minutes each: none of them alone at the end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


SHAPES = {
    "circle": {"de": "Kreis", "fr": "cercle", "es": "círculo", "zh_CN": "圆形", "ru": "круг"},
    "square": {"de": "Quadrat", "fr": "carré", "es": "cuadrado", "zh_CN": "正方形", "ru": "квадрат"},
    "triangle": {"de": "Dreieck", "fr": "triangle", "es": "triángulo", "zh_CN": "三角形", "ru": "треугольник"},
    "cross": {"de": "Kreuz", "fr": "croix", "es": "cruz", "zh_CN": "十字", "ru": "крест"},
}
COLOURS = {
    "red": {"de": "rotes", "fr": "rouge", "es": "rojo", "zh_CN": "红色", "ru": "красный"},
    "green": {"de": "grünes", "fr": "vert", "es": "verde", "zh_CN": "绿色", "ru": "зелёный"},
    "blue": {"de": "blaues", "fr": "bleu", "es": "azul", "zh_CN": "蓝色", "ru": "синий"},
    "orange": {"de": "oranges", "fr": "orange", "es": "naranja", "zh_CN": "橙色", "ru": "оранжевый"},
}


def draw(shape: str, colour: str, rng: random.Random) -> Image.Image:
    """A shape on random clutter, so that no two images look alike."""
    image = Image.new("RGB", (160, 160), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(7):
        x, y = rng.randrange(130), rng.randrange(130)
        pen.rectangle((x, y, x + rng.randrange(10, 60), y + rng.randrange(10, 60)), fill=rng.choice(["#ddd", "#bbb", "#888"]))
    points = {
        "square": [(40, 40), (120, 40), (120, 120), (40, 120)],
        "triangle": [(80, 30), (130, 125), (30, 125)],
        "cross": [
            (65, 30),
            (95, 30),
            (95, 65),
            (130, 65),
            (130, 95),
            (95, 95),
            (95, 130),
            (65, 130),
            (65, 95),
            (30, 95),
            (30, 65),
            (65, 65),
        ],
    }
    if shape == "circle":
        pen.ellipse((40, 40, 120, 120), fill=colour)
    else:
        pen.polygon(points[shape], fill=colour)
    return image


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 64 images, each with a .txt in six languages."""
    folder = tmp_path_factory.mktemp("corpus")
    for number, (shape, colour, place) in enumerate(itertools.product(SHAPES, COLOURS, ("left", "right", "middle", "corner"))):
        stem = folder / f"{number:02d}_{shape}_{colour}"
        draw(shape, colour, random.Random(number)).save(stem.with_suffix(".png"))
        lines = [f"A {colour} {shape} in the {place}, number {number}."]
        lines += [
            f"{locale}.utf8={sentence.format(colour=COLOURS[colour][locale], shape=SHAPES[shape][locale], number=number)}"
            for locale, sentence in SENTENCES.items()
        ]
        stem.with_suffix(".txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """Ray on this machine, one for all tests."""
    import ray

    from pipelines.runtime.runner import start_ray

    start_ray()
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real S3 server, one for all tests (a second would find some of its ports taken); yields its port."""
    with server(tmp_path_factory.mktemp("s3")) as port:
        yield port


@pytest.fixture(scope="session")
def object_store(s3_server: int) -> Iterator[str]:
    """A bucket on the S3 server, behind a proxy that sometimes responds 503 or drops the connection; yields its URI."""
    bucket(s3_server).mkdir("manifests")
    with faulty(s3_server, Faults(seed=2), S3_PORT):
        yield "s3://manifests"


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The root of a manifest: a folder, or an object store with faults."""
    if request.param == "folder":
        return str(tmp_path / "root")
    return f"{request.getfixturevalue('object_store')}/{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small CLIP of the repository, as ONNX."""
    from infra.models import CLIP
    from trainer_bridge.export_onnx import export_onnx

    folder = tmp_path_factory.mktemp("clip")
    export_onnx(CLIP, folder)
    return folder


@pytest.fixture(scope="session")
def web(corpus: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's web of the small corpus: pictures/, eval/, metadata/, truth.parquet."""
    from pipelines.demo_corpus.build import build

    folder = tmp_path_factory.mktemp("web")
    build(folder, corpus, str(clip))
    return folder
