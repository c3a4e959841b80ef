"""Weights of others → folders that the stages start from, and models of ours → the layouts of others.

    python -m trainer_bridge.convert --from InternViT-300M-448px --out tower
    python -m trainer_bridge.convert --from run/model --to internvl --out InternVL-C

The layout of `--from` is recognised. `model.image_checkpoint` and `model.text_checkpoint` of an experiment name folders
of any layout too: conversion first shows that all weights fit, and leaves one file of float32.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from trainer_bridge.checkpoints.layouts import find_layouts, read_checkpoint

OURS = "pairmill"


def convert(source: Path, layout: str, out: Path) -> dict[str, object]:
    """Reads a model of any layout and writes it in another; returns what it holds. ValueError in one line."""
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"--out {out} holds files already; name a new folder")
    write = find_layouts()[layout].write
    assert write is not None
    checkpoint = read_checkpoint(source)
    write(checkpoint, out)
    tensors = [*checkpoint.state.values(), *checkpoint.added.values()]
    parts = [*checkpoint.settings, *(["generative"] if checkpoint.generative is not None else [])]
    return {"layout": layout, "settings": parts, "parameters": sum(tensor.numel() for tensor in tensors)}


def main(argv: Sequence[str] | None = None) -> None:
    """Converts a model."""
    layouts = find_layouts()
    lines = [
        f"  {name:<14} {(sys.modules[f'{find_layouts.__module__}.{name}'].__doc__ or '').splitlines()[0]}" for name in layouts
    ]
    parser = argparse.ArgumentParser(
        prog="trainer_bridge.convert",
        description=__doc__,
        epilog="\n".join(["layouts:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--from", dest="source", required=True, type=Path, metavar="DIR", help="a model's folder, or a .gguf file"
    )
    parser.add_argument("--to", default=OURS, choices=sorted(name for name, layout in layouts.items() if layout.write))
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder")
    options = parser.parse_args(argv)
    try:
        result = convert(options.source, options.to, options.out)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"trainer_bridge.convert: {error}\n")
        sys.exit(2)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
