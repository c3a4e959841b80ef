"""Settings of `score`: the section `[score]` of a recipe."""

from __future__ import annotations

from pydantic import Field

from infra.compat.settings import Section


class ScoreSettings(Section):
    """Which models score the pictures. A model not named does not score; checkpoints are safetensors, by path or URI.

    clip_model  an open_clip model, the .json of one, or "onnx": then the checkpoint is a folder of trainer_bridge.export_onnx
    gpus        of a worker; 0 runs on a core
    workers     how many hold the models; 0: as many as the cluster's GPUs (or cores) allow
    """

    clip_model: str = ""
    clip_checkpoint: str = ""
    aesthetic_checkpoint: str = ""
    watermark_model: str = ""
    watermark_checkpoint: str = ""
    watermark_class: int = Field(0, ge=0)
    unsafe: bool = True
    batch: int = Field(64, ge=1)
    chunk: int = Field(10_000, ge=1, le=10_000)
    gpus: float = Field(0.0, ge=0)
    workers: int = Field(0, ge=0)
