"""Names of classes in several languages, and the sentences that they are put into.

A file (TOML or JSON) says for each language what classes are called, by their keys or in their order, and may give templates:

    [en]
    templates = ["a photo of a {}.", "a drawing of a {}."]      # without them, those of templates.toml
    names = {n01440764 = ["tench", "Tinca tinca"], n01443537 = "goldfish"}

    [zh]
    names = {n01440764 = "丁鲷", n01443537 = "金鱼"}
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.compat.errors import RequestError, nearest
from infra.compat.settings import read_toml
from trainer_bridge.evaluation.evaluation_set import EvaluationSet

TEMPLATES = Path(__file__).parent / "templates.toml"


@dataclass(frozen=True)
class PromptSet:
    """The sentences about each class in one language, by the key of the class."""

    sentences: Mapping[str, Sequence[str]]


def own_templates() -> dict[str, list[str]]:
    """Our templates by language."""
    return tomllib.loads(TEMPLATES.read_text(encoding="utf-8"))


def read_classes(path: str) -> dict[str, Any]:
    """The languages of a file of class names, each with `names` and `templates`; RequestError names what is wrong."""
    document = _read(path)
    for language, section in document.items():
        where = f"{path}, {language}"
        if not isinstance(section, dict):
            raise RequestError(f"{where} is no section; write [{language}] and names below it")
        for name in section.keys() - {"names", "templates"}:
            raise RequestError(f"{where}: {name} is no setting; {nearest(name, ('names', 'templates'))}")
        names = section.get("names")
        values = list(names.values()) if isinstance(names, dict) else names
        if not isinstance(values, list) or not values or not all(_names(value) for value in values):
            raise RequestError(f"{where}: names must give each class a name, or a list of names; by its key or in order")
        section["templates"] = templates = section.get("templates") or own_templates().get(language)
        if not isinstance(templates, list):
            raise RequestError(f'{where}: we have no templates in this language; set templates = ["… {{}} …"]')
        for template in templates:
            if not isinstance(template, str) or "{}" not in template:
                raise RequestError(f"{where}: the template {template!r} has no {{}} for the name")
    if not document:
        raise RequestError(f"{path} names no language; write [en] and names below it")
    return document


def _read(path: str) -> dict[str, Any]:
    if not path.endswith(".json"):
        return read_toml(path, "classes")
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"classes {path} is no JSON that can be read ({error})") from None
    if not isinstance(document, dict):
        raise RequestError(f"classes {path} holds no object of languages")
    return document


def _names(value: Any) -> list[str]:
    """The names of a class; none where the value is not a name or a list of names."""
    values = value if isinstance(value, list) else [value]
    return values if all(isinstance(name, str) and name for name in values) else []


def prompt_sets(data: EvaluationSet) -> dict[str, PromptSet]:
    """The sentences by language, of the classes that the set has, or else of all that a file of names has.

    Without a file the set's own names are put into English templates. RequestError when a class has no name.
    """
    if not data.labels:
        raise RequestError("classification needs the class of each picture, and this set has none; choose another kind")
    if not data.names:
        return {"en": _prompts({key: list(names) for key, names in data.class_names.items()}, own_templates()["en"], "en")}
    sets = {}
    for language, section in data.names.items():
        names = section["names"]
        by_key = names if isinstance(names, dict) else dict(zip(_keys_in_order(data, len(names)), names, strict=True))
        for key in data.class_names:
            if key not in by_key:
                raise RequestError(f"the class {key} has no name in {language}; {nearest(key, by_key)}")
        chosen = {key: _names(by_key[key]) for key in (data.class_names or by_key)}
        sets[language] = _prompts(chosen, section["templates"], language)
    return sets


def _keys_in_order(data: EvaluationSet, count: int) -> list[str]:
    """The keys of classes whose names are a list: in the set's order, or numbers from 0 where it does not know its classes."""
    keys = list(data.class_names) or [str(number) for number in range(count)]
    if len(keys) != count:
        raise RequestError(f"the set has {len(keys)} classes and the file names {count}; give names by key")
    return keys


def _prompts(names: Mapping[str, Sequence[str]], templates: Sequence[str], language: str) -> PromptSet:
    for key, of_class in names.items():
        if not of_class:
            raise RequestError(
                f"the class {key} has no name in {language}; put a class list beside it, or give one with --classes"
            )
    if not names:
        raise RequestError("the classes of this set have no names; give them with --classes")
    return PromptSet({key: [t.replace("{}", name) for name in of_class for t in templates] for key, of_class in names.items()})
