"""A plugin adds rules, sources, scores and captioners without a fork, on Ray's workers too; one that does not fit is one line."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.compat.errors import RequestError
from pipelines.explain import explain
from pipelines.manifest import connect
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.storage import Storage
from pipelines.recipe import load_recipe
from pipelines.runtime import plugins
from pipelines.scoring import provenance
from tests.support.pictured import pictured

LAB = {
    "__init__.py": "",
    "words.txt": "spam\n",
    "helpers.py": """
from pathlib import Path
from beside import words_of

def blocked():
    return words_of(Path(__file__).with_name("words.txt"))
""",
    "everything.py": """
import hashlib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filters.rules import Rule, below, column
from infra.compat.settings import Section
from my_lab.helpers import blocked
from pipelines.captioning.captioner import Caption, Captioner
from pipelines.scoring.score import Score
from pipelines.sources.source import Source

STAGE1_RULES = [
    Rule(
        name="my_lab.blocked_url",
        columns=("url",),
        drops=lambda table, thresholds: pc.match_substring_regex(table["url"], "|".join(blocked())),
        catches="URLs of a block list",
        origin="a choice",
        kept={"url": "http://a/1"},
        dropped={"url": "http://spam/1"},
    ),
    Rule(
        name="my_lab.dark",
        columns=("brightness",),
        drops=below(column("brightness")),
        measure=column("brightness"),
        catches="dark pictures",
        origin="a choice",
        kept={"brightness": 0.8},
        dropped={"brightness": 0.01},
        thresholds={"min": 0.05},
    ),
]
STAGE2_RULES = []

SOURCES = [
    Source(
        name="my_corpus",
        ordinal=200,
        title="My corpus",
        format="csv",
        names={"url": "link", "caption": "words"},
    )
]

class Brightness(Section):
    scale: float = 1.0

def load_brightness(settings, device):
    scale = settings.own("brightness", Brightness).scale
    return lambda batch: np.array([np.asarray(picture).mean() / 255 * scale for picture in batch.pictures], np.float32)

SCORES = [
    Score(
        "brightness",
        lambda settings: settings.own("brightness", Brightness).model_dump(),
        load_brightness,
        settings=Brightness,
    ),
    Score(
        "caption_density",
        lambda settings: {"model": "characters a pixel"},
        lambda settings, device: lambda batch: np.array(
            [len(caption) / (picture.width * picture.height) for caption, picture in zip(batch.captions, batch.pictures)],
            np.float32,
        ),
        reads_captions=True,
    ),
]

def describe(pictures, questions):
    return [Caption(f"{questions[-1]} {picture.getpixel((0, 0))[0]}", 2, "stop") for picture in pictures]

CAPTIONERS = [
    Captioner(
        "red",
        lambda uri: {"model": uri, "sha256": hashlib.sha256(uri.encode()).hexdigest()},
        lambda uri, settings: describe,
    )
]
""",
}
BESIDE = """
from functools import lru_cache

@lru_cache
def words_of(path):
    return path.read_text().split()
"""
RECIPE = """
plugins = ["my_lab.everything"]

[stage1.my_lab.dark]
min = 0.2

[score]
unsafe = false
by_score.brightness.scale = 0.5

[caption]
captioner = "red"
prompt = "Red:"
gpus = 0
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A folder with a plugin package, a module that it imports, its recipe, and a file of its source."""
    folder = tmp_path / "lab"
    (folder / "my_lab").mkdir(parents=True)
    for name, text in LAB.items():
        (folder / "my_lab" / name).write_text(text)
    (folder / "beside.py").write_text(BESIDE)
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "corpus.csv").write_text("link,words\nhttp://a/1,a red fox\nhttp://spam/2,cheap foxes\n")
    return folder


def job(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"pipelines.{name}", "--root", "root", "--recipe", "recipe.toml", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500)


@pytest.mark.slow
@pytest.mark.timeout(2000)
def test_one_of_each_kind_works_on_rays_workers(lab: Path) -> None:
    pictured(lab / "root")
    runs = (("ingest", "my_corpus", "corpus.csv"), ("score",), ("stage1",), ("caption", "--model", "a-model"))
    for name, *arguments in runs:
        done = job(lab, name, *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        assert not json.loads(done.stdout.splitlines()[-1])["failed"]
    connection = connect(str(lab / "root"))
    own = connection.sql(
        "select sample_id >> 56, caption, stage1_reasons from manifest where source = 'my_corpus' order by 2 desc"
    )
    assert own.fetchall() == [(200, "cheap foxes", ["my_lab.blocked_url"]), (200, "a red fox", [])]
    origin = explain(Storage(str(lab / "root")), connection, sample_ids(200, 0, 1, 1)[0])["source row"]
    assert (origin["source"], origin["row"]) == ("my_corpus", 1) and origin["file"].endswith("corpus.csv")
    scored = connection.sql(
        "select sample_id & 255, round(brightness, 2), round(caption_density * 48 * 40), stage1_reasons, synthetic_caption "
        "from manifest where source = 'coyo' order by sample_id"
    ).fetchall()
    assert [row[1] for row in scored] == pytest.approx([0.17, 0.17, 0.08, 0.17, 0.5, None, None, None], abs=0.011)
    assert [row[2] for row in scored] == [3, 12, 5, 4, None, None, None, None]  # 4 has no caption, 5 cannot be decoded
    assert [row[0] for row in scored if "my_lab.dark" in row[3]] == [0, 1, 2, 3]
    assert [row[4] for row in scored] == [None, None, None, None, "Red: 255", None, None, "Red: 0"]


def test_a_row_scored_by_a_plugin_keeps_its_score_in_a_later_run(lab: Path) -> None:
    storage = pictured(lab / "root")
    assert job(lab, "score").returncode == 0
    before = connect(storage.root).sql("select sample_id, brightness from scores order by 1").fetchall()
    receipt = next((lab / "root" / "receipts" / "scores").rglob("*.json"))
    receipt.write_text(receipt.read_text().replace('"fingerprint": "', '"fingerprint": "x'))
    (lab / "root" / "images" / "a.tar").write_bytes(b"")  # a picture scored again would have no score
    done = job(lab, "score")
    assert json.loads(done.stdout.splitlines()[-1])["ran"] == 1
    assert connect(storage.root).sql("select sample_id, brightness from scores order by 1").fetchall() == before


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a module and returns how a recipe names it; forgets all plugins afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(plugins, "_carried", set())
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(text: str) -> str:
        name = f"plugin_{len(list(tmp_path.iterdir()))}_{tmp_path.name}"
        Path(f"{name}.py").write_text(text)
        return f'plugins=["{name}"]'

    return write


RULE = "from filters.rules import Rule\nRULE = dict(drops=None, catches='', origin='', kept={}, dropped={})\n"
SOURCE = "from pipelines.sources.source import Source\nS = dict(title='', format='csv', names={})\n"
SCORE = "from pipelines.scoring.score import Score\n"
CAPTIONER = "from pipelines.captioning.captioner import Captioner\n"


@pytest.mark.parametrize(
    "text, message",
    [
        ("RULES = []", "defines nothing; it may define STAGE1_RULES, STAGE2_RULES, SOURCES, SCORES, CAPTIONERS"),
        ("1 / 0", "cannot be imported (ZeroDivisionError: division by zero)"),
        ("import nowhere.at_all", "imports 'nowhere', which is not installed"),
        ("STAGE1_RULES = 7", "STAGE1_RULES is int; make it a list of Rule"),
        ("STAGE1_RULES = ['a rule']", "STAGE1_RULES holds 'a rule', which is no Rule"),
        (RULE + "STAGE1_RULES = [Rule(name='watermark', columns=(), **RULE)]", "has name 'watermark', which is taken"),
        (RULE + "STAGE2_RULES = [Rule(name='new', columns=('captoin',), **RULE)]", "did you mean 'caption'"),
        (SOURCE + "SOURCES = [Source(name='coyo', ordinal=99, **S)]", "has name 'coyo', which is taken"),
        (SOURCE + "SOURCES = [Source(name='new', ordinal=4, **S)]", "has ordinal 4, which is taken"),
        (SOURCE + "SOURCES = [Source(name='new', ordinal=256, **S)]", "ordinals are 1 … 255"),
        (SCORE + "SCORES = [Score('unsafe', None, None)]", "has name 'unsafe', which is taken"),
        (SCORE + "SCORES = [Score('width', None, None)]", "score 'width' cannot be a new column"),
        (CAPTIONER + "CAPTIONERS = [Captioner('internvl', None, None)]", "has name 'internvl', which is taken"),
    ],
)
def test_a_plugin_that_does_not_fit_is_one_line(plugin, text: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        load_recipe(None, [plugin(text)])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_plugin_that_is_not_there_is_exit_2(lab: Path) -> None:
    done = job(lab, "stage1", "--set", 'plugins=["my_lab.nothing"]')
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "there is no module 'my_lab.nothing'; start the job in the folder that holds it" in done.stderr


def test_rules_are_those_of_the_recipes_own_plugins(plugin) -> None:
    adds = RULE + "STAGE1_RULES = [Rule(name='new.rule', columns=('url',), **RULE)]"
    with_rule, without = load_recipe(None, [plugin(adds)]), load_recipe()
    names = [[setting.rule.name for setting in recipe.stage1_rules()] for recipe in (with_rule, without)]
    assert names[0] == [*names[1], "new.rule"]


LOCATED = """
from infra.compat.settings import Location, Section
from pipelines.scoring.score import Score

class Head(Section):
    checkpoint: Location = ""

SCORES = [Score("head", lambda settings: {"path": settings.own("head", Head).checkpoint}, None, settings=Head)]
"""


@pytest.mark.parametrize("overrides", [[], ["score.batch=3"]])
def test_a_relative_path_of_a_scores_own_settings_starts_at_the_recipe(
    plugin: Callable[[str], str], tmp_path: Path, overrides: list[str]
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    text = f'{plugin(LOCATED)}\n[score]\nunsafe = false\nby_score.head.checkpoint = "head.safetensors"\n'
    (folder / "recipe.toml").write_text(text)
    recipe = load_recipe(str(folder / "recipe.toml"), overrides)
    assert provenance(recipe.score) == {"head": {"path": str(folder / "head.safetensors")}}
