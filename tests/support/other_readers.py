"""Reads a folder of shards with one of the readers that people use; run with the Python of the peer `readers`.

    python tests/support/other_readers.py READER FOLDER

Prints a JSON object: key → caption, sha256 of the picture (of its decoded pixels for Energon, which gives no others), metadata.
"""

import hashlib
import json
import sys
from pathlib import Path


def webdataset(folder: str) -> dict:
    import webdataset

    samples = webdataset.WebDataset(tars(folder), shardshuffle=False, empty_check=False)
    return {s["__key__"]: [s["txt"].decode(), sha256(s["jpg"]), json.loads(s["json"])] for s in samples}


def datasets(folder: str) -> dict:
    import datasets

    samples = datasets.load_dataset("webdataset", data_files={"train": tars(folder)}, split="train", cache_dir=f"{folder}/.cache")
    samples = samples.cast_column("jpg", datasets.Image(decode=False))
    return {s["__key__"]: [s["txt"], sha256(s["jpg"]["bytes"]), s["json"]] for s in samples}


def ray(folder: str) -> dict:
    import ray

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    rows = ray.data.read_webdataset(tars(folder), decoder=None).take_all()
    return {s["__key__"]: [s["txt"].decode(), sha256(s["jpg"]), json.loads(s["json"])] for s in rows}


def energon(folder: str) -> dict:
    from megatron.energon import WorkerConfig, get_loader, get_train_dataset
    from megatron.energon.flavors import BaseWebdatasetFactory

    names = [Path(tar).name for tar in tars(folder)]
    options = {"tar_index_only": False, "workers": 1, "shuffle_seed": None}
    BaseWebdatasetFactory.prepare_dataset(Path(folder), names, split_parts_ratio=[("train", 1.0)], **options)
    fields = "field_map:\n  image: jpg\n  caption: txt\n"
    kind = "sample_type:\n  __module__: megatron.energon\n  __class__: CaptioningSample\n"
    (Path(folder) / ".nv-meta" / "dataset.yaml").write_text(kind + fields)
    dataset = get_train_dataset(
        folder,
        batch_size=1,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
        repeat=False,
        parallel_shard_iters=1,
        shuffle_over_epochs_multiplier=None,
    )
    batches = (
        (b.__key__[0], b.caption[0], (b.image[0] * 255).round().byte().permute(1, 2, 0).numpy()) for b in get_loader(dataset)
    )
    return {key: [caption, sha256(pixels.tobytes()), None] for key, caption, pixels in batches}


def tars(folder: str) -> list[str]:
    return sorted(map(str, Path(folder).glob("train-*.tar")))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    read = {"webdataset": webdataset, "datasets": datasets, "ray": ray, "energon": energon}[sys.argv[1]]
    sys.stdout.write("\n" + json.dumps(read(sys.argv[2])) + "\n")
