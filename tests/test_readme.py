"""The README's Python runs as it stands, and its recipe is one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.compat.errors import RequestError
from pipelines import export
from pipelines.manifest.receipts import Receipt, write_receipt
from pipelines.recipe import load_recipe
from sharding import Sample
from tests import ROOT
from tests.support.pictured import PART, pictured
from tests.support.shards import write_dataset
from tests.support.tars import jpeg

README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, word: str = "") -> str:
    """The first block of a language that holds a word."""
    found = [text for text in re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S) if word in text]
    assert found
    return str(found[0])


def test_the_python_of_the_readme_opens_a_manifest_runs_rules_and_loads_batches(tmp_path: Path, ray_session: None) -> None:
    storage = pictured(tmp_path / ".demo")
    for family in ("stage1", "stage2"):
        write_receipt(storage, PART, Receipt(family, PART.source, PART.name, "f", "d", 8, 8))
    export.main(["--root", storage.root, "--stage", "1", "--out", str(tmp_path / ".demo" / "shards")])
    for python in (block("python"), block("python", "ShardStream")):
        code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{python}"
        finished = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout.count("torch.Size([4, 3, 64, 64])") == 2


def test_webdataset_reads_our_shards_in_the_three_lines_of_the_readme(tmp_path: Path) -> None:
    write_dataset(tmp_path / ".demo" / "shards", {"train": [[Sample(7, jpeg(1), "a red fox", b"{}")]]})
    lines = block("python", "webdataset").splitlines()
    assert len([line for line in lines if line]) == 3
    code = "\n".join(lines)
    finished = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == f"{7:016x} {len(jpeg(1))} a red fox\n"


def test_the_recipe_of_the_readme_is_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipe.toml").write_text(block("toml"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match="no module 'my_lab"):
        load_recipe("recipe.toml")
    (tmp_path / "recipe.toml").write_text(block("toml").replace('plugins = ["my_lab.rules"]', ""), encoding="utf-8")
    recipe = load_recipe("recipe.toml")
    assert recipe.export.out == "s3://bucket/shards" and [source.name for source in recipe.sources] == ["laion2b-en"]
