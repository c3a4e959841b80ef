"""A text that is not in the encodings that are read is refused by name, never read as other letters."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from pipelines.sources import source_named
from pipelines.sources.encodings import is_utf7, seven_bit_encoding
from pipelines.sources.files import inspect
from pipelines.sources.settings import IngestSettings
from tests.support.text_files import read, written

CHINESE, JAPANESE = ["一只黑色的小狗在草地上跑", "一棵树"], ["雪の中の赤いキツネ", "二匹の犬"]
TEXTS = {
    "ISO-2022-JP": ("iso2022_jp", JAPANESE),
    "ISO-2022-KR": ("iso2022_kr", ["눈 속의 붉은 여우", "강아지"]),
    "HZ": ("hz", CHINESE),
    "UTF-7": ("utf-7", CHINESE),
}
EXTENDED = ["iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_2004", "iso2022_jp_3", "iso2022_jp_ext"]
OTHER_UTF7 = [
    JAPANESE,
    ["Красная лиса", "две собаки"],
    ["ein schöner Stuhl", "über, für & groß"],
    ["눈 속의 여우", "1 + 1 = 2"],
    ["🦊", "一只狗 🦊 a+b"],
]


def refused(path: Path, content: bytes, source: str = "wukong") -> str:
    path.write_bytes(content)
    with pytest.raises(RequestError) as error:
        inspect(str(path), source_named(source), IngestSettings())
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("kind", ["csv", "tabs", "jsonl"])
def test_an_encoding_of_seven_bits_is_refused_by_name(tmp_path: Path, name: str, kind: str) -> None:
    encoding, captions = TEXTS[name]
    rows = [(f"http://a/{number}", caption) for number, caption in enumerate(captions)]
    message = refused(tmp_path / "file", written(rows, kind).encode(encoding))
    assert f"is written in {name}; save it in UTF-8" in message


@pytest.mark.parametrize("encoding", EXTENDED)
def test_the_extensions_of_iso_2022_jp_are_refused(tmp_path: Path, encoding: str) -> None:
    rows = [("http://a/1", JAPANESE[0])]
    assert "is written in ISO-2022-JP" in refused(tmp_path / "file", written(rows, "csv").encode(encoding))


@pytest.mark.parametrize("captions", OTHER_UTF7)
def test_utf7_of_any_script_is_refused(tmp_path: Path, captions: list[str]) -> None:
    text = written([(f"http://a/{number}", caption) for number, caption in enumerate(captions)], "csv")
    assert "is written in UTF-7" in refused(tmp_path / "file", text.encode("utf-7"))
    assert "is written in UTF-7" in refused(tmp_path / "file", ("\ufeff" + text).encode("utf-7"))


PLAIN = [
    "C++ and Google+",
    "call +49-30-123 or +1-800-FLOWERS",
    "http://a/?q=red+fox+cub",
    "1+1-2",
    "+abcdefgh-",
    "~{cute}~ ~{ a heart ~}",
    "~/home and {braces}",
    "\x1b[31mred\x1b[0m",
    "a+TgBT6lPq b",
    "export +MANPAGER +MANPAGER",
    "sha=+XvHAxUl1hyHoY0gVfZdfjIedHZ0=",
]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(PLAIN) | st.text("ab+-/~{} \x1b[(", max_size=20), max_size=20))
def test_plain_text_with_signs_of_such_encodings_is_read(captions: list[str]) -> None:
    text = "\n".join(["url,caption", "http://a/?q=red+fox", *captions])
    assert not is_utf7(text) and seven_bit_encoding(text) is None


def test_a_row_in_such_an_encoding_far_behind_is_a_reject(tmp_path: Path) -> None:
    plain = [(f"http://a/{number}", "a fox in the snow " * 10) for number in range(500)]
    for encoding, caption in (("iso2022_jp", JAPANESE[0]), ("hz", CHINESE[0])):
        text = written([*plain, ("http://a/500", caption)], "csv")
        (tmp_path / "file").write_bytes(text.encode(encoding))
        assert [reason for reason, _, _ in read(tmp_path / "file", "wukong")] == [""] * 500 + ["other_encoding"]


@pytest.mark.parametrize("encoding", ["utf-32", "utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("captions", [["a fox", "x"], CHINESE, ["🦊" * 9, "🦊🦊"]])
def test_wide_encodings_are_read_with_a_mark_and_without(tmp_path: Path, encoding: str, captions: list[str]) -> None:
    rows = [(f"http://a/{number}", caption) for number, caption in enumerate(captions)]
    (tmp_path / "file").write_bytes(written(rows, "csv").encode(encoding))
    assert read(tmp_path / "file", "wukong") == [("", url, caption) for url, caption in rows]


MANY = [(f"http://a/{number}", f"a fox, the {number}th") for number in range(3000)]


@pytest.mark.parametrize("kind", ["csv", "tabs"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_rows_in_utf16_behind_other_ones_are_rejects(tmp_path: Path, kind: str, encoding: str) -> None:
    first, second = written(MANY, kind).encode(), written(MANY[:5], kind).split("\n", 1)[1].encode(encoding)
    (tmp_path / "file").write_bytes(first + second)
    reasons = [reason for reason, _, _ in read(tmp_path / "file", "wukong")]
    assert reasons[: len(MANY)] == [""] * len(MANY) and len(reasons) >= len(MANY) + 5
    assert set(reasons[len(MANY) :]) <= {"other_encoding", "wrong_field_count", "invalid_utf8"}


@pytest.mark.parametrize("kind", ["csv", "tabs", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_rows_in_utf8_behind_utf16_are_refused_not_one_row(tmp_path: Path, kind: str, encoding: str) -> None:
    rows = [*MANY[:50], ("http://a/x", "一只狗")]
    message = refused(tmp_path / "file", written(MANY, kind).encode(encoding) + written(rows, kind).encode())
    assert "begins in UTF-16 and goes on in another encoding at row 300" in message
