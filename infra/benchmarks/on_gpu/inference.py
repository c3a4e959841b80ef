"""Rates of models with drawn weights that score and caption, through the functions that the jobs' workers call."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from infra.benchmarks.on_gpu.bench import Bench, Figures
from infra.benchmarks.on_gpu.workload import DISTINCT, WORDS, picture
from infra.compat.torchvision_operators import define_missing_operators
from pipelines.captioning.settings import CaptionSettings
from pipelines.manifest.pictures import StoredPicture, checksum_of
from pipelines.manifest.storage import Storage
from pipelines.scoring.settings import ScoreSettings
from trainer_bridge.checkpoints.hugging_face import save_internvl
from trainer_bridge.data.chat_tokenizer import IMAGE, build_processor, new_tokenizer
from trainer_bridge.models.internvit import InternViT
from trainer_bridge.models.internvl import build_internvl, image_tokens, new_language_model

SIDE = 400  # of the pictures, as a fetch that resizes to 400 pixels stores them
DOWNSAMPLE = 0.5


def store_pictures(folder: Path, count: int) -> tuple[Storage, list[StoredPicture]]:
    """`count` pictures in one file, as `fetch` leaves them in a tar: read by offset, their checksums verified."""
    rng = np.random.default_rng(0)
    drawn = [picture(rng, SIDE) for _ in range(min(DISTINCT, count))]
    pictures, offset = [], 0
    with (folder / "pictures.tar").open("wb") as handle:
        for number in range(count):
            data = drawn[number % len(drawn)]
            pictures.append(StoredPicture("pictures.tar", offset, len(data), checksum_of(data)))
            offset += handle.write(data)
    return Storage(str(folder)), pictures


def measure_score(bench: Bench, figures: Figures, count: int) -> None:
    """CLIP similarity of pictures and captions."""
    from pipelines.scoring.chunks import load_scores, score_chunk

    workload, folder = bench.workload, bench.folder
    name = workload.clip if isinstance(workload.clip, str) else str(folder / "clip.json")
    if not isinstance(workload.clip, str):
        Path(name).write_text(json.dumps(workload.clip))
    settings = ScoreSettings(
        clip_model=name, clip_checkpoint=_clip_weights(name, folder), unsafe=False, gpus=float(bench.device.type == "cuda")
    )
    storage, pictures = store_pictures(folder, count)
    captions = [" ".join(np.random.default_rng(number).choice(WORDS, 10)) for number in range(count)]
    with bench.measured_memory(figures):
        loaded = load_scores(settings.model_dump_json(), ("clip_similarity",))

        def score(first: int) -> None:
            part = slice(first)
            table = score_chunk(storage, pictures[part], range(count)[part], captions[part], loaded, _ignore)
            if table["clip_similarity"].null_count:
                raise RuntimeError("a picture was not scored")

        score(min(count, loaded.batch))
        started = time.perf_counter()
        score(count)
        figures["pictures_per_s"] = round(count / (time.perf_counter() - started), 1)
        figures["bare_pictures_per_s"] = round(_bare_rate(loaded, captions, max(1, count // loaded.batch)), 1)
        figures |= {"vs_bare_forward": round(figures["pictures_per_s"] / figures["bare_pictures_per_s"], 3)}
        figures |= {"pictures": count, "batch": loaded.batch, "side": SIDE}
        load_scores.cache_clear()


def _bare_rate(loaded: Any, captions: list[str], batches: int) -> float:
    """Pictures/s of the same model's forward passes on one batch of drawn pixels and tokens, that lies on its device."""
    clip, count = loaded.clip, int(min(loaded.batch, len(captions)))
    pixel = clip.prepare(np.zeros((SIDE, SIDE, 3), np.uint8))
    pixels = torch.randn(count, 3, *pixel.shape[:2], device=clip.device)
    tokens = torch.from_numpy(np.stack([clip.tokenise(caption) for caption in captions[:count]])).to(clip.device)

    def forward() -> None:
        kind = torch.device(clip.device).type
        with torch.inference_mode(), torch.autocast(kind, dtype=torch.bfloat16, enabled=clip.half):
            (clip.encode_image(pixels) @ clip.encode_text(tokens).T).sum().item()

    forward()
    started = time.perf_counter()
    for _ in range(batches):
        forward()
    seconds = time.perf_counter() - started
    return count * batches / seconds


def _clip_weights(name: str, folder: Path) -> str:
    """Drawn weights of an open_clip model, in a file."""
    define_missing_operators()
    import open_clip
    from safetensors.torch import save_file

    if name.endswith(".json"):
        open_clip.add_model_config(name)
    path = folder / "clip.safetensors"
    save_file(open_clip.create_model(Path(name).stem, pretrained=None).state_dict(), path)
    return str(path)


def measure_caption(bench: Bench, batch: int, figures: Figures) -> None:
    """Captions by an InternVL with drawn weights, all of `caption.max_tokens` tokens."""
    from pipelines.captioning.chunks import caption_chunk, load_captioner

    settings, count = CaptionSettings(batch=batch, gpus=float(bench.device.type == "cuda")), batch * bench.workload.captioned
    model = _internvl(bench)
    storage, pictures = store_pictures(bench.folder, count)
    with bench.measured_memory(figures):
        describe = load_captioner(model, settings.model_dump_json())

        def caption(first: int) -> None:
            part = slice(first)
            caption_chunk(storage, pictures[part], range(count)[part], describe, settings.prompt, settings, _ignore)

        caption(batch)
        started = time.perf_counter()
        caption(count)
        rate = count / (time.perf_counter() - started)
        figures |= {"captions_per_s": round(rate, 2), "tokens_per_s": round(rate * settings.max_tokens, 1)}
        figures |= {"captions": count, "batch": batch, "tokens_per_caption": settings.max_tokens}
        load_captioner.cache_clear()


def _internvl(bench: Bench) -> str:
    """An InternVL with drawn weights, in a folder."""
    workload, folder = bench.workload, bench.folder / "internvl"
    if folder.exists():
        return str(folder)
    tokenizer = new_tokenizer([" ".join(WORDS)], min(2000, workload.captioner.vocabulary))
    with bench.device:
        vision = InternViT(workload.image)
        language = new_language_model(workload.captioner, 2048, tokenizer.pad_token_id, tokenizer.eos_token_id)
        model: Any = build_internvl(vision, language, tokenizer.convert_tokens_to_ids(IMAGE), DOWNSAMPLE)
    model.generation_config.min_new_tokens = CaptionSettings().max_tokens  # else chance would decide when a caption ends
    processor = build_processor(tokenizer, workload.image.image_size, image_tokens(workload.image, DOWNSAMPLE))
    save_internvl(folder, model.bfloat16(), processor, {})
    return str(folder)


def _ignore(first: int, last: int) -> None:
    """Progress that nobody follows."""
