"""Scoring: a part of 512-px JPEGs (60 kB), CLIP similarity by a ViT-B/32 with drawn weights, on one thread of a core.

    vs_bare       pictures/s of the job's own path (what a worker does with a part: manifest, tars, decoding, tokenising, forward
                  passes, results) over those of the forward passes alone on tensors in memory, same model and batch
    vs_bare_cpu   the same of pictures per second of CPU, which other work on the machine does not change
    with_30_ms    pictures/s from an S3 server with 30 ms added to each request over those from the folder
    decode_per_s  reading, decoding and making ready for the model, pictures per second of CPU (a figure)

In turns, each in a process of its own; medians. `--rows` is the number of pictures.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from infra.benchmarks.tools.object_store import bucket, environment, proxy, server
from infra.benchmarks.tools.photographs import photograph
from infra.benchmarks.tools.pictured import SOURCE, fill_pictured
from infra.compat.children import HOME
from infra.compat.torchvision_operators import define_missing_operators
from pipelines.manifest.parts import read_parts
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.scoring.settings import ScoreSettings

ROWS, DRAWN, TURNS, DELAY, MODEL, BUCKET = 256, 32, 3, 0.03, "ViT-B-32", "score"
DECODED = 512  # pictures that are read and decoded, however few are scored

Figures = dict[str, float]


def measure(rows: int) -> dict[str, Any]:
    """Measures on `rows` pictures (0: 256)."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("PAIRMILL_BENCH_DIR")) as name:
        folder = Path(name)
        _draw_weights(folder)
        count = str(rows or ROWS)
        _run("fill", str(folder / "root"), count)
        _run("fill", str(folder / "decoded"), str(DECODED))
        (folder / "weed").mkdir()
        with server(folder / "weed") as port, proxy(port, _late) as late:
            bucket(port).mkdir(BUCKET)
            _run("fill", f"s3://{BUCKET}/root", count, **environment(port))
            turns = [_turn(folder, late) for _ in range(TURNS)]
    figures = {f"{name}_per_s": statistics.median(turn[name] for turn in turns) for name in turns[0]}
    return {"pictures": int(count), "figures": figures, "ratios": _ratios(turns)}


def _late() -> str:
    time.sleep(DELAY)
    return "ok"


def _turn(folder: Path, late: int) -> Figures:
    """Pictures/s of each, one after the other."""
    weights = str(folder / "weights.safetensors")
    ours, bare = _run("ours", str(folder / "root"), weights), _run("bare", str(folder / "root"), weights)
    remote = _run("ours", f"s3://{BUCKET}/root", weights, **environment(late))
    turn = {**ours, **bare, "remote": remote["ours"], **_run("decode", str(folder / "decoded"), weights)}
    sys.stderr.write(json.dumps({name: round(rate, 2) for name, rate in turn.items()}) + "\n")
    return turn


def _ratios(turns: list[Figures]) -> Figures:
    pairs = {"vs_bare": ("ours", "bare"), "vs_bare_cpu": ("ours_cpu", "bare_cpu"), "with_30_ms": ("remote", "ours")}
    return {name: statistics.median(turn[over] / turn[under] for turn in turns) for name, (over, under) in pairs.items()}


def _draw_weights(folder: Path) -> None:
    define_missing_operators()
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(open_clip.create_model(MODEL, pretrained=None, load_weights=False).state_dict(), folder / "weights.safetensors")


def _settings(weights: str) -> ScoreSettings:
    return ScoreSettings(clip_model=MODEL, clip_checkpoint=weights, unsafe=False)


def fill(root: str, rows: str) -> Figures:
    """Writes a manifest of one part."""
    fill_pictured(Storage(root), 1, int(rows), [photograph(seed) for seed in range(DRAWN)])
    return {}


def ours(root: str, weights: str) -> Figures:
    """What a worker does with the part of a manifest, its models loaded and warm."""
    from pipelines.score import score_part
    from pipelines.scoring import provenance
    from pipelines.scoring.chunks import load_scores

    settings, storage = _settings(weights), Storage(root)
    (part,) = read_parts(storage, SOURCE)
    models = provenance(settings)
    clip = load_scores(settings.model_dump_json(), tuple(models)).clip
    assert clip is not None
    _forward(clip, *_tensors(clip, 64))
    with _Rate("ours", part.rows) as rate:
        result = score_part(storage, part, _Silent(), settings=settings, models=models, embedder=None)
    if result.table["clip_similarity"].null_count:
        raise RuntimeError("a picture was not scored")
    storage.remove(result.temporary_files)  # else the next turn would find them, and score nothing
    return rate.figures


def bare(root: str, weights: str) -> Figures:
    """The forward passes of both towers on pixels and tokens in memory."""
    from pipelines.scoring.clip import load_clip

    clip, rows = load_clip(_settings(weights), "cpu"), read_parts(Storage(root), SOURCE)[0].rows
    pixels, tokens = _tensors(clip, 64)
    _forward(clip, pixels, tokens)
    with _Rate("bare", rows) as rate:
        for first in range(0, rows, 64):
            _forward(clip, pixels[: rows - first], tokens[: rows - first])
    return rate.figures


def _tensors(clip: Any, count: int) -> tuple[Any, Any]:
    import torch

    pixels = torch.randn(count, 3, 224, 224)
    tokens = torch.from_numpy(np.stack([clip.tokenise(f"caption {number} of file 0") for number in range(count)]))
    return pixels, tokens


def _forward(clip: Any, pixels: Any, tokens: Any) -> None:
    import torch

    with torch.inference_mode():
        image, text = clip.encode_image(pixels), clip.encode_text(tokens)
        torch.nn.functional.cosine_similarity(image, text).numpy()


def decode(root: str, weights: str) -> Figures:
    """Pictures read, decoded and made ready for the model."""
    from pipelines.images.square import Square, upright_pixels
    from pipelines.manifest.join import read_family
    from pipelines.manifest.selection import WITH_PICTURE
    from pipelines.runtime.picture_chunks import distinct_pictures, pending_samples, prepare_ahead

    storage, square = Storage(root), Square(224, 224)
    (part,) = read_parts(storage, SOURCE)
    pictures, _ = distinct_pictures(pending_samples(storage, part, read_family(storage, part, "scores"), WITH_PICTURE))

    def prepare(index: int, data: bytes) -> tuple[np.ndarray, int]:
        pixels = square.of(upright_pixels(data, 0))
        return pixels, pixels.nbytes

    deque(prepare_ahead(storage, pictures[:64], 64, prepare), maxlen=0)
    with _Rate("decode", len(pictures)) as rate:
        deque(prepare_ahead(storage, pictures, 64, prepare), maxlen=0)
    return {"decode": rate.figures["decode_cpu"]}


class _Silent(Reporter):
    """Progress that nobody follows."""

    def __init__(self) -> None:
        super().__init__(None, "", "")

    def __call__(self, units: int) -> None:
        """Counts."""
        self.units += units


class _Rate:
    """Items per second of a block, by the clock and by the processor."""

    def __init__(self, name: str, items: int) -> None:
        self.name, self.items, self.figures = name, items, Figures()

    def __enter__(self) -> _Rate:
        self.started = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        wall, cpu = self.started
        seconds, of_cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.figures = {self.name: self.items / seconds, f"{self.name}_cpu": self.items / of_cpu}


WORKS: dict[str, Callable[[str, str], Figures]] = {work.__name__: work for work in (fill, ours, bare, decode)}


def _run(work: str, *arguments: str, **variables: str) -> Figures:
    """The figures of a work in a process of its own, with the one thread that a worker of a core has."""
    command = [sys.executable, "-m", "infra.benchmarks.score", work, *arguments]
    variables |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HOME)}
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=HOME, env=os.environ | variables, check=False)
    if ended.returncode:
        raise RuntimeError(f"{work} ended with {ended.returncode}; its messages are above")
    figures: Figures = json.loads(ended.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    sys.stdout.write(json.dumps(WORKS[sys.argv[1]](*sys.argv[2:])) + "\n")
