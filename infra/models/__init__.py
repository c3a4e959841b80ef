"""Small models of our own, with which the demo and the tests score, caption and train. Each folder has a card, README.md.

clip/      a stage-1 model (InternVL-C's shape): config.json, model.safetensors (float16), tokenizer.json
internvl/  a stage-3 model in the Hugging Face layout
tiny/      the tiny presets of stages 1 and 2: their figures with three seeds, without weights
copies/    the descriptors by which changed copies are found; their weights are in filters/duplicates
quality/   what the caption quality score was trained on; its weights are in filters/quality

`python -m infra.train_models clip` (then `internvl`; `seeds` for tiny/) trains them again from the pictures on.
"""

from pathlib import Path

CLIP, COPIES, INTERNVL, QUALITY, TINY = (
    Path(__file__).parent / name for name in ("clip", "copies", "internvl", "quality", "tiny")
)
