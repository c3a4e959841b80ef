"""The card of the tiny presets: a line for each seed, with the figures that its trainings gave."""

from infra.train_models.alignment import CONFIGS
from infra.train_models.seeds import COLUMNS, SEEDS, card, seeded

CONTRASTIVE = {
    "parameters": 1_200_000,
    "pictures": 600,
    "chance@1": 1 / 600,
    "samples": 256_000,
    "cpu_seconds": 330,
    "seconds": 400,
}
CONTRASTIVE |= {"recall@1": 0.41, "recall@5": 0.7, "recall@10": 0.8}
GENERATIVE = {"samples": 51_200, "cpu_seconds": 90, "seconds": 120, "itm_accuracy": 0.85, "caption_loss": 3.5}


def test_a_line_for_each_seed_with_its_figures() -> None:
    rows = [{"contrastive": CONTRASTIVE, "generative": GENERATIVE | {"unigram_entropy": 7.0 + seed}} for seed in SEEDS]
    text = card(rows)
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == [*COLUMNS] and len(lines) == 2 + len(SEEDS) and {len(line) for line in lines} == {len(COLUMNS)}
    assert lines[2] == "0 0.41 0.70 0.80 256 5.5 6.7 0.85 3.50 7.00 50% 51 1.5 2.0".split()
    assert "600 of the pictures" in text and "{" not in text


def test_a_seed_changes_nothing_else_of_a_preset() -> None:
    preset = (CONFIGS / "contrastive-tiny.toml").read_text()
    lines = seeded(preset, 2).splitlines()
    lines.remove("seed = 2")
    assert lines == preset.splitlines()
