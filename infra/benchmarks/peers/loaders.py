"""Loaders of image-text pairs as their documentation sets them up: decoding by Pillow or torchvision, torchvision's random crop.

    python -m infra.benchmarks.peers.loaders prepare FOLDER
    python -m infra.benchmarks.peers.loaders NAME FOLDER SAMPLES WORKERS DECODER

run with the Python of the peer `loaders`. FOLDER has our shards in `shards`; `prepare` writes the same samples in the other
formats beside them. The second form prints samples/s from the first batch on; DECODER is `theirs` or `ours`.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from infra.compat.torchvision_operators import define_missing_operators

BATCH, SIZE, LEAST_AREA = 64, 224, 0.4
Crop = Callable[[bytes], Any]


def our_crop(image: bytes) -> torch.Tensor:
    """Our decoder and crop: uint8[3, SIZE, SIZE]."""
    from sharding.decode import decode_pixels
    from trainer_bridge.data.transforms import random_resized_crop

    return torch.from_numpy(random_resized_crop(decode_pixels(image, SIZE), SIZE, LEAST_AREA, np.random.default_rng()).copy())


def documented_crop() -> Callable[[Any], torch.Tensor]:
    """Torchvision's transforms of a picture, as in the examples of all of them."""
    from torchvision import transforms

    crop = transforms.RandomResizedCrop(SIZE, scale=(LEAST_AREA, 1.0))
    composed: Callable[[Any], torch.Tensor] = transforms.Compose([crop, transforms.ToTensor()])
    return composed


def of_bytes(crop: Callable[[Any], torch.Tensor], image: bytes) -> torch.Tensor:
    """A crop of an encoded picture, decoded by Pillow."""
    return crop(Image.open(io.BytesIO(image)).convert("RGB"))


def webdataset(folder: Path, workers: int, crop: Crop | None) -> Iterable[Any]:
    """WebDataset: a pipeline in WebLoader's workers."""
    import webdataset as wds

    tars = sorted(map(str, (folder / "shards").glob("*.tar")))
    samples = wds.WebDataset(tars, shardshuffle=100).shuffle(1000)
    if crop is None:
        samples = samples.decode("pil").to_tuple("jpg", "txt").map_tuple(documented_crop(), str)
    else:
        samples = samples.to_tuple("jpg", "txt").map_tuple(crop, bytes.decode)
    loader: Iterable[Any] = wds.WebLoader(samples.batched(BATCH), batch_size=None, num_workers=workers)
    return loader


def streaming(folder: Path, workers: int, crop: Crop | None) -> Iterable[Any]:
    """MosaicML Streaming: a StreamingDataset of MDS shards in a DataLoader."""
    from streaming import StreamingDataset
    from torch.utils.data import DataLoader

    decode = crop or partial(of_bytes, documented_crop())

    class Pairs(StreamingDataset):
        def __getitem__(self, at: int) -> Any:
            sample = super().__getitem__(at)
            return decode(sample["image"]), sample["caption"]

    pairs = Pairs(local=str(folder / "mds"), shuffle=True, batch_size=BATCH)
    loader: Iterable[Any] = DataLoader(pairs, batch_size=BATCH, num_workers=workers)
    return loader


def litdata(folder: Path, workers: int, crop: Crop | None) -> Iterable[Any]:
    """LitData: a StreamingDataset of optimised chunks in a StreamingDataLoader."""
    from litdata import StreamingDataLoader, StreamingDataset

    decode = crop or partial(of_bytes, documented_crop())

    class Pairs(StreamingDataset):
        def __getitem__(self, at: Any) -> Any:
            sample = super().__getitem__(at)
            return decode(sample["image"]), sample["caption"]

    loader: Iterable[Any] = StreamingDataLoader(
        Pairs(str(folder / "litdata"), shuffle=True), batch_size=BATCH, num_workers=workers
    )
    return loader


def energon(folder: Path, workers: int, crop: Crop | None) -> Iterable[Any]:
    """Energon: a captioning dataset with a task encoder that crops."""
    from megatron.energon import DefaultTaskEncoder, WorkerConfig, get_loader, get_train_dataset

    cropped = documented_crop().transforms[0]  # type: ignore[attr-defined]

    class Cropping(DefaultTaskEncoder):
        def encode_sample(self, sample: Any) -> Any:
            sample.image = cropped(sample.image)
            return sample

    dataset = get_train_dataset(
        str(folder / "energon"),
        batch_size=BATCH,
        shuffle_buffer_size=100,
        max_samples_per_sequence=100,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=workers),
        task_encoder=Cropping(),
    )
    loader: Iterable[Any] = get_loader(dataset)
    return loader


def optimised(sample: tuple[bytes, str]) -> dict[str, Any]:
    """A sample as LitData stores it."""
    return {"image": sample[0], "caption": sample[1]}


def prepare(folder: Path) -> None:
    """Writes the samples of `shards` as MDS and LitData chunks, and Energon's indexes beside links to the tars."""
    from litdata import optimize
    from megatron.energon.flavors import BaseWebdatasetFactory
    from streaming import MDSWriter

    from sharding import ShardReader, read_dataset

    reader = ShardReader(read_dataset(str(folder / "shards")), "train")
    places = [(shard, row) for shard, size in enumerate(reader.sizes()) for row in range(size)]
    samples = [(sample.image, sample.text) for sample in reader.read_all(places)]
    with MDSWriter(out=str(folder / "mds"), columns={"image": "bytes", "caption": "str"}) as writer:
        for sample in samples:
            writer.write(optimised(sample))
    optimize(fn=optimised, inputs=samples, output_dir=str(folder / "litdata"), chunk_bytes="64MB", num_workers=1)
    linked = folder / "energon"
    linked.mkdir()
    names = sorted(path.name for path in (folder / "shards").glob("*.tar"))
    for name in names:
        (linked / name).symlink_to(folder / "shards" / name)
    options = {"tar_index_only": False, "workers": 1, "shuffle_seed": None}
    BaseWebdatasetFactory.prepare_dataset(linked, names, split_parts_ratio=[("train", 1.0)], **options)
    fields = "field_map:\n  image: jpg\n  caption: txt\n"
    kind = "sample_type:\n  __module__: megatron.energon\n  __class__: CaptioningSample\n"
    (linked / ".nv-meta" / "dataset.yaml").write_text(kind + fields)


PEERS = {"webdataset": webdataset, "streaming": streaming, "litdata": litdata, "energon": energon}


def rate(batches: Iterable[Any], samples: int) -> float:
    """Samples/s from the first batch on."""
    seen, started = 0, 0.0
    for batch in batches:
        if not started:
            started = time.perf_counter()
            continue
        seen += len(batch.image if hasattr(batch, "image") else batch[0])
        if seen >= samples - 2 * BATCH:
            break
    return seen / (time.perf_counter() - started)


def main(arguments: list[str]) -> None:
    """Prepares, or measures and prints."""
    define_missing_operators()  # before anything imports torchvision
    if arguments[0] == "prepare":
        return prepare(Path(arguments[1]))
    name, folder, samples, workers, decoder = arguments
    crop = our_crop if decoder == "ours" else None
    sys.stdout.write(f"\n{rate(PEERS[name](Path(folder), int(workers), crop), int(samples))}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
