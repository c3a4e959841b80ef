"""The card of the tiny presets: a line for each seed, with the figures that its trainings gave, and what they start from."""

import tomllib
from pathlib import Path

import torch

from infra.train_models.alignment import CONFIGS
from infra.train_models.language import train
from infra.train_models.seeds import COLUMNS, SEEDS, card, seeded, started
from trainer_bridge.checkpoints.layouts import read_checkpoint
from trainer_bridge.checkpoints.starts import ContrastiveSettings, start_contrastive
from trainer_bridge.data.tokenizer import encode
from trainer_bridge.models.internvl import LanguageConfig
from trainer_bridge.models.losses import token_loss

CONTRASTIVE = {
    "parameters": 1_200_000,
    "pictures": 600,
    "chance@1": 1 / 600,
    "samples": 256_000,
    "cpu_seconds": 330,
    "seconds": 400,
}
CONTRASTIVE |= {"recall@1": 0.41, "recall@5": 0.7, "recall@10": 0.8}
GENERATIVE = {
    "samples": 51_200,
    "cpu_seconds": 90,
    "seconds": 120,
    "itm_accuracy": 0.85,
    "itm_accuracy_next": 0.9,
    "caption_loss": 3.5,
}


def test_a_line_for_each_seed_with_its_figures() -> None:
    rows = [{"contrastive": CONTRASTIVE, "generative": GENERATIVE | {"unigram_entropy": 7.0 + seed}} for seed in SEEDS]
    text = card(rows, {"steps": 3000, "cpu_seconds": 300})
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == [*COLUMNS] and len(lines) == 2 + len(SEEDS) and {len(line) for line in lines} == {len(COLUMNS)}
    assert lines[2] == "0 0.41 0.70 0.80 256 5.5 6.7 0.85 0.90 3.50 7.00 50% 51 1.5 2.0".split()
    assert "600 of the pictures" in text and "5.0 CPU minutes" in text and "{" not in text


def test_a_seed_changes_nothing_else_of_a_preset() -> None:
    preset = (CONFIGS / "contrastive-tiny.toml").read_text()
    lines = seeded(preset, 2).splitlines()
    lines.remove("seed = 2")
    assert lines == preset.splitlines()


def test_stage_1_starts_from_a_language_model_that_knows_its_sentences(tmp_path: Path) -> None:
    things = [[f"a {word} here", f"ein {word}o da", f"un {word}a"] for word in ("cat", "dog", "sun", "moon", "tree", "frog")]
    sizes = LanguageConfig(vocabulary=320, width=32, depth=1, heads=2, mlp=64)
    train(things, sizes, tmp_path / "language", steps=200)
    preset = started((CONFIGS / "contrastive-tiny.toml").read_text(), tmp_path / "language")
    model = tomllib.loads(preset)["model"]
    model["text"] = {"length": model["text"]["length"]}  # sizes are those of the language model
    begun, tokenizer = start_contrastive(ContrastiveSettings.model_validate(model), None)
    assert tokenizer is not None
    tower = begun.filled()
    ids, lengths = encode(tokenizer, [text for texts in things for text in texts], tower.config.text)
    with torch.no_grad():
        logits = tower.text_tower(input_ids=ids).last_hidden_state @ tower.output_weights.T
    labels = torch.where(torch.arange(1, ids.shape[1]) < lengths[:, None], ids[:, 1:], -100)
    loss = token_loss(logits[:, :-1], labels) / (labels >= 0).sum()
    counts = ids[ids > 0].unique(return_counts=True)[1]
    assert loss < 0.7 * torch.special.entr(counts / counts.sum()).sum()


def test_the_language_model_of_the_preset_fits_it(tmp_path: Path) -> None:
    preset = tomllib.loads((CONFIGS / "contrastive-tiny.toml").read_text())
    sizes = LanguageConfig(**{name: preset["model"]["text"][name] for name in LanguageConfig.model_fields})
    train([[f"{chr(a)}{chr(b)}" for b in range(97, 123)] for a in range(97, 123)], sizes, tmp_path, steps=1)
    model = preset["model"] | {"text_checkpoint": str(tmp_path)}
    begun, _ = start_contrastive(ContrastiveSettings.model_validate(model), None)
    assert torch.equal(
        begun.filled().text_tower.embed_tokens.weight, read_checkpoint(tmp_path).state["text_tower.embed_tokens.weight"]
    )
