"""A stage-1 model → ONNX, to score pairs without our code or torch: `score.clip_model = "onnx"` reads it.

    python -m trainer_bridge.export_onnx --checkpoint DIR --out DIR

image.onnx      pixels float32[B, 3, S, S] → features float32[B, D], L2-normalised
text.onnx       tokens int64[B, T], lengths int64[B] → features float32[B, D], L2-normalised
tokenizer.json  captions → tokens
clip.json       how pictures and captions are prepared: side, mean, std, length, prefix, begin and end tokens
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer_bridge.checkpoints.layouts.layout import TOKENIZER
from trainer_bridge.checkpoints.model_folders import load_contrastive
from trainer_bridge.data.transforms import MEAN, STD
from trainer_bridge.models.contrastive import ContrastiveModel

EXAMPLES, EXAMPLE_TOKENS = 3, 7


class _Image(nn.Module):
    def __init__(self, model: ContrastiveModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.encode_image(pixels)


class _Text(nn.Module):
    def __init__(self, model: ContrastiveModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return self.model.encode_text(tokens, lengths)


def export_onnx(checkpoint: Path, out: Path) -> None:
    """Writes the four files; ValueError in one line when the checkpoint does not load."""
    model, tokenizer = load_contrastive(checkpoint)
    model.eval()
    image, text = model.config.image, model.config.text
    out.mkdir(parents=True, exist_ok=True)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("tokens")
    pixels = torch.zeros(EXAMPLES, 3, image.image_size, image.image_size)
    tokens, lengths = torch.ones(EXAMPLES, EXAMPLE_TOKENS, dtype=torch.int64), torch.full((EXAMPLES,), EXAMPLE_TOKENS)
    _export(_Image(model), (pixels,), ["pixels"], ({0: batch},), out / "image.onnx")
    _export(_Text(model), (tokens, lengths), ["tokens", "lengths"], ({0: batch, 1: length}, {0: batch}), out / "text.onnx")
    tokenizer.save(str(out / TOKENIZER))
    preparation = {"side": image.image_size, "mean": MEAN, "std": STD}
    preparation |= {"length": text.length, "prefix": text.prefix, "begin": text.begin, "end": text.end}
    (out / "clip.json").write_text(json.dumps(preparation, indent=1) + "\n")


def _export(module: nn.Module, inputs: tuple[Tensor, ...], names: list[str], dynamic: tuple[Any, ...], path: Path) -> None:
    # torch's exporter prints to stdout and warns about its own internals.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            str(path),
            dynamo=True,
            dynamic_shapes=dynamic,
            input_names=names,
            output_names=["features"],
            external_data=False,
        )
    _remove_traces(path)


def _remove_traces(path: Path) -> None:
    """Removes the traces of source lines that the exporter adds to every node: the bytes follow from the weights alone."""
    import onnx

    model = onnx.load(path)
    for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
        del node.metadata_props[:]
    onnx.save(model, path)


def main(argv: Sequence[str] | None = None) -> None:
    """Exports a checkpoint."""
    parser = argparse.ArgumentParser(
        prog="trainer_bridge.export_onnx", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True, type=Path, help="a folder that the contrastive stage wrote")
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args(argv)
    try:
        export_onnx(options.checkpoint, options.out)
    except ValueError as error:
        sys.stderr.write(f"trainer_bridge.export_onnx: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
