"""The peer: open_clip's model of stage 1's sizes in open_clip's own training loop."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from infra.benchmarks.on_gpu.bench import Bench, Figures
from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.flops import contrastive_step
from trainer_bridge.models.blocks import compile_blocks
from trainer_bridge.models.contrastive import ContrastiveConfig


def measure_open_clip(bench: Bench, figures: Figures, *, compiled: bool) -> None:
    """open_clip's model of the same sizes in open_clip's own training loop, which updates after each micro-batch."""
    define_missing_operators()
    import open_clip
    from open_clip.loss import ClipLoss
    from open_clip_train.train import train_one_epoch

    workload, device, rows = bench.workload, bench.device, bench.workload.micro_batch
    config = bench.folder / "as-stage1.json"
    config.write_text(json.dumps(clip_sizes(workload.stage1)))
    open_clip.add_model_config(config)
    with bench.measured_memory(figures):
        model = open_clip.create_model(config.stem, pretrained=None, device=device, output_dict=True)
        figures["parameters"] = sum(parameter.numel() for parameter in model.parameters())
        if compiled:
            compile_blocks(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        images = torch.randn(rows, 3, workload.image.image_size, workload.image.image_size, device=device)
        ids = torch.randint(2, workload.text.vocabulary, (rows, workload.text.length), device=device)
        settings = {"device": device, "precision": "amp_bf16", "accum_freq": 1, "grad_clip_norm": 1.0, "skip_scheduler": True}
        settings |= {"batch_size": rows, "world_size": 1, "rank": 0, "local_rank": 0, "log_local": False, "log_every_n_steps": 1}
        arguments = argparse.Namespace(**settings, distill=False, horovod=False, wandb=False)
        data = {"train": InMemory(images, ids)}

        def step() -> None:
            train_one_epoch(model, data, ClipLoss(), 0, optimizer, None, None, None, arguments)

        figures |= bench.speed(step, rows, lambda: contrastive_step(workload.stage1, workload.text.length))


def clip_sizes(config: ContrastiveConfig) -> dict[str, Any]:
    """open_clip's configuration of stage 1's sizes; its text MLP has two matrices, not three, so they are half as wide again."""
    image, text = config.image, config.text
    vision: dict[str, float] = {
        "image_size": image.image_size,
        "patch_size": image.patch,
        "width": image.width,
        "layers": image.depth,
    }
    vision |= {"head_width": image.width // image.heads, "mlp_ratio": image.mlp / image.width}
    words: dict[str, float] = {
        "context_length": text.length,
        "vocab_size": text.vocabulary,
        "width": text.width,
        "layers": text.depth,
    }
    words |= {"heads": text.heads, "mlp_ratio": 1.5 * text.mlp / text.width}
    return {"embed_dim": config.embedding, "vision_cfg": vision, "text_cfg": words}


class InMemory:
    """One batch, as open_clip's loop takes its data."""

    def __init__(self, images: Tensor, ids: Tensor) -> None:
        self.dataloader, self.batch = self, (images, ids)
        self.num_batches, self.num_samples = 1, len(images)

    def set_epoch(self, epoch: int) -> None:
        """The same batch in every epoch."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield self.batch
