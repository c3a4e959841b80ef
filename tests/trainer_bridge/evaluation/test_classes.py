"""Names of classes and templates come from a plain file in several languages, and what is wrong with it is told in a line."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from infra.compat.errors import RequestError
from tests import ROOT
from trainer_bridge.evaluation.classes import own_templates, prompt_sets, read_classes
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.settings import EvaluationSettings
from trainer_bridge.stages.settings import RunSettings

FILE = """
[en]
templates = ["a photo of a {}.", "{}!"]
names = {n01 = ["tench", "Tinca tinca"], n02 = "goldfish"}
[zh]
names = {n01 = "丁鲷", n02 = "金鱼"}
"""


def labelled(**fields: object) -> EvaluationSet:
    return EvaluationSet(2, lambda numbers: [], labels=["n01", "n02"], **fields)


def test_every_name_is_put_into_every_template(tmp_path: Path) -> None:
    path = tmp_path / "classes.toml"
    path.write_text(FILE)
    (tmp_path / "classes.json").write_text(json.dumps(read_classes(str(path))))
    for file in ("classes.toml", "classes.json"):
        sets = prompt_sets(labelled(names=read_classes(str(tmp_path / file))))
        assert list(sets) == ["en", "zh"]
        assert sets["en"].sentences == {
            "n01": ["a photo of a tench.", "tench!", "a photo of a Tinca tinca.", "Tinca tinca!"],
            "n02": ["a photo of a goldfish.", "goldfish!"],
        }
        assert sets["zh"].sentences["n02"] == [template.replace("{}", "金鱼") for template in own_templates()["zh"]]


def test_names_may_be_given_in_order_and_a_set_may_have_fewer_classes_than_the_file(tmp_path: Path) -> None:
    in_order = {"en": {"names": ["tench", "goldfish"], "templates": ["{}"]}}
    assert prompt_sets(labelled(names=in_order, class_names={"n01": (), "n02": ()}))["en"].sentences["n02"] == ["goldfish"]
    assert list(prompt_sets(labelled(names=in_order))["en"].sentences) == ["0", "1"]
    by_key = {"en": {"names": {"n01": "tench", "n02": "goldfish", "n03": "shark"}, "templates": ["{}"]}}
    assert list(prompt_sets(labelled(names=by_key, class_names={"n02": ()}))["en"].sentences) == ["n02"]
    assert list(prompt_sets(labelled(names=by_key))["en"].sentences) == ["n01", "n02", "n03"]
    assert prompt_sets(labelled(class_names={"n01": ["tench"], "n02": ["goldfish"]})).keys() == {"en"}


def test_the_files_of_the_readme_are_read(tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    (classes,) = [block for block in blocks if "tench" in block]
    (tmp_path / "classes.toml").write_text(classes)
    assert read_classes(str(tmp_path / "classes.toml")).keys() == {"en", "zh"}
    (experiment,) = [tomllib.loads(block) for block in blocks if "[[evaluation]]" in block]
    assert RunSettings(micro_batch=1, **experiment["run"]).evaluate_every == 1000
    assert [EvaluationSettings(**table).kind for table in experiment["evaluation"]] == ["", "classification"]


def test_own_templates_have_a_place_for_the_name_and_are_distinct() -> None:
    templates = own_templates()
    assert len(templates) >= 10
    for sentences in templates.values():
        assert len(sentences) >= 4 and len(set(sentences)) == len(sentences)
        assert all(sentence.count("{}") == 1 for sentence in sentences)


@pytest.mark.parametrize(
    "text, message",
    [
        ("en = 1", r"classes.toml, en is no section"),
        ("", r"names no language"),
        ("[en]\nnames = 1", r"names must give each class a name"),
        ("[en]\nnames = {n01 = []}\n", r"names must give each class a name"),
        ("[en]\nname = {}", r"en: name is no setting; did you mean 'names'\?"),
        ("[en]\ntemplates = ['a photo']\nnames = ['x']", r"the template 'a photo' has no \{\}"),
        ("[tlh]\nnames = ['x']", r"tlh: we have no templates in this language; set templates"),
        ("[en", r"is not TOML"),
    ],
)
def test_a_wrong_file_is_told_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "classes.toml"
    path.write_text(text)
    with pytest.raises(RequestError, match=message) as caught:
        read_classes(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields, message",
    [
        (
            {"names": {"en": {"names": {"n01": "a"}, "templates": ["{}"]}}, "class_names": {"n02": ()}},
            "class n02 has no name in en",
        ),
        ({"names": {"en": {"names": ["a"], "templates": ["{}"]}}, "class_names": {"n01": (), "n02": ()}}, "2 classes .* names 1"),
        ({"class_names": {"n01": ()}}, "class n01 has no name in en; put a class list beside it"),
        ({}, "have no names; give them with --classes"),
        ({"labels": ()}, "needs the class of each picture"),
    ],
)
def test_classes_without_names_are_told_in_a_line(fields: dict, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        prompt_sets(EvaluationSet(2, lambda numbers: [], **{"labels": ["n01", "n02"]} | fields))
