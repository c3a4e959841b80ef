"""Mono-InternVL's stages on the demo: exports of its samples, and of an instruction set of its stamps, to train them on.

`python -m pipelines.demo_corpus.mono --from DIR --out DIR` writes the language model of a small InternVL as a folder of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from string import Template

from infra.compat.paths import cache_folder
from pipelines import export
from pipelines.demo_corpus.corpus import STAMPS, debian_packages, load_folder
from pipelines.demo_corpus.instructions import write
from pipelines.demo_corpus.render import extension, rng
from pipelines.runtime.parser import Parser

STAMPS_SHOWN = 200  # in the instruction set
FROZEN = ["pictures", "experts"]
# stage → (what is trained, rate)
STAGES = {
    "concept": (FROZEN, 2e-3),
    "semantic": (FROZEN, 2e-3),
    "instruction": ([*FROZEN, "attention", "language"], 5e-4),
}
ENGLISH = "language = 'en'"  # as in the paper's first stages; the language model knows others too


def export_stages(root: Path, recipe: Path, address: str | None) -> None:
    """Exports what each stage is trained on, in folders of `root/mono`, with a meta file beside each."""
    folder = root / "mono"
    common = ["--root", str(root), "--recipe", str(recipe), *(["--address", address] if address else [])]
    for stage in ("concept", "semantic"):
        export.main([*common, "--stage", stage, "--where", ENGLISH, "--out", str(folder / stage)])
        meta = {stage: {"shards": stage}}
        (folder / f"{stage}.json").write_text(json.dumps(meta) + "\n")
    _write_mix(root, folder / "mix")
    mix = ["--conversations", str(folder / "mix" / "meta.json"), "--out", str(folder / "instruction")]
    export.main([*common, "--stage", "instruction", *mix])
    export.main(common)  # nothing is to be done, but the report is on the latest export


def meta_of(root: Path, stage: str) -> Path:
    """The meta file that a stage is trained on."""
    name = "instruction/meta.json" if stage == "instruction" else f"{stage}.json"
    return root / "mono" / name


def write_config(root: Path, stage: str, language: Path) -> Path:
    """Writes the experiment of a stage; returns its path."""
    parts, rate = STAGES[stage]
    text = Template((files("pipelines.demo_corpus") / "mono.toml").read_text(encoding="utf-8"))
    frozen = "language" not in parts
    values = {"train": parts, "language": str(language), "lr": rate, "new_tokens": frozen}
    path = root / "mono" / f"{stage}.toml"
    path.write_text(
        text.substitute({name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}), encoding="utf-8"
    )
    return path


def _write_mix(root: Path, folder: Path) -> None:
    """An instruction set of some of the stamps, with the pictures that the demo's web shows; once."""
    if (folder / "meta.json").exists():
        return
    stamps = load_folder(debian_packages(cache_folder()) / STAMPS, "stamps")
    chosen = sorted(rng("mono").sample(stamps, STAMPS_SHOWN), key=lambda picture: picture.key)
    paths = {picture.key: root / "pictures" / f"{picture.key}.{extension(picture)}" for picture in chosen}
    write(chosen, {key: path.read_bytes() for key, path in paths.items() if path.exists()}, folder)


def write_language(internvl: Path, out: Path) -> None:
    """The language model and the tokenizer of an InternVL in the Hugging Face layout, as a folder of their own."""
    from infra.compat.torchvision_operators import define_missing_operators

    define_missing_operators()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, InternVLForConditionalGeneration

    whole = InternVLForConditionalGeneration.from_pretrained(internvl, dtype=torch.float32)
    language = AutoModelForCausalLM.from_config(whole.config.text_config)
    language.model.load_state_dict(whole.model.language_model.state_dict())
    language.lm_head.load_state_dict(whole.lm_head.state_dict())
    language.float().save_pretrained(out)
    AutoTokenizer.from_pretrained(internvl).save_pretrained(out)


def main(argv: Iterable[str] | None = None) -> None:
    """Writes the language model."""
    parser = Parser(prog="pipelines.demo_corpus.mono", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--from", required=True, type=Path, dest="start")
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args(list(argv) if argv is not None else None)
    write_language(options.start, options.out)
    sys.stdout.write(f"{options.out}\n")


if __name__ == "__main__":
    main()
