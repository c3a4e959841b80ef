"""The recipe: the one configuration file (TOML), validated. Every value has a default, so an empty recipe is a recipe.

    plugins = ["my_lab.rules"]    # modules of one's own: pipelines/runtime/plugins.py

    [[sources]]                   # what `pairmill run`, and `ingest` without arguments, read
    name = "laion2b-en"
    files = ["laion2b-en/*.parquet"]

    [stage1.clip_similarity]
    min = 0.28
    missing = "keep"
    by_source.laion2b-multi.min = 0.26

    [stage2]
    repair.enabled = true               # captions are repaired before they are judged
    by_source.wukong.enabled = false    # of one rule: offensive.words.by_source.wukong.enabled = false

The class of each section lies beside the step that reads it (`fetching/settings.py`, …); rules keep their own thresholds
(`filters`). `--set section.key=value` overrides, and so do the options of a job.

Relative paths in a recipe (the `Location`s of its settings) are relative to the recipe's folder, so that a recipe can lie beside
its data; those of `--set` and of options are relative to the working folder.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from filters import stage1, stage2
from filters.rules import Rule, RuleSetting, configure, required_columns
from infra.compat.errors import RequestError
from infra.compat.settings import Section, first_fault, read_toml
from infra.recipes import FOLDER
from pipelines.captioning import captioners
from pipelines.captioning.settings import CaptionSettings
from pipelines.corpus.settings import DedupSettings
from pipelines.exporting.settings import ExportSettings
from pipelines.fetching.settings import FetchSettings
from pipelines.judging.verdicts import inputs_of
from pipelines.manifest.precedence import PRECEDENCE, require_columns
from pipelines.reporting.settings import ReportSettings
from pipelines.runtime.plugins import any_defines, load_plugins, with_plugins
from pipelines.scoring import scores
from pipelines.scoring.settings import ScoreSettings
from pipelines.sources import sources
from pipelines.sources.settings import IngestSettings, SourceSettings

SHIPPED = {file.stem: str(file) for file in FOLDER.glob("*.toml")}  # name → recipe to start from


class Recipe(Section):
    """All settings of a run; `plugins` are modules that add rules, sources, scores and captioners to ours."""

    plugins: tuple[str, ...] = ()
    sources: tuple[SourceSettings, ...] = ()
    ingest: IngestSettings = IngestSettings()
    fetch: FetchSettings = FetchSettings()
    stage1: dict[str, Any] = Field(default_factory=dict)
    score: ScoreSettings = ScoreSettings()
    dedup: DedupSettings = DedupSettings()
    stage2: dict[str, Any] = Field(default_factory=dict)
    caption: CaptionSettings = CaptionSettings()
    export: ExportSettings = ExportSettings()
    report: ReportSettings = ReportSettings()

    def stage1_rules(self) -> list[RuleSetting]:
        """The first filter's rules as set here."""
        return self._rules(stage1.RULES, "STAGE1_RULES", self.stage1)

    def stage2_rules(self) -> list[RuleSetting]:
        """The second filter's rules as set here."""
        return self._rules(stage2.RULES, "STAGE2_RULES", {name: value for name, value in self.stage2.items() if name != "repair"})

    def stage2_repairs(self) -> bool:
        """Whether captions are repaired before they are judged; ValueError for anything else in `[stage2.repair]`."""
        section = self.stage2.get("repair", {})
        enabled = section.get("enabled", True) if isinstance(section, Mapping) and set(section) <= {"enabled"} else None
        if not isinstance(enabled, bool):
            raise ValueError(f"stage2.repair = {section!r} has settings that are not known; it has enabled (true or false)")
        return enabled

    def _rules(self, ours: Sequence[Rule], kind: str, section: Mapping[str, Any]) -> list[RuleSetting]:
        settings = configure(with_plugins(ours, kind, Rule, "name", plugins=self.plugins), section)
        unknown = set(required_columns(settings)) - set(PRECEDENCE)
        if unknown:
            require_columns(sorted(unknown), scores())
        return settings


def recipe_of(options: argparse.Namespace) -> Recipe:
    """The recipe that a job's common options name: `recipe`, a file, and `set`, overrides of it."""
    return load_recipe(options.recipe, options.set)


def load_recipe(path: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in the file at `path` with `section.key=value` overrides; RequestError says what is wrong where.

    `path` may be the name of one of `infra/recipes`, where no file has that name.
    """
    if path and path in SHIPPED and not Path(path).exists():
        path = SHIPPED[path]
    where, folder = (f"recipe {path}", Path(path).resolve().parent) if path else ("the default recipe", None)
    recipe = _validated(read_toml(path, "recipe") if path else {}, where, folder)
    if not overrides:
        return recipe
    document = recipe.model_dump(exclude_unset=True)
    for override in overrides:
        _merge(document, _override(override))
    return _validated(document, "--set")


def _validated(document: Mapping[str, Any], where: str, folder: Path | None = None) -> Recipe:
    """The document as a recipe; its relative paths are relative to `folder`. RequestError begins with `where`."""
    try:
        recipe = Recipe.model_validate(document, context={"folder": folder})
        _load_plugins(recipe)
        if recipe.score.by_score:  # the classes of these settings are known once the plugins are
            kinds = {name: score.settings for name, score in scores().items()}
            recipe = recipe.model_copy(update={"score": recipe.score.located(kinds, folder)})
    except ValidationError as error:
        raise RequestError(f"{where}: {first_fault(error, Recipe)}") from None
    except ValueError as error:
        raise RequestError(f"{where}: {error}") from None
    return recipe


def _load_plugins(recipe: Recipe) -> None:
    """Loads the recipe's plugins and sets all rules; RequestError or ValueError when that cannot be done."""
    load_plugins(recipe.plugins)
    inputs_of(recipe.stage1_rules(), "stage1")
    inputs_of(recipe.stage2_rules(), "stage2")
    recipe.stage2_repairs()
    for kind, members in (("SOURCES", sources), ("SCORES", scores), ("CAPTIONERS", captioners)):
        if any_defines(kind):
            members()


def _override(text: str) -> dict[str, Any]:
    """`section.key=value` as a document; the value is TOML, or a string without quotes, as people type it in a shell."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RequestError(f"--set {text!r} has no value; write it as section.key=value")
    for line in (text, f"{key} = {json.dumps(value)}"):
        try:
            return tomllib.loads(line)
        except tomllib.TOMLDecodeError:
            continue
    raise RequestError(f"--set {text!r} is not of the form section.key=value; quote keys that hold dots")


def _merge(into: dict[str, Any], document: Mapping[str, Any]) -> None:
    for key, value in document.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
