"""Questions with answers, captions and regions → conversations in the words of LLaVA-1.5 and InternVL.

Questions about one picture that follow each other in a file become one conversation, as LLaVA-1.5 has them. Source: LLaVA-1.5
(Liu et al. 2023), table 7 of its appendix and its evaluation scripts; InternVL's documentation for boxes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from infra.compat.errors import RequestError
from infra.compat.files import open_file
from pipelines.annotations.boxes import BoxFault, pixel_box
from pipelines.annotations.grounded import read_grounded
from pipelines.annotations.mix import SetSettings
from pipelines.annotations.reading import Tally, id_of, json_lines, picture_of

CAPTION = "Provide a one-sentence caption for the provided image."
REGION = "Please provide a short description for this region: <box>[{}]</box>"
MOST_TURNS = 24  # of questions about one picture in a conversation: more would not fit
QUESTIONS, ANSWERS = ("question", "text"), ("answer", "answers", "label")

Line = dict[str, Any]


def read_set(uri: str, settings: SetSettings, tally: Tally) -> Iterator[Line]:
    """The entries of a set, as lines of InternVL's annotations; what is no entry is counted."""
    for line in _read(uri, settings, tally):
        yield _moved(line, settings.prefix) if settings.prefix else line


def _read(uri: str, settings: SetSettings, tally: Tally) -> Iterator[Line]:
    if settings.form == "conversations":
        for _, entry in json_lines(uri, tally):
            yield dict(entry)
    elif settings.form == "questions":
        yield from _questions(uri, settings, tally)
    elif settings.form == "captions":
        yield from _captions(uri, tally)
    elif settings.form == "phrases":
        for grounded in read_grounded(uri, "en", tally):
            yield dict(vars(grounded))
    else:
        yield from _regions(uri, tally)


def _moved(line: Line, prefix: str) -> Line:
    """A line whose pictures are named without what their paths begin with."""
    image = line.get("image")
    moved = [
        path.removeprefix(prefix) if isinstance(path, str) else path for path in (image if isinstance(image, list) else [image])
    ]
    return line | ({"image": moved if isinstance(image, list) else moved[0]} if image else {})


def _questions(uri: str, settings: SetSettings, tally: Tally) -> Iterator[Line]:
    suffix = settings.suffix
    asked = ((_shown(entry, settings.names), where, entry) for where, entry in json_lines(uri, tally))
    for image, group in groupby(asked, lambda item: item[0]):
        turns: list[dict[str, str]] = []
        for _, where, entry in group:
            question = next((entry[key] for key in QUESTIONS if isinstance(entry.get(key), str)), "")
            answer = _answer(next((entry[key] for key in ANSWERS if entry.get(key) is not None), ""))
            if not (question and answer):
                tally.refuse("no_text", where)
                continue
            turns += _turns(f"{question}\n{suffix}" if suffix else question, answer)
            if len(turns) == 2 * MOST_TURNS:
                yield _line(image, turns)
                turns = []
        if turns:
            yield _line(image, turns)


def _shown(entry: Mapping[str, Any], names: str) -> Any:
    """The picture of a question, by its path or by its number."""
    number = entry.get("image_id")
    return names.format(number) if names and isinstance(number, str | int) and not entry.get("image") else entry.get("image")


def _answer(value: Any) -> str:
    """The answer; of several, as people gave them, the one that most gave."""
    values = value if isinstance(value, list) else [value]
    texts = [str(each["answer"]) if isinstance(each, Mapping) and "answer" in each else str(each) for each in values]
    return Counter(texts).most_common(1)[0][0].strip() if texts else ""


def _captions(uri: str, tally: Tally) -> Iterator[Line]:
    """A conversation for each caption."""
    for image, caption in _captioned(uri, tally):
        yield _line(image, _turns(CAPTION, caption.strip()))


def _captioned(uri: str, tally: Tally) -> Iterator[tuple[str, str]]:
    """(picture, caption) of COCO's JSON, whose captions name pictures by number, or of JSON lines."""
    with open_file(uri) as handle:
        first = handle.read(4096).lstrip()[:1]
        handle.seek(0)
        data = handle.read() if first == b"{" and uri.endswith(".json") else None
    if data is not None:
        yield from _coco(uri, data, tally)
        return
    for where, entry in json_lines(uri, tally):
        captions = entry.get("captions", entry.get("caption"))
        texts = [captions] if isinstance(captions, str) else captions
        if not (isinstance(entry.get("image"), str) and isinstance(texts, list) and texts):
            tally.refuse("no_text", where)
            continue
        yield from ((entry["image"], str(text)) for text in texts)


def _coco(uri: str, data: bytes, tally: Tally) -> Iterator[tuple[str, str]]:
    try:
        document = json.loads(data)
        images, annotations = (list(document[name]) for name in ("images", "annotations"))
        if images and not any(isinstance(image, Mapping) for image in images):
            raise TypeError("its images are no objects")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RequestError(f"{uri} is no file of captions as COCO's ({error!r}); call JSON lines .jsonl") from None
    names = {id_of(image, "id"): image.get("file_name") for image in images if isinstance(image, Mapping)}
    names.pop("", None)
    tally.counts["read"] += len(annotations)
    for number, each in enumerate(annotations):
        told = each if isinstance(each, Mapping) else {}
        name, caption = names.get(id_of(told, "image_id")), told.get("caption")
        if isinstance(name, str) and name and isinstance(caption, str):
            yield name, caption
        else:
            tally.refuse("no_text" if name else "no_image", f"{uri}, annotation {number}")


def _regions(uri: str, tally: Tally) -> Iterator[Line]:
    for where, entry in json_lines(uri, tally):
        named, text = picture_of(entry, tally, where), entry.get("sent") or entry.get("phrase")
        if named is None:
            continue
        try:
            box = pixel_box(entry.get("bbox") or [], *named[1:])
        except (BoxFault, TypeError):
            tally.refuse("no_boxes", where)
            continue
        if not isinstance(text, str):
            tally.refuse("no_text", where)
            continue
        yield _line(named[0], _turns(REGION.format(list(box)), text.strip()))


def _turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def _line(image: Any, turns: Iterable[dict[str, str]]) -> Line:
    """An entry; the picture's tag stands before the first question."""
    first, *more = turns
    tag = {"from": "human", "value": f"<image>\n{first['value']}"} if image else first
    return {**({"image": image} if image else {}), "conversations": [tag, *more]}
