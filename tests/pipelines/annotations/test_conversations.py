"""Annotations of others become conversations: boxes of 0 … 1000 of the original picture, classes by line, texts in order."""

import io
import json
import re
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from infra.compat.errors import RequestError
from pipelines import conversations
from pipelines.annotations import coco
from pipelines.annotations.boxes import SCALE, BoxFault, pixel_box, scaled_box
from pipelines.annotations.ocr import Line, in_reading_order
from pipelines.annotations.phrases import located, plain
from pipelines.annotations.reading import Tally, json_lines
from sharding.lines import Lines


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


BOXES = re.compile(r"\[(\d+), (\d+), (\d+), (\d+)\]")


def converted(folder: Path, kind: str, content: Any, *options: str) -> tuple[dict, list[dict]]:
    """The counts and the lines that a file of this content gives; a list of dicts is written as JSON lines."""
    file, out = folder / "in.json", folder / "out" / "lines.jsonl"
    lines = content if isinstance(content, str) else "\n".join(map(json.dumps, content))
    file.write_text(json.dumps(content) if isinstance(content, dict) else lines)
    counts = conversations.main([kind, str(file), "--out", str(out), *options])
    return counts, [json.loads(line) for line in out.read_text().splitlines()]


def instances(annotations: list[dict], images: list[dict] | None = None) -> dict:
    sizes = images or [{"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}]
    categories = [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}]
    numbered = [{"id": number, "image_id": 7, "category_id": 3, **each} for number, each in enumerate(annotations)]
    return {"annotations": numbered, "info": {"year": 2017}, "images": sizes, "categories": categories}


def test_all_boxes_of_a_class_stand_on_one_line(tmp_path: Path) -> None:
    boxes = [{"bbox": [100, 50, 100, 50]}, {"bbox": [0, 0, 20, 10]}, {"bbox": [20, 10, 30, 30.5], "category_id": 1}]
    counts, (entry,) = converted(tmp_path, "coco", instances(boxes))
    assert (entry["image"], entry["width"], entry["height"], entry["id"]) == ("a.jpg", 200, 100, "7")
    question, answer = (turn["value"] for turn in entry["conversations"])
    assert question == "<image>\nPlease detect and label all objects in the following image and mark their positions."
    assert answer.splitlines() == [
        "Sure, I will detect and label all objects in the image and mark their positions.",
        "<ref>cat</ref><box>[[100, 100, 250, 405]]</box>",
        "<ref>dog</ref><box>[[0, 0, 100, 100], [500, 500, 1000, 1000]]</box>",
    ]
    assert counts == {"read": 1, "written": 1, "boxes": 3, "reasons": {}, "failed": {}}


def test_what_is_no_objects_box_is_counted_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faulty = [
        {"bbox": [5, 5, 0, 10]},
        {"bbox": [500, 5, 10, 10]},
        {"bbox": [1, 2, 3]},
        {"bbox": [0, 0, 9, 9], "iscrowd": 1},
        {"bbox": [0, 0, 9, 9], "category_id": 99},
        {"bbox": [0, 0, 9, 9], "image_id": 99},
        {"bbox": ["1", 0, 9, 9]},
        {"bbox": [0, 0, 50, 50]},
    ]
    counts, (entry,) = converted(tmp_path, "coco", instances(faulty))
    assert entry["conversations"][1]["value"].endswith("<ref>dog</ref><box>[[0, 0, 250, 500]]</box>")
    assert counts["reasons"] == {
        "box_degenerate": 1,
        "box_not_numbers": 2,
        "box_outside": 1,
        "crowd": 1,
        "no_category": 1,
        "no_image": 1,
    }
    assert "annotation 4: no_category" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("of_picture", "of_annotation"), [(7, 7.0), ("7", "7"), ("7", 7), (7.0, "7"), ("000000000007", "000000000007")]
)
def test_ids_may_be_numbers_or_text(of_picture: Any, of_annotation: Any, tmp_path: Path) -> None:
    picture = {"id": of_picture, "file_name": "a.jpg", "width": 200, "height": 100}
    document = instances([{"bbox": [0, 0, 50, 50], "image_id": of_annotation, "category_id": "3"}], [picture])
    _, (entry,) = converted(tmp_path, "coco", document)
    assert entry["conversations"][1]["value"].endswith("<ref>dog</ref><box>[[0, 0, 250, 500]]</box>")


def test_ids_that_are_none_or_stand_twice_are_counted(tmp_path: Path) -> None:
    box = {"bbox": [0, 0, 50, 50]}
    faulty = [box, box | {"image_id": [7]}, box | {"category_id": {}}, box | {"category_id": 8}, box | {"image_id": None}]
    picture = {"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}
    document = instances(faulty, [picture, picture, {**picture, "id": None}])
    document["categories"] += [{"id": 8, "name": " "}, {"id": [9], "name": "x"}, {"id": 10, "name": None}]
    counts, lines = converted(tmp_path, "coco", document)
    assert len(lines) == counts["boxes"] == 1
    assert counts["reasons"] == {"no_image": 2, "no_category": 2, "same_id": 1, "no_boxes": 1}


@pytest.mark.parametrize("content", ["{}", '[{"a": 1}]', '{"images": []}'])
def test_a_file_of_another_kind_is_no_success(content: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="has no `images`"):
        converted(tmp_path, "coco", content)
    counts, _ = converted(tmp_path, "ocr", "")
    assert "no entry" in next(iter(counts["failed"].values()))


def test_a_file_of_which_little_is_left_has_failed(tmp_path: Path) -> None:
    images = [{"id": number, "file_name": f"{number}.jpg", "width": 10, "height": 10} for number in range(3)]
    counts, lines = converted(tmp_path, "coco", instances([{"bbox": [0, 0, 5, 5], "image_id": 1}], images))
    assert len(lines) == 1 and counts["reasons"] == {"no_boxes": 2} and "less than half" in next(iter(counts["failed"].values()))


@given(
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
    st.integers(1, 5000),
    st.integers(1, 5000),
)
def test_a_box_is_whole_numbers_in_its_picture_or_refused(shares: list[float], width: int, height: int) -> None:
    (x1, x2), (y1, y2) = sorted((shares[0], shares[2])), sorted((shares[1], shares[3]))
    try:
        left, top, right, bottom = scaled_box((x1 * width, y1 * height, x2 * width, y2 * height), width, height)
    except BoxFault as fault:
        assert str(fault) == "box_degenerate" and (
            round(x1 * SCALE) == round(x2 * SCALE) or round(y1 * SCALE) == round(y2 * SCALE)
        )
        return
    assert 0 <= left < right <= SCALE and 0 <= top < bottom <= SCALE
    for ours, exact in ((left, x1), (top, y1), (right, x2), (bottom, y2)):
        assert abs(ours - exact * SCALE) <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("corners", "fault"),
    [
        ((0, 0, 201, 100), None),  # a little over the edge
        ((0, 0, 300, 100), "box_outside"),
        ((-50, 0, 100, 100), "box_outside"),
        ((0, 0, float("nan"), 9), "box_not_numbers"),
        ((0, 0, 9), "box_not_numbers"),
        ((50, 50, 10, 10), "box_degenerate"),
        ((0.1, 0.2, 0.5, 1), "box_tiny"),
        ((0, 0, 0, 0), "box_degenerate"),
        ((0.5, 0.5, 0.1, 0.1), "box_degenerate"),
    ],
)
def test_corners_that_are_no_box(corners: tuple, fault: str | None) -> None:
    if fault is None:
        assert pixel_box(corners, 200, 100) == (0, 0, 1000, 1000)
        return
    with pytest.raises(BoxFault, match=fault):
        pixel_box(corners, 200, 100)


def test_a_phrase_is_grounded(tmp_path: Path) -> None:
    lines = [
        {"image": "a.jpg", "width": 100, "height": 100, "phrase": "the  tall <ref>man</ref>", "box": [10, 20, 30, 40]},
        {"image": "b.jpg", "width": 100, "height": 50, "sent": "two", "boxes": [[50, 0, 60, 50], [0, 0, 10, 50]]},
        {"image": "c.jpg", "width": 100, "height": 50, "expression": "e", "bbox": [10, 10, 20, 20], "bbox_mode": "xywh"},
        {"image": "d.jpg", "width": 100, "height": 50, "phrase": "nothing", "box": [5, 5, 5, 9]},
        {"image": "e.jpg", "phrase": "no size", "box": [5, 5, 15, 19]},
        {"width": 3, "height": 3, "phrase": "no picture"},
    ]
    counts, entries = converted(tmp_path, "grounding", lines)
    said = [[turn["value"] for turn in entry["conversations"]] for entry in entries]
    assert said[0] == [
        "<image>\nPlease provide the bounding box coordinate of the region this sentence describes: "
        "<ref>the tall < ref>man< /ref></ref>",
        "<ref>the tall < ref>man< /ref></ref><box>[[100, 200, 300, 400]]</box>",
    ]
    assert said[1][1] == "<ref>two</ref><box>[[0, 0, 100, 1000], [500, 0, 600, 1000]]</box>"
    assert said[2][1] == "<ref>e</ref><box>[[100, 200, 300, 600]]</box>"
    assert counts["reasons"] == {"box_degenerate": 1, "no_boxes": 1, "no_size": 1, "no_image": 1}


def test_text_is_read_row_by_row(tmp_path: Path) -> None:
    lines = [
        {"text": "right", "box": [60, 11, 90, 31]},
        {"text": "below", "points": [[0, 50], [40, 50], [40, 70], [0, 70]]},
        {"transcription": "left", "points": [0, 8, 40, 8, 40, 30, 0, 30]},
        {"text": "###", "box": [0, 0, 1, 1]},
        {"text": "unplaced"},
    ]
    entry = {"image": "a.jpg", "width": 100, "height": 100, "lines": lines}
    counts, (english,) = converted(tmp_path, "ocr", [entry])
    assert english["conversations"] == [
        {"from": "human", "value": "<image>\nPlease recognize the text in the image"},
        {"from": "gpt", "value": "The text in the image includes: \nleft\nright\nbelow"},
    ]
    assert counts["lines"] == 3 and counts["reasons"] == {"no_text": 1, "box_not_numbers": 1}
    _, (chinese,) = converted(tmp_path, "ocr", [entry], "--language", "zh")
    assert [turn["value"].splitlines()[-4:][0] for turn in chinese["conversations"]] == ["<image>", "图中的文字包括："]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12, unique=True), st.randoms())
def test_the_order_of_reading_is_that_of_places_not_of_the_file(cells: list[tuple[int, int]], rng: Any) -> None:
    lines = [Line(f"{row}:{column}", column * 50, row * 30 + column % 3, row * 30 + 20 + column % 3) for row, column in cells]
    rng.shuffle(lines)
    assert [line.text for line in in_reading_order(lines)] == [f"{row}:{column}" for row, column in sorted(cells)]


def test_shares_of_the_sides_become_boxes(tmp_path: Path) -> None:
    def turns(answer: str) -> list[dict]:
        return [
            {"from": "human", "value": "<image>\nWhere is the dog at [0.1, 0.1, 0.2, 0.2]?"},
            {"from": "gpt", "value": answer},
        ]

    lines = [
        {"id": "1", "image": "a.jpg", "width": 200, "height": 100, "conversations": turns("At [0.25, 0.5, 0.5,0.75].")},
        {"id": "2", "image": "a.jpg", "width": 200, "height": 100, "conversations": turns("At [0.5, 0.5, 120, 130].")},
        {"id": "3", "image": "a.jpg", "width": 200, "height": 100, "conversations": turns("At [100, 200, 300, 400].")},
        {"id": "4", "image": "a.jpg", "width": 200, "height": 100, "conversations": turns("Nowhere.")},
    ]
    counts, entries = converted(tmp_path, "llava", lines)
    assert [entry["conversations"][1]["value"] for entry in entries] == [
        "At <box>[[250, 500, 500, 750]]</box>.",
        "At <box>[[100, 200, 300, 400]]</box>.",
        "Nowhere.",
    ]
    assert "<box>[[100, 100, 200, 200]]</box>" in entries[0]["conversations"][0]["value"]
    assert counts["reasons"] == {"box_unit": 1}
    _, padded = converted(
        tmp_path, "llava", [lines[0] | {"conversations": [{"from": "gpt", "value": "[0, 0.25, 0.5, 0.5]"}]}], "--padded"
    )
    assert padded[0]["conversations"][0]["value"] == "<box>[[0, 0, 500, 500]]</box>", "the upper half of the middle band"


def said(tmp_path: Path, value: Any, *options: str, **entry: Any) -> tuple[dict, list[Any]]:
    """The counts, and what is left of an answer of LLaVA's form beside one that is sound."""
    sound = {"image": "a.jpg", "width": 200, "height": 100, "conversations": [{"from": "gpt", "value": "Nowhere."}]}
    counts, lines = converted(
        tmp_path, "llava", [sound, {**sound, "conversations": [{"from": "gpt", "value": value}], **entry}], *options
    )
    return counts, [line["conversations"][0]["value"] for line in lines[1:]]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (
            "<ref>x</ref><box>[[100, 200, 300, 400], [1, 2, 3, 4]]</box>",
            "<ref>x</ref><box>[[100, 200, 300, 400], [1, 2, 3, 4]]</box>",
        ),
        ("<ref>x</ref><box>[0.1, 0.2, 0.3, 0.4]</box>", "<ref>x</ref><box>[[100, 200, 300, 400]]</box>"),
        ("at [[0.1, 0.2, 0.3, 0.4], [0, .5, 1., 1]]", "at <box>[[100, 200, 300, 400], [0, 500, 1000, 1000]]</box>"),
        ("at [-0.005, 1e-05, 0.3, 0.4]", "at <box>[[0, 0, 300, 400]]</box>"),
    ],
)
def test_boxes_get_one_tag_however_they_are_written(value: str, written: str, tmp_path: Path) -> None:
    counts, texts = said(tmp_path, value)
    assert texts == [written] and counts["boxes"] == len(BOXES.findall(written))


def test_what_is_no_text_of_a_turn_is_counted(tmp_path: Path) -> None:
    for value in (None, 5, ["x"]):
        assert said(tmp_path, value)[0]["reasons"] == {"no_text": 1}
    assert said(tmp_path, "x", conversations=[])[0]["reasons"] == {"no_text": 1}
    assert said(tmp_path, "[-0.5, 0, 1, 1]")[0]["reasons"] == {"box_outside": 1}
    assert said(tmp_path, "x", image=["a.jpg", "b.jpg"])[0]["reasons"] == {"several_images": 1}


def test_llavas_own_mix_names_no_sizes_and_has_texts_alone(tmp_path: Path) -> None:
    box = {"image": ["a.jpg"], "conversations": [{"from": "gpt", "value": "[0.1, 0.2, 0.3, 0.4]"}]}
    text = {
        "id": "t",
        "conversations": [{"from": "human", "value": "Sort [4, 3, 2, 1]."}, {"from": "gpt", "value": "[1, 2, 3, 4]"}],
    }
    counts, entries = converted(tmp_path, "llava", [box, text], "--page", str(tmp_path / "page.html"))
    assert entries == [
        {"id": "a.jpg", "image": "a.jpg", "conversations": [{"from": "gpt", "value": "<box>[[100, 200, 300, 400]]</box>"}]},
        text,
    ]
    assert counts["boxes"] == 1
    assert converted(tmp_path, "llava", [box, text], "--padded")[0]["reasons"] == {"no_size": 1}


def test_a_list_as_one_json_is_read_too(tmp_path: Path) -> None:
    lines = [{"image": "a.jpg", "width": 9, "height": 9, "conversations": [{"from": "gpt", "value": "x"}]}, "no object"]
    counts, entries = converted(tmp_path, "llava", json.dumps(lines))
    assert len(entries) == 1 and counts["reasons"] == {"not_json": 1}


def test_lines_that_are_no_json_cost_a_line(tmp_path: Path) -> None:
    good = json.dumps({"image": "a.jpg", "width": 9, "height": 9, "phrase": "x", "box": [0, 0, 9, 9]})
    counts, entries = converted(tmp_path, "grounding", f"{good}\nnot json\n\n[1, 2]\n{good}\n{good}\n")
    assert len(entries) == 3 and counts["reasons"] == {"not_json": 2} and counts["failed"] == {}


def test_the_page_shows_boxes_and_escapes_what_others_wrote(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (200, 100), "white").save(tmp_path / "pictures" / "a.jpg")
    hostile = {"image": "a.jpg", "width": 200, "height": 100, "phrase": "<script>alert(1)</script>", "box": [20, 10, 100, 90]}
    missing = hostile | {"image": "b.jpg"}
    html = tmp_path / "page.html"
    converted(tmp_path, "grounding", [hostile, missing], "--page", str(html), "--pictures", str(tmp_path / "pictures"))
    text = html.read_text()
    assert "<script>" not in text and "&lt;script&gt;" in text and text.count("data:image/jpeg") == 1 and "not shown" in text


NO_BOX = [
    5,
    {"a": 1},
    "abcd",
    [1, 2, 3],
    [None] * 4,
    [[1, 2], [3]],
    [10**400, 0, 1, 1],
    [float("nan"), 0, 1, 1],
    [float("inf")] * 4,
]


@pytest.mark.parametrize("box", NO_BOX, ids=repr)
@pytest.mark.parametrize("kind", ["grounding", "xywh", "ocr"])
def test_whatever_stands_for_a_box_costs_no_more_than_its_line(kind: str, box: Any, tmp_path: Path) -> None:
    sound = {"image": "a.jpg", "width": 100, "height": 100, "phrase": "x", "box": [0, 0, 9, 9]}
    sound["lines"] = [{"text": "a", "box": sound["box"]}]
    for faulty in ({"lines": [{"text": "b", "box": box}], "box": box, "bbox_mode": kind}, {"lines": box, "boxes": box}):
        counts, entries = converted(tmp_path, "ocr" if kind == "ocr" else "grounding", [sound, sound | faulty])
        assert len(entries) == 1 and counts["read"] == 2 and counts["reasons"]


@pytest.mark.parametrize("width", [float("inf"), float("nan"), 10**400, 0, -3, "9", None, True])
def test_a_size_that_is_none_is_counted(width: Any, tmp_path: Path) -> None:
    line = {"image": "a.jpg", "width": 9, "height": 9, "phrase": "x", "box": [0, 0, 9, 9]}
    counts, _ = converted(tmp_path, "grounding", [line, line | {"width": width}])
    assert counts["reasons"] == {"no_size": 1}


def test_a_file_may_begin_with_a_mark_and_name_pictures_by_uri(tmp_path: Path) -> None:
    line = {"image": "s3://bucket/a.jpg", "width": 9, "height": 9, "phrase": "\ud800", "box": [0, 0, 9, 9]}
    html = tmp_path / "page.html"
    for content in ("\ufeff" + json.dumps(line), "\ufeff" + json.dumps([line])):
        _, (entry,) = converted(tmp_path, "grounding", content, "--page", str(html))
        assert entry["image"] == "s3://bucket/a.jpg" and "not shown" in html.read_text()
    _, (entry,) = converted(tmp_path, "coco", "\ufeff" + json.dumps(instances([{"bbox": [0, 0, 50, 50]}])))
    with pytest.raises(RequestError, match="a path on this machine"):
        conversations.main(["coco", "in.json", "--out", "s3://bucket/lines.jsonl"])


def test_the_page_is_of_any_text(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg")
    html = tmp_path / "page.html"
    for value in ("<box>[[a]]</box>", "<box>[[1, 2]]</box>", "<box>[[9, 9, 1]], [[1]]</box>"):
        _, texts = said(tmp_path, value, "--page", str(html), "--pictures", str(tmp_path))
        assert texts == [value] and html.read_text().count("data:image/jpeg") == 2


@pytest.mark.parametrize("content", ["{", '{"images": [}', ""])
def test_a_broken_file_is_one_line(tmp_path: Path, content: str) -> None:
    with pytest.raises(RequestError, match="no JSON that can be read") as caught:
        converted(tmp_path, "coco", content)
    assert "\n" not in str(caught.value) and not (tmp_path / "out" / "lines.jsonl").exists()


def test_a_list_without_an_end_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no JSON list: at byte 1"):
        converted(tmp_path, "ocr", "[" * 100_000)


@given(st.text())
def test_a_label_is_one_line_and_opens_no_tag(text: str) -> None:
    written = located(text, [(1, 2, 3, 4)])
    assert written.count("\n") == 0 and written.count("<ref>") == written.count("<box>") == 1
    assert "<image>" not in plain(text) and BOXES.findall(written)[-1] == ("1", "2", "3", "4")


@settings(max_examples=200)
@given(st.text(alphabet='[]{}"\\a', max_size=40), st.integers(1, 9))
def test_depth_is_counted_outside_of_strings_wherever_a_read_ends(text: str, size: int) -> None:
    document = json.dumps({"images": [{"file_name": text, "a": [text, [text]]}]}).encode()
    shallow = coco._Shallow(io.BytesIO(document), "x")
    assert b"".join(iter(lambda: shallow.read(size), b"")) == document
    assert (shallow.depth, shallow.in_string) == (0, False)


def test_a_file_that_nests_without_end_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_bytes(b'{"images": ' + b"[" * 3_000_000)
    with pytest.raises(RequestError, match="nests more than"):
        conversations.main(["coco", str(tmp_path / "in.json"), "--out", str(tmp_path / "out.jsonl")])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20, "in KiB"


def test_a_list_is_read_through_an_index_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    read_many = Lines.read_many
    monkeypatch.setattr(Lines, "read_many", lambda self, rows: (read.append(len(rows)), read_many(self, rows))[1])
    (tmp_path / "in.json").write_text(json.dumps([{"a": number} for number in range(1000)] + [7]))
    tally = Tally()
    found = [entry["a"] for _, entry in json_lines(str(tmp_path / "in.json"), tally)]
    assert found == [*range(1000)] and tally.reasons == {"not_json": 1} and tally.counts["read"] == 1001
    assert max(read) <= 256
