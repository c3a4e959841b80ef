"""What the check counts is what training leaves out, entry by entry, whatever people wrote into files."""

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.chat_tokenizers import small
from tests.trainer_bridge.data.instructions.test_source import TILE, cache, conversation, meta, write_lines  # noqa: F401
from trainer_bridge.data.instructions.checking import check_entries
from trainer_bridge.data.instructions.encoding import Encoder
from trainer_bridge.data.instructions.example import LONGEST, Example
from trainer_bridge.data.instructions.pictures import Pictures
from trainer_bridge.data.instructions.source import InstructionSource, open_source
from trainer_bridge.data.instructions.template import ChatTemplate
from trainer_bridge.data.instructions.tiles import TileRule

RULE, LENGTH = TileRule(16, 1, 4), 90
SIZES = {"whole": (40, 30), "pixel": (1, 1), "line": (1, 300), "long": (70_000, 1)}


def picture(size: tuple[int, int], kind: str, mode: str = "RGB", **options: Any) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def write_pictures(folder: Path) -> dict[str, str]:
    """Pictures as the web has them: name → the fault that each is, or none."""
    frames = [Image.new("P", (20, 10), level) for level in range(3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    jpeg, png = picture((40, 30), "JPEG"), picture((40, 30), "PNG")
    files = {f"{name}.png": picture(size, "PNG") for name, size in SIZES.items()} | {
        "cmyk.jpg": picture((40, 30), "JPEG", "CMYK"),
        "grey.jpg": picture((40, 30), "JPEG", "L"),
        "turned.jpg": picture((40, 10), "JPEG", exif=exif),
        "clear.png": picture((40, 30), "PNG", "LA"),
        "a::b #%20?*[x].png": png,
    }
    broken = {
        "half.jpg": jpeg[: len(jpeg) // 2],
        "end.jpg": jpeg[:-20],
        "half.png": png[: len(png) // 2],
        "flipped.png": png[:900] + bytes([png[900] ^ 255]) + png[901:],
        "empty.png": b"",
        "page.jpg": b"<html>404</html>",
    }
    for name, data in (files | broken).items():
        (folder / name).write_bytes(data)
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "folder.png").mkdir()
    sound = dict.fromkeys([*files, "moving.gif"], "")
    return sound | dict.fromkeys(broken, "picture") | {"folder.png": "missing"}


def pictured(path: Any, **fields: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A thing."}]
    return {"image": path, "conversations": turns, **fields}


def nasty(folder: Path) -> list[tuple[Any, str]]:
    """(entry, its fault or none) of shapes that are seen in the wild."""
    plain = conversation(0)["conversations"]
    encoded = base64.b64encode(picture((20, 10), "PNG")).decode()
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}
    said = {"role": "user", "content": [url, {"type": "text", "text": "What?"}]}
    return [
        *((pictured(name), fault) for name, fault in write_pictures(folder).items()),
        *((pictured(name), "missing") for name in ("gone.png", "a\0b.png", "\ud800.png", "a\nb\x1b[31m.png", "x" * 9000)),
        *((pictured(name), "missing") for name in ("foo://x/y.png", "no.tar/a.png", ".", "data:image/png;base64", "data:")),
        *((pictured(name), "tags") for name in ("", None, [], 0)),
        *((pictured(name), "reference") for name in (5, {"path": "x"}, [None], [["whole.png"]])),
        (pictured("whole.png", conversations=[*plain, {"from": "human", "value": "and <image>?"}, plain[1]]), ""),
        (pictured(["whole.png"] * 20, conversations=[{"from": "human", "value": "<image>" * 20}, plain[1]]), "tiles"),
        ({"messages": [said, {"role": "assistant", "content": "A thing."}]}, ""),
        (conversation(1, image="", video=None), ""),
        ({"conversations": [{"from": "human", "value": ""}, {"from": "gpt", "value": ""}]}, ""),
        ({"conversations": [{"from": "human", "value": "é\0\u202e😀"}, {"from": "gpt", "value": "\ud83d\ufeff"}]}, ""),
        ({"conversations": [plain[0], {"from": "gpt", "value": "word " * 5000}]}, ""),
        ({"conversations": [{"from": "human", "value": "word " * 5000}, plain[1]]}, "learned"),
        ({"conversations": [{"from": "x" * 9000, "value": "a"}, plain[1]]}, "role"),
        ({"conversations": [{"from": ["human"], "value": "a"}, plain[1]]}, "role"),
        ({"conversations": [None, None]}, "role"),
        ({"conversations": [{"from": "human", "value": {"a": 1}}, plain[1]]}, "text"),
        ({"conversations": json.dumps(plain)}, "turns"),
        ({"conversations": [plain]}, "role"),
        *(
            (text, "json")
            for text in ("5\n", "null\n", '{"a":\n', "{'a': 1}\n", '{"a": 1}{"b": 2}\n', '{"a": ' + "[" * 9999 + "\n")
        ),
    ]


def opened(path: Path) -> tuple[InstructionSource, Encoder]:
    tokenizer = small()
    encoder = Encoder(tokenizer, ChatTemplate(tokenizer, "chatml"), TILE, LENGTH)
    return open_source(str(path), encoder, RULE, 0), encoder


def test_the_check_counts_what_training_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        pytest.fail("what no further try cures is tried again")

    monkeypatch.setattr(time, "sleep", sleep)
    cases = nasty(tmp_path)
    path = write_lines(tmp_path / "a.jsonl", [entry for entry, _ in cases])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n").rstrip())
    source, encoder = opened(path)
    ((each, entries),) = source.sets
    assert len(entries) == len(cases)
    for row, (entry, expected) in enumerate(cases):
        found = check_entries(each, entries.read_many([row]), [entries.name_of(row)], Pictures(), RULE, encoder)
        trained = source._example(0, row, entries.read_many([row])[0], np.random.default_rng(0))
        assert [*found.faults] == [expected] * bool(expected), (entry, found)
        if isinstance(trained, Example):
            assert not expected and found.counts["tiles"] == len(trained.tiles) and found.counts["tokens"] == len(trained.ids)
            continue
        assert trained.kind == expected and found.shown == {expected: [str(trained)]}
        assert f"entry {row + 1}: " in str(trained) and str(trained).isprintable() and len(str(trained)) < LONGEST + 9


def test_a_picture_too_long_for_a_jpeg_is_not_augmented(tmp_path: Path) -> None:
    (tmp_path / "long.png").write_bytes(picture((70_000, 2), "PNG"))
    write_lines(tmp_path / "a.jsonl", [pictured("long.png")])
    source, _ = opened(meta(tmp_path, a={"root": ".", "annotation": "a.jsonl", "data_augment": True}))
    (example,) = source.load_many(np.array([0]))
    assert isinstance(example, Example) and len(example.tiles) == 5
