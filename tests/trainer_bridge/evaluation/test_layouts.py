"""Evaluation sets are read as people have them in folders, and what is wrong with one is told in a line."""

import json
from functools import partial
from pathlib import Path

import pytest

from infra.compat.errors import RequestError
from sharding.decode import decode_picture
from tests.support import evaluation_folders as folders
from tests.support.evaluation_folders import CAPTIONS, COLOURS
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.layouts import find_layouts, read_folder

RGB = {"red": (254, 0, 0), "green": (0, 128, 1), "blue": (0, 0, 254)}
CAPTIONED = {
    "coco": folders.write_coco,
    "karpathy": folders.write_karpathy,
    "karpathy of coco": partial(folders.write_karpathy, name="coco"),
    "flickr30k": folders.write_flickr30k,
    "flickr30k as published": partial(folders.write_flickr30k, table="results_20130124.token"),
    "flickr30k as a csv": partial(folders.write_flickr30k, table="captions.txt"),
    "flickr30k with splits": partial(folders.write_flickr30k, table="flickr_annotations_30k.csv"),
}


def colours(data: EvaluationSet) -> list[str]:
    """The colour of each picture."""
    pixels = [decode_picture(content).getpixel((3, 3)) for content in data.read(range(data.pictures))]
    return [min(RGB, key=lambda name: sum(abs(a - b) for a, b in zip(RGB[name], pixel, strict=True))) for pixel in pixels]


@pytest.mark.parametrize("layout", CAPTIONED)
def test_pictures_come_with_their_captions(tmp_path: Path, layout: str) -> None:
    CAPTIONED[layout](tmp_path)
    data = read_folder(tmp_path)
    of_picture = colours(data)
    assert sorted(of_picture) == sorted(COLOURS) and len(data.metadata) == 6
    pairs = {(of_picture[picture], text) for picture, text in zip(data.image_index.tolist(), data.texts, strict=True)}
    assert pairs == {(colour, text) for colour in COLOURS for text in CAPTIONS[colour]}
    assert data.first(2).pictures == 2 and len(data.first(2).texts) == 4 and set(data.first(2).image_index) == {0, 1}


def test_every_layout_is_recognised_as_itself(tmp_path: Path) -> None:
    writers = {name.partition(" ")[0]: write for name, write in reversed(CAPTIONED.items())}
    writers |= {"xtd": folders.write_xtd, "imagenet": folders.write_imagenet}
    assert writers.keys() == find_layouts().keys()
    for name, write in writers.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name)
        assert [layout for layout, each in find_layouts().items() if each.recognises(tmp_path / name)] == [name]


def test_xtd_has_a_caption_of_each_picture_in_each_language(tmp_path: Path) -> None:
    folders.write_xtd(tmp_path)
    data = read_folder(tmp_path)
    assert data.by_language and colours(data) == COLOURS
    assert {name: [data.texts[row] for row in rows] for name, rows in data.languages().items()} == {
        "de": ["rot gestrichen", "grün gestrichen", "blau gestrichen"],
        "en": [CAPTIONS[colour][0] for colour in COLOURS],
    }
    assert read_folder(tmp_path, split="de").texts[0] == "rot gestrichen" and len(read_folder(tmp_path, split="de").texts) == 3


@pytest.mark.parametrize("listed", ["LOC_synset_mapping.txt", "words.txt", "imagenet_class_index.json"])
def test_imagenets_folders_are_classes_with_the_names_of_a_list(tmp_path: Path, listed: str) -> None:
    folders.write_imagenet(tmp_path, listed)
    data = read_folder(tmp_path)
    assert colours(data) == COLOURS and data.labels == ["n01440764", "n01443537", "n01484850"]
    assert list(data.class_names) == list(data.labels)
    assert data.class_names["n01443537"] == (["green field"] if listed.endswith("json") else ["green field", "green"])
    assert read_folder(tmp_path / "val").class_names == data.class_names


def test_folders_of_any_name_are_classes_where_the_layout_is_named(tmp_path: Path) -> None:
    folders.write_pictures(tmp_path, ["cat/1.jpg", "dog/2.jpg", "cat/3.jpg"])
    with pytest.raises(RequestError, match="is of no layout that is recognised"):
        read_folder(tmp_path)
    assert read_folder(tmp_path, "imagenet").labels == ["cat", "cat", "dog"]


def test_a_picture_that_is_missing_is_a_fault_and_all_missing_a_wrong_request(tmp_path: Path) -> None:
    folders.write_coco(tmp_path)
    (tmp_path / "val2017" / "000000000042.jpg").unlink()
    data = read_folder(tmp_path)
    assert [isinstance(content, OSError) for content in data.read([0, 1, 2])] == [False, True, False]
    (tmp_path / "val2017").rename(tmp_path / "elsewhere")
    with pytest.raises(
        RequestError, match=r"no pictures of .* are there \(000000000009.jpg …\); name their folder with --images"
    ):
        read_folder(tmp_path)
    assert len(read_folder(tmp_path, images=str(tmp_path / "elsewhere")).texts) == 6


def break_json(folder: Path) -> None:
    folders.write_coco(folder)
    (folder / "annotations" / "captions_val2017.json").write_text('{"images": [')


def break_keys(folder: Path) -> None:
    folders.write_coco(folder)
    (folder / "annotations" / "captions_val2017.json").write_text(json.dumps({"images": [], "categories": []}))


def break_lines(folder: Path) -> None:
    folders.write_xtd(folder)
    (folder / "test_1kcaptions_de.txt").write_text("rot\n")


def two_layouts(folder: Path) -> None:
    folders.write_coco(folder)
    folders.write_karpathy(folder, "coco")


def other_columns(folder: Path) -> None:
    folders.write_flickr30k(folder, "captions.txt")
    (folder / "captions.txt").write_text("url,words\na,b\n")


@pytest.mark.parametrize(
    "write, options, message",
    [
        (break_json, {}, r"captions_val2017.json is no JSON that can be read"),
        (break_keys, {}, r"is no caption file of COCO \(no 'annotations'\)"),
        (break_lines, {}, r"test_1kcaptions_de.txt has 1 lines for the 3 pictures"),
        (two_layouts, {}, r"could be coco or karpathy; name its layout with --layout"),
        (other_columns, {}, r"has columns url, words; it needs one of image_name, image, filename"),
        (folders.write_coco, {"split": "val2014"}, r"has no split 'val2014'; name one of train2017, val2017"),
        (folders.write_karpathy, {"split": "tset"}, r"has no split 'tset'; name one of test, train"),
        (folders.write_xtd, {"split": "fr"}, r"has no language 'fr'; name one of de, en"),
        (folders.write_xtd, {"layout": "coc"}, r"layout coc is none that is known; did you mean 'coco'\?"),
        (folders.write_xtd, {"layout": "coco"}, r"has no annotations/captions_<split>.json"),
        (folders.write_coco, {"layout": "xtd"}, r"has no test_image_names.txt; name XTD's folder"),
        (folders.write_coco, {"layout": "karpathy"}, r"has 0 files dataset_\*.json"),
        (folders.write_coco, {"layout": "flickr30k"}, r"must have one table of captions .* it has none"),
        (lambda folder: None, {"layout": "imagenet"}, r"has no folder for each class"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(tmp_path: Path, write: object, options: dict, message: str) -> None:
    write(tmp_path)
    with pytest.raises(RequestError, match=message) as caught:
        read_folder(tmp_path, **options)
    assert "\n" not in str(caught.value)
