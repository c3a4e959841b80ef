"""Tables joined with `cat`, and URLs as people write them: no row vanishes in a neighbour, no header becomes a sample."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import source_named
from pipelines.sources.files import inspect
from pipelines.sources.records import is_like_url
from pipelines.sources.settings import IngestSettings
from tests.support.text_files import read

URLS = [
    "example.org/{}.jpg",
    "example.org/{}",
    "www.example.org:80/{}?a=b",
    "images/{}.png",
    "{}.webp",
    "93.184.216.34/{}",
    "пример.рф/{}",
    "//example.org/{}",
    "http://example.org/{}",
]


CAPTIONS = ['"plain"', '"with, comma"', "bare", '"two\nlines"', '"say ""hi"""', 'it is 5"']


@pytest.mark.parametrize("url", URLS)
@settings(deadline=None, max_examples=20)
@given(
    st.integers(0, 29),
    st.lists(
        st.sampled_from(['"plain"', '"with, comma"', "bare", '"two\nlines"', '"say ""hi"""', 'it is 5"']),
        min_size=30,
        max_size=30,
    ),
)
def test_an_unclosed_quote_swallows_no_row_whatever_its_url_looks_like(
    tmp_path_factory: pytest.TempPathFactory, url: str, place: int, captions: list[str]
) -> None:
    lines = [f"{url.format(number)},{caption}\n" for number, caption in enumerate(captions)]
    lines[place] = f'{url.format(place)},"never closed\n'
    path = tmp_path_factory.mktemp("quote") / "file"
    path.write_text("url,caption\n" + "".join(lines), newline="")
    rows = read(path, "wukong", 7)
    assert len(rows) == 30 and rows[place][0] == "unclosed_quote"
    assert [row[1] for row in rows] == [None if n == place else url.format(n) for n in range(30)]


TEXTS = ["A fox", "and/or", "e.g.", "5.5", "see example.org for more", "Nr. 5", "", "a.b", "1,000.00"]


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_not_like_a_url(text: str) -> None:
    assert not is_like_url(text)


def test_a_caption_of_several_lines_stays_whole(tmp_path: Path) -> None:
    captions = ["Size: M, L\nColor: red, white", "Hello,\nworld,fox", "a, b\n\nc, d", "Berlin,Germany\nParis,France"]
    out = io.StringIO(newline="")
    csv.writer(out).writerows([("url", "caption"), *((f"example.org/{n}", text) for n, text in enumerate(captions))])
    (tmp_path / "file").write_text(out.getvalue(), newline="")
    assert read(tmp_path / "file", "wukong") == [("", f"example.org/{n}", text) for n, text in enumerate(captions)]


ESCAPED = ['She said \\"hi\\", twice', 'a \\"b\\"', "plain", "C:\\pictures", 'two\nlines, \\"one\\" quoted']


def test_quotes_that_backslashes_escape_are_read(tmp_path: Path) -> None:
    lines = [f'example.org/{n},"{text}"' for n, text in enumerate(ESCAPED)]
    (tmp_path / "file").write_text("\n".join(["url,caption", *lines, 'example.org/5,"ends in one \\"']), newline="")
    assert "quotes escaped by backslashes" in inspect(str(tmp_path / "file"), source_named("wukong"), IngestSettings()).notice
    rows = read(tmp_path / "file", "wukong", 2)
    assert rows[:5] == [("", f"example.org/{n}", text.replace('\\"', '"')) for n, text in enumerate(ESCAPED)]
    assert [reason for reason, _, _ in rows[5:]] == ["unclosed_quote"]


def test_backslashes_before_quotes_are_text_where_quotes_are_doubled(tmp_path: Path) -> None:
    lines = ['http://a/0,"C:\\"', 'http://a/1,"say ""hi"""', 'http://a/2,"D:\\"', 'http://a/3,"say \\"hi\\""']
    (tmp_path / "file").write_text("\n".join(["url,caption", *lines]))
    rows = read(tmp_path / "file", "wukong")
    assert rows[:3] == [("", "http://a/0", "C:\\"), ("", "http://a/1", 'say "hi"'), ("", "http://a/2", "D:\\")]
    assert rows[3][0] == "broken_quotes"


ROWS = [(f"http://a/{n}", f"fox {n}") for n in range(3)]


def table(rows: list[tuple[str, str]], separator: str, header: tuple[str, ...] | None, *, url_first: bool = True) -> str:
    ordered = [row if url_first else row[::-1] for row in rows]
    return "".join(f"{separator.join(row)}\n" for row in ([header] if header else []) + ordered)


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize(
    "source, separator, header, again",
    [
        ("wukong", ",", ("url", "caption"), ("url", "caption")),
        ("wukong", ";", ("url", "caption"), ("URL", "Caption ")),
        ("pairs", "\t", ("image_url", "text"), ("image_url", "text")),
        ("cc12m", "\t", ("url", "caption"), ("url", "caption")),
        ("cc12m", "\t", None, ("url", "caption")),
        ("cc12m", "\t", ("Bild", "Text"), ("Bild", "Text")),
    ],
)
def test_a_header_in_the_middle_is_a_reject_by_name(
    tmp_path: Path, bom: str, source: str, separator: str, header: tuple[str, ...] | None, again: tuple[str, ...]
) -> None:
    parts = [table(ROWS, separator, header), table(ROWS, separator, again), table(ROWS, separator, again)]
    (tmp_path / "file").write_text("".join(bom + part for part in parts), encoding="utf-8")
    expected = [("", url, caption) for url, caption in ROWS]
    rows = read(tmp_path / "file", source, 2)
    assert [row for row in rows if row[0] != "repeated_header"] == expected * 3
    assert [number for number, row in enumerate(rows) if row[0] == "repeated_header"] == [3, 7]


def test_cc3m_joined_with_a_headed_file_has_no_header_for_a_sample(tmp_path: Path) -> None:
    parts = [table(ROWS, "\t", None, url_first=False), table(ROWS, "\t", ("caption", "url"), url_first=False)]
    (tmp_path / "file").write_text("".join(parts))
    assert [reason for reason, _, _ in read(tmp_path / "file", "cc3m")] == [""] * 3 + ["repeated_header"] + [""] * 3


@pytest.mark.parametrize("header", [("caption", "url"), ("text", "image_url"), None])
def test_rows_of_another_order_are_rejects_by_name(tmp_path: Path, header: tuple[str, ...] | None) -> None:
    parts = [table(ROWS * 2, ",", ("url", "caption")), table(ROWS, ",", header, url_first=False)]
    (tmp_path / "file").write_text("".join(parts))
    reasons = [reason for reason, _, _ in read(tmp_path / "file", "wukong")]
    header_reasons = ["repeated_header"] if header else []
    assert reasons == [""] * 6 + header_reasons + ["url_in_another_column"] * 3


@pytest.mark.parametrize("source, url_first", [("cc12m", True), ("cc3m", False)])
def test_two_lines_in_one_are_a_reject(tmp_path: Path, source: str, url_first: bool) -> None:
    part = table(ROWS, "\t", None, url_first=url_first)
    (tmp_path / "file").write_text(part.rstrip("\n") + part)
    assert [reason for reason, _, _ in read(tmp_path / "file", source)] == ["", "", "wrong_field_count", "", ""]


def test_joined_json_lines_with_marks_are_read(tmp_path: Path) -> None:
    line = '{"url": "http://a/1", "caption": "fox"}\n'
    (tmp_path / "file").write_text(f"\ufeff{line}\ufeff{line}\ufeff\n{line}", encoding="utf-8")
    assert read(tmp_path / "file", "pairs") == [("", "http://a/1", "fox")] * 3
