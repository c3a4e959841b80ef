"""Text files are recognised by their content, and every row is read or rejected, whatever is wrong with its neighbours."""

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from pipelines.manifest.parts import Part, register_files
from pipelines.manifest.receipts import Receipt, write_receipt
from pipelines.manifest.storage import Storage
from pipelines.sources import source_named
from pipelines.sources.csv_records import csv_records
from pipelines.sources.files import inspect, read_rows
from pipelines.sources.rejects import mostly_rejected
from pipelines.sources.samples import to_samples
from pipelines.sources.settings import IngestSettings
from tests.support.text_files import compressed, read, written

SETTINGS = IngestSettings()
CAPTIONS = [
    "A red fox in the snow",
    'She said "hello" to the cat',
    "Zwei Stühle, ein Tisch; und eine Lampe | alt",
    "see https://example.org/more for the dog",
    "一只猫坐在窗台上，看着外面的雨",
    "two\nlines of a caption",
    "tab\there",
    "",
]


FORMATS = [("wukong", kind) for kind in ("csv", "semicolons", "tabs", "bars", "jsonl", "objects")] + [
    ("sbu", "arrays"),
    ("sbu", "csv"),
]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"]


@settings(deadline=None, max_examples=120)
@given(
    st.sampled_from(FORMATS),
    st.sampled_from(ENCODINGS),
    st.sampled_from(["none", "gzip", "bz2", "xz", "zstd", "lz4"]),
    st.lists(st.sampled_from(CAPTIONS), min_size=4, max_size=30),
    st.integers(1, 9),
)
def test_any_format_encoding_and_compression_is_read_whole(
    tmp_path_factory: pytest.TempPathFactory, form: tuple[str, str], encoding: str, by: str, captions: list[str], part_rows: int
) -> None:
    source, kind = form
    # An encoding without a mark is recognised by its text: some of it has to be of the language.
    captions = ["一只黑色的小狗在草地上跑", *captions] if encoding == "gb18030" else captions
    rows = [(f"https://example.org/{n}.jpg", caption) for n, caption in enumerate(captions)]
    path = tmp_path_factory.mktemp("text") / "file"
    path.write_bytes(compressed(written(rows, kind).encode(encoding), by))
    assert read(path, source, part_rows) == [("", url, caption) for url, caption in rows]


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32),
    st.sampled_from(["csv", "semicolons", "jsonl", "tsv"]),
    st.sampled_from(["none", "gzip"]),
    st.integers(1, 7),
)
def test_every_row_of_a_damaged_file_is_a_sample_or_a_reject(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kind: str, by: str, part_rows: int
) -> None:
    draw = random.Random(seed)
    lines, expected = list[bytes](), list[str]()
    for number in range(draw.randrange(3, 25)):
        url, caption = f"http://example.org/{number}", draw.choice(["A fox", "Ein Stuhl", "two dogs, one cat", 'a "quoted" word'])
        damage = draw.choice(["", "", "", *DAMAGES[kind]])
        lines.append(DAMAGES[kind][damage](url, caption) if damage else SOUND[kind](url, caption))
        expected.append(damage)
    header = {"csv": b"url,caption\n", "semicolons": b"url;caption\n"}.get(kind, b"")
    path = tmp_path_factory.mktemp("damaged") / "file"
    path.write_bytes(compressed(header + b"\n".join(lines) + draw.choice([b"", b"\n"]), by))
    source = "cc12m" if kind == "tsv" else "wukong"
    try:
        rows = read(path, source, part_rows)
    except RequestError as refused:  # too little is sound to tell what the file is
        assert sum(map(bool, expected)) * 2 >= len(expected) and "\n" not in str(refused)
        return
    assert [reason for reason, _, _ in rows] == expected
    assert rows == read(path, source)


def quoted(text: str) -> bytes:
    return b'"' + text.replace('"', '""').encode() + b'"'


SOUND: dict[str, Callable[[str, str], bytes]] = {
    "csv": lambda url, caption: url.encode() + b"," + quoted(caption),
    "semicolons": lambda url, caption: url.encode() + b";" + quoted(caption),
    "jsonl": lambda url, caption: json.dumps({"url": url, "caption": caption}).encode(),
    "tsv": lambda url, caption: f"{url}\t{caption}".encode(),
}
DAMAGES: dict[str, dict[str, Callable[[str, str], bytes]]] = {
    "csv": {
        "unclosed_quote": lambda url, caption: url.encode() + b',"' + caption.replace('"', "").encode(),
        "invalid_utf8": lambda url, caption: (
            url.encode() + b",\xe9t\xe9 " + quoted(caption)[1:-1].replace(b'"', b"").replace(b",", b"")
        ),
        "wrong_field_count": lambda url, caption: url.encode() + b",a,b,c",
    },
    "semicolons": {
        "unclosed_quote": lambda url, caption: url.encode() + b';"' + caption.replace('"', "").encode(),
        "wrong_field_count": lambda url, caption: url.encode(),
    },
    "jsonl": {
        "invalid_json": lambda url, caption: b'{"url": "' + url.encode(),
        "invalid_utf8": lambda url, caption: b'{"url": "http://a/1", "caption": "\\ud83d alone"}',
        "no_url": lambda url, caption: b'{"caption": "without one"}',
    },
    "tsv": {
        "invalid_utf8": lambda url, caption: url.encode() + b"\tcaf\xe9",
        "wrong_field_count": lambda url, caption: url.encode(),
    },
}


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 39),
    st.lists(st.sampled_from(['"plain"', '"with, comma"', "bare", '"two\nlines"', '"say ""hi"""']), min_size=40, max_size=40),
)
def test_a_quote_that_never_closes_costs_one_row(place: int, captions: list[str]) -> None:
    lines = [f"http://a/{n},{caption}\n" for n, caption in enumerate(captions)]
    lines[place] = f'http://a/{place},"never closed\n'
    text = io.StringIO("".join(lines), newline="")
    records = list(csv_records(text, ",", 2, lambda fields: fields[0].startswith("http://")))
    broken = [record for record in records if record.reason]
    assert len(records) == 40 and [record.reason for record in broken] == ["unclosed_quote"]
    assert broken[0].fields == [lines[place]]
    kept = [record.fields[0] for record in records if not record.reason]
    assert kept == [f"http://a/{n}" for n in range(40) if n != place]


def test_a_quote_that_never_closes_swallows_no_broken_row() -> None:
    lines = io.StringIO('http://a/1,"never closed\nhttp://a/2,a fox, 5"\nhttp://a/3,a dog\n', newline="")
    records = list(csv_records(lines, ",", 2, lambda fields: fields[0].startswith("http://")))
    assert [record.reason for record in records] == ["unclosed_quote", "wrong_field_count", None]


def test_an_unclosed_quote_does_not_read_the_whole_file() -> None:
    pulled = []

    def lines() -> object:
        yield '"http://a/0,open\n'
        for number in range(10**6):
            pulled.append(number)
            yield f"http://a/{number},caption\n"

    records = csv_records(lines(), ",", 2, lambda fields: fields[0].startswith("http://"))
    assert next(records).reason == "unclosed_quote" and len(pulled) < 3


@pytest.mark.parametrize("by", ["gzip", "bz2", "xz", "zstd", "lz4"])
def test_a_file_whose_compression_ends_early_is_refused(tmp_path: Path, by: str) -> None:
    rows = [(f"http://a/{n}", random.Random(n).randbytes(60).hex()) for n in range(5000)]
    whole = compressed(written(rows, "csv").encode(), by)
    for share in (0.3, 0.9):
        (tmp_path / "cut").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(RequestError, match="damaged, or ends early"):
            inspect(str(tmp_path / "cut"), source_named("wukong"), SETTINGS)


@pytest.mark.parametrize("by", ["gzip", "bz2", "xz"])  # the others need have no checksum
@pytest.mark.parametrize("place", [0.0, 0.5, 0.99])
def test_a_file_whose_compression_is_damaged_is_refused_by_name(tmp_path: Path, by: str, place: float) -> None:
    rows = [(f"http://a/{n}", random.Random(n).randbytes(60).hex()) for n in range(2000)]
    first, second = (compressed(written(rows, "csv").encode(), by) for _ in range(2))
    for start in (b"", first):  # a stream behind a sound one, too
        data = bytearray(start + second)
        at = max(len(start) + 2, len(start) + int(len(second) * place))
        data[at : at + 8] = bytes(byte ^ 0x5A for byte in data[at : at + 8])
        (tmp_path / "damaged").write_bytes(data)
        with pytest.raises(RequestError, match=r"damaged, or ends early|has no column"):
            inspect(str(tmp_path / "damaged"), source_named("wukong"), SETTINGS)


def tar_of(data: bytes) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        member = tarfile.TarInfo("a.csv")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return sink.getvalue()


@pytest.mark.parametrize(
    "content, kind",
    [
        (b"PK\3\4" + bytes(99), "a zip archive"),
        (b"\xd0\xcf\x11\xe0" + bytes(99), "an Excel file"),
        (tar_of(b"url,caption"), "a tar archive"),
        (gzip.compress(tar_of(b"url,caption")), "a tar archive"),
        (gzip.compress(b"PAR1" + bytes(99)), "a compressed parquet file"),
        (b"ORC" + bytes(99), "an ORC file"),
        (b"ARROW1\0\0" + bytes(99), "an Arrow file"),
        (lzma.compress(b"url,caption", format=lzma.FORMAT_ALONE), "compressed by lzma"),
        (zlib.compress(b"url,caption"), "compressed by zlib"),
    ],
    ids=["zip", "excel", "tar", "tar.gz", "parquet.gz", "orc", "arrow", "lzma", "zlib"],
)
def test_an_archive_is_refused_by_name(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(RequestError, match=f"is {kind}; unpack it"):
        inspect(str(tmp_path / "file"), source_named("wukong"), SETTINGS)


def test_a_file_that_is_compressed_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(gzip.compress(bz2.compress(b"url,caption\nhttp://a/1,fox\n")))
    with pytest.raises(RequestError, match="compressed twice, by bzip2 last"):
        inspect(str(tmp_path / "file"), source_named("wukong"), SETTINGS)


def test_text_that_begins_like_another_kind_is_text(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("ORCA whale\thttp://a/1\nFEA1 and ARROW1\thttp://a/2\n")
    assert read(tmp_path / "file", "cc3m")[0] == ("", "http://a/1", "ORCA whale")


def test_streams_that_are_joined_are_read_whole(tmp_path: Path) -> None:
    first, second = b"url,caption\nhttp://a/1,fox\n", b"http://a/2,dog\n"
    skippable = b"\x50\x2a\x4d\x18\4\0\0\0size"  # as pzstd begins with
    for by in ("gzip", "bz2", "xz", "zstd", "lz4"):
        for start in (b"", skippable) if by == "zstd" else (b"",):
            (tmp_path / "file").write_bytes(start + compressed(first, by) + compressed(second, by))
            assert read(tmp_path / "file", "wukong") == [("", "http://a/1", "fox"), ("", "http://a/2", "dog")]


URLS = [f"https://example.org/{n}.jpg" for n in range(5)]
WORDS = ["A fox", "two dogs\tand a tab", "see https://example.org for more", 'a "quote', "plain; with | marks"]


@pytest.mark.parametrize(
    "source, lines, notice",
    [
        ("cc12m", [f"{u}\t{w}" for u, w in zip(URLS, WORDS, strict=True)], ""),
        ("cc3m", [f"{w}\t{u}" for u, w in zip(URLS, WORDS, strict=True)], ""),
        ("cc3m", [f"{u}\t{w}" for u, w in zip(URLS, WORDS, strict=True)], "url before caption, unlike cc3m as published"),
        ("cc12m", [f"{w}\t{u}" for u, w in zip(URLS, WORDS, strict=True)], "caption before url, unlike cc12m as published"),
        ("cc3m", ["caption\turl", *[f"{w}\t{u}" for u, w in zip(URLS, WORDS, strict=True)]], "a first line names the columns"),
        ("cc12m", ["Bild\tText", *[f"{u}\t{w}" for u, w in zip(URLS, WORDS, strict=True)]], "is taken for a header"),
    ],
)
def test_the_columns_of_a_headerless_file_are_recognised(tmp_path: Path, source: str, lines: list[str], notice: str) -> None:
    (tmp_path / "file").write_text("\n".join(lines) + "\n")
    told = inspect(str(tmp_path / "file"), source_named(source), SETTINGS).notice
    assert notice in told and bool(notice) == bool(told)
    assert read(tmp_path / "file", source, 2) == [("", url, word) for url, word in zip(URLS, WORDS, strict=True)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_any_usual_way(tmp_path: Path, end: str) -> None:
    for source, lines in (
        ("cc12m", [f"{url}\ta caption" for url in URLS]),
        ("wukong", ["url,caption", *[f'{url},"a caption"' for url in URLS]]),
        ("pairs", [json.dumps({"url": url, "caption": "a caption"}) for url in URLS]),
    ):
        (tmp_path / "file").write_bytes(end.join([*lines, ""]).encode())
        assert read(tmp_path / "file", source, 2) == [("", url, "a caption") for url in URLS]


@pytest.mark.parametrize(
    "source, lines",
    [
        ("wukong", ["", "url,caption", "", "http://a/1,fox", "", "", "http://a/2,dog", ""]),
        ("wukong", ["url,caption\r", "http://a/1,fox\r", "http://a/2,dog\r"]),  # \r\r\n, as Python's csv writes on Windows
        ("pairs", ["", "url\tcaption", "http://a/1\tfox", "", "http://a/2\tdog", ""]),
        ("cc12m", ["", "http://a/1\tfox", "", "http://a/2\tdog", "", ""]),
        ("cc3m", ["", "caption\turl", "fox\thttp://a/1", "", "dog\thttp://a/2"]),
        ("pairs", ["", '{"url": "http://a/1", "caption": "fox"}', "", '{"url": "http://a/2", "caption": "dog"}', ""]),
    ],
)
def test_blank_lines_are_no_rows(tmp_path: Path, source: str, lines: list[str]) -> None:
    for end in ("\n", "\r\n"):
        (tmp_path / "file").write_bytes(end.join([*lines, ""]).encode())
        assert read(tmp_path / "file", source, 1) == [("", "http://a/1", "fox"), ("", "http://a/2", "dog")]


@pytest.mark.parametrize("source", ["cc3m", "cc12m"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_rows_of_the_other_order_are_read_in_it(tmp_path: Path, source: str, share: float) -> None:
    urls = [f"http://a/{n}" for n in range(50)]
    lines = [f"a fox\t{url}" if n < share * len(urls) else f"{url}\ta fox" for n, url in enumerate(urls)]
    (tmp_path / "file").write_text("\n".join(lines))
    assert read(tmp_path / "file", source, 20) == [("", url, "a fox") for url in urls]


def test_a_further_column_behind_some_rows_costs_these(tmp_path: Path) -> None:
    lines = [f"a fox\thttp://a/{n}" + "\t0.31" * (n % 3 == 0) for n in range(30)]
    (tmp_path / "file").write_text("\n".join(lines))
    assert [reason for reason, _, _ in read(tmp_path / "file", "cc3m")] == ["wrong_field_count", "", ""] * 10
    (tmp_path / "file").write_text("\n".join(f"http://a/{n}\ta fox" + "\t0.31" * (n % 3 > 0) for n in range(30)))
    with pytest.raises(RequestError, match="has 3 columns separated by tabs"):
        inspect(str(tmp_path / "file"), source_named("cc12m"), SETTINGS)


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "row, reason",
    [
        (f'{{"url": "http://a/1", "caption": "fox", "more": {DEEP}}}', "invalid_json"),
        ('{"url": "http://a/1", "caption": ["a fox", "a dog"]}', "nested_value"),
        ('{"url": ["http://a/1"], "caption": "fox"}', "nested_value"),
        ('{"url": "http://a/1", "caption": {"en": "fox"}}', "nested_value"),
        ('{"url": "http://a/1", "caption": "fox", "width": [3]}', "nested_value"),
        ('{"url": "http://a/1", "caption": 7}', ""),
    ],
)
def test_json_that_holds_no_text_costs_its_row(tmp_path: Path, row: str, reason: str) -> None:
    sound = '{"url": "http://a/0", "caption": "dog", "width": 5}'
    for text in ("\n".join([sound, row, sound]), f"[{sound}, {row}, {sound}]" if DEEP not in row else ""):
        (tmp_path / "file").write_text(text or sound)
        assert [reason for reason, _, _ in read(tmp_path / "file", "pairs")] == (["", reason, ""] if text else [""])


def test_a_json_document_that_is_nested_too_deeply_is_refused_in_one_line(tmp_path: Path) -> None:
    for text in (DEEP, f'{{"image_urls": {DEEP}, "captions": []}}'):
        (tmp_path / "file").write_text(text)
        with pytest.raises(RequestError, match="is no JSON") as refused:
            inspect(str(tmp_path / "file"), source_named("sbu"), SETTINGS)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_object_of_columns_is_not_one_row(tmp_path: Path, indent: int | None) -> None:
    columns = {"version": 1, "image_urls": URLS, "captions": WORDS, "credits": {"by": "us"}}
    (tmp_path / "file").write_text(json.dumps(columns, indent=indent))
    assert read(tmp_path / "file", "sbu") == [("", url, word) for url, word in zip(URLS, WORDS, strict=True)]
    by_index = {"url": dict(enumerate(URLS)), "caption": dict(enumerate(WORDS))}  # as pandas writes it
    (tmp_path / "file").write_text(json.dumps(by_index, indent=indent))
    with pytest.raises(RequestError, match="has objects for url, caption, not lists"):
        inspect(str(tmp_path / "file"), source_named("pairs"), SETTINGS)


def test_a_quote_that_never_closes_in_the_header_swallows_no_row(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('url,"caption\n' + "".join(f"http://a/{n},a fox\n" for n in range(5)) + 'http://a/5,"dog"\n')
    with pytest.raises(RequestError, match="first line"):
        inspect(str(tmp_path / "file"), source_named("wukong"), SETTINGS)


def test_a_headerless_file_with_commas_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(
        "".join(f'"{w.replace(chr(34), chr(34) * 2)}",{u}\n' for u, w in zip(URLS, WORDS, strict=True))
    )
    assert "separated by commas" in inspect(str(tmp_path / "file"), source_named("cc3m"), SETTINGS).notice
    assert read(tmp_path / "file", "cc3m") == [("", url, word) for url, word in zip(URLS, WORDS, strict=True)]


@pytest.mark.parametrize(
    "source, text, message",
    [
        (
            "cc3m",
            "".join(f"a caption\t{u}\tlabel\n" for u in URLS),
            "has 3 columns separated by tabs, but cc3m is published with caption and url",
        ),
        ("cc12m", "A fox\tin the snow\nA dog\ton the beach\n", "no column of its first rows holds URLs"),
        ("wukong", "title;link\nA fox;http://a/1\n", r"has no column caption, url \(it has title, link\)"),
        ("wukong", "\n", "has no rows"),
    ],
)
def test_what_cannot_be_told_is_refused_in_one_line(tmp_path: Path, source: str, text: str, message: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(RequestError, match=message) as refused:
        inspect(str(tmp_path / "file"), source_named(source), SETTINGS)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text, encoding", [("안녕하세요, 강아지", "euc-kr"), ("Красная лиса на снегу", "cp1251"), ("Île où l'été", "latin-1")]
)
def test_bytes_of_another_encoding_are_rejects_not_wrong_letters(tmp_path: Path, text: str, encoding: str) -> None:
    rows = "".join(f'http://a/{n},"{text} {n}"\n' for n in range(20))
    (tmp_path / "file").write_bytes(("url,caption\n" + rows).encode(encoding))
    assert {reason for reason, _, _ in read(tmp_path / "file", "wukong")} == {"invalid_utf8"}


@pytest.mark.parametrize(
    "text, encoding", [("무료 배송", "euc-kr"), ("봄 신상품", "euc-kr"), ("美しい海と空", "euc-jp"), ("台北一零一大樓", "big5")]
)
def test_a_few_words_of_another_encoding_are_not_chinese(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "file").write_bytes(f"url,caption\nhttp://a/1,{text}\n".encode(encoding))
    assert [reason for reason, _, _ in read(tmp_path / "file", "wukong")] == ["invalid_utf8"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_recognised_in_chinese_too(tmp_path: Path, encoding: str) -> None:
    text = "url,caption\n" + "".join(f"http://a/{n},{'一只黑色的小狗在草地上跑' * 9}\n" for n in range(3))
    (tmp_path / "file").write_bytes(text.encode(encoding))
    assert len(read(tmp_path / "file", "wukong")) == 3 and read(tmp_path / "file", "wukong")[0][1] == "http://a/0"


def test_zeros_in_utf8_are_not_utf16(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"url,caption\nhttp://a/1,a\0b\nhttp://a/2,c\0d\n")
    assert read(tmp_path / "file", "wukong") == [("", "http://a/1", "ab"), ("", "http://a/2", "cd")]


def test_a_long_line_of_bytes_is_named_in_a_short_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(128, 256)) * 500)
    with pytest.raises(RequestError) as refused:
        inspect(str(tmp_path / "file"), source_named("wukong"), SETTINGS)
    assert len(str(refused.value)) < 1000


def test_a_file_that_is_mostly_rejected_is_named_with_three_rows(tmp_path: Path) -> None:
    storage, path = Storage(str(tmp_path / "root")), tmp_path / "file.csv"
    source = source_named("wukong")

    def ingested(rows: list[str]) -> dict[str, str]:
        path.write_bytes(("url,caption\n" + "".join(rows)).encode("latin-1"))
        (file,) = register_files(storage, "wukong", [inspect(str(path), source, SETTINGS).file], 4)
        for first in range(0, file.rows, 4):
            part = Part("wukong", file.ordinal, first, min(4, file.rows - first))
            result = to_samples(read_rows(str(path), source, first, part.rows, SETTINGS), source, part, SETTINGS)
            storage.write_parquet(part.path("rejects"), result.other_families["rejects"])
            receipt = Receipt("samples", "wukong", part.name, "f", "d", part.rows, len(result.table), counts=dict(result.counts))
            write_receipt(storage, part, receipt)
        return mostly_rejected(storage, "wukong", {file.uri})

    assert ingested([f"http://a/{n},fox\n" if n % 2 else f"http://a/{n},caf\xe9\n" for n in range(10)]) == {}
    (cause,) = ingested([f"http://a/{n},fox\n" if n % 3 == 1 else f"http://a/{n},caf\xe9\n" for n in range(10)]).values()
    assert cause.startswith("7 of its 10 rows are rejected (row 0 invalid_utf8: 'http://a/0,caf\ufffd', row 2 invalid_utf8:")
    assert cause.count("row ") == 3 and "--remove" in cause
