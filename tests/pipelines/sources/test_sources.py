"""Files in the published shapes become samples, each with its traps."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.duplicates.hashes import hash_rows
from filters.text.words import ALONE, WITHIN, count_words
from infra.compat.errors import RequestError
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part
from pipelines.sources import source_named
from pipelines.sources.files import inspect, read_rows
from pipelines.sources.rows import Rows
from pipelines.sources.samples import to_samples
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Source

LAION = {"URL": ["http://a/1.jpg", "http://a/2.jpg"], "TEXT": ["A red fox", None], "WIDTH": [640, 300], "HEIGHT": [480, 200]}


def ingested(source: str, table: pa.Table, **chosen: object):
    part = Part(source, 3, 10, len(table))
    return to_samples(Rows(table), source_named(source), part, IngestSettings(**chosen))


def test_laion_original_has_its_sizes_swapped_back() -> None:
    raw = pa.table({"SAMPLE_ID": [1, 2], **LAION, "LICENSE": ["?", None], "NSFW": ["UNLIKELY", None], "similarity": [0.3, None]})
    samples = ingested("laion2b-en", raw).table
    assert samples["width"].to_pylist() == [480, 200]
    assert samples["height"].to_pylist() == [640, 300]
    assert samples["license"].to_pylist() == ["?", None]
    assert samples["caption"].to_pylist() == ["A red fox", ""]


def test_laion_joined_keeps_its_sizes_and_its_missing_scores() -> None:
    raw = pa.table({**LAION, "similarity": [0.31, None], "hash": [1, -2], "pwatermark": [0.1, None], "punsafe": [None, 0.2]})
    samples = ingested("laion2b-en", raw).table
    assert samples["width"].to_pylist() == [640, 300]
    assert samples["clip_similarity"].to_pylist() == [pytest.approx(0.31), None]
    assert samples["watermark"].to_pylist() == [pytest.approx(0.1), None]
    assert samples["unsafe"].to_pylist() == [None, pytest.approx(0.2)]
    assert samples["aesthetic"].to_pylist() == [None, None]
    assert samples["language"].to_pylist() == ["en", "en"]


@pytest.mark.parametrize("column, model", [("aesthetic", "LAION-Aesthetics V1"), ("AESTHETIC_SCORE", "LAION-Aesthetics V2")])
def test_laion_aesthetic_variants_name_their_model(column: str, model: str) -> None:
    raw = pa.table({**LAION, "similarity": [0.31, 0.3], column: [6.5, 5.0]})
    samples = ingested("laion2b-en", raw).table
    assert samples["aesthetic"].to_pylist() == [6.5, 5.0]
    assert json.loads(samples.schema.metadata[b"pairmill.score_models"])["aesthetic"] == model


def test_laion_multi_takes_the_language_of_each_row() -> None:
    samples = ingested("laion2b-multi", pa.table({**LAION, "LANGUAGE": ["de", None], "similarity": [0.3, 0.3]})).table
    assert samples["language"].to_pylist() == ["de", None]


def test_coyo_picks_the_similarity_of_the_recipe() -> None:
    raw = pa.table(
        {
            "url": ["http://a/1.jpg"],
            "text": ["A cat"],
            "width": [500],
            "height": [400],
            "clip_similarity_vitb32": [0.3],
            "clip_similarity_vitl14": [0.2],
            "watermark_score": [0.5],
            "nsfw_score_opennsfw2": [0.01],
            "aesthetic_score_laion_v2": [5.5],
        }
    )
    assert ingested("coyo", raw).table["clip_similarity"].to_pylist() == [pytest.approx(0.3)]
    other = ingested("coyo", raw, coyo_similarity="vitl14").table
    assert other["clip_similarity"].to_pylist() == [pytest.approx(0.2)]
    assert json.loads(other.schema.metadata[b"pairmill.score_models"])["clip_similarity"] == "CLIP ViT-L/14"


def test_coyos_image_phash_is_kept_as_a_number() -> None:
    hashes = ["00000000000000ff", "FFFFFFFFFFFFFFFE", None, "not hexadecimal!", "ff"]
    raw = {"url": [f"http://a/{i}" for i in range(5)], "text": ["a"] * 5, "width": [1] * 5, "height": [1] * 5}
    samples = ingested("coyo", pa.table({**raw, "image_phash": hashes})).table
    assert samples["image_phash"].to_pylist() == [255, 2**64 - 2, None, None, None]
    assert ingested("coyo", pa.table(raw)).table["image_phash"].null_count == 5
    integers = pa.array([255, -2, None, 0, 2**62], pa.int64())
    samples = ingested("coyo", pa.table({**raw, "image_phash": integers})).table
    assert samples["image_phash"].to_pylist() == [255, 2**64 - 2, None, 0, 2**62]


def test_laion_coco_trains_on_top_caption_and_keeps_the_alt_text() -> None:
    raw = pa.table(
        {
            "URL": ["http://a/1", "http://a/2"],
            "TEXT": ["alt text", None],
            "top_caption": ["a red fox in the snow", "a cat"],
            "all_captions": [["a red fox in the snow", "a fox"], ["a cat"]],
            "all_similarities": [[0.3, 0.2], [0.3]],
            "WIDTH": [640.0, float("nan")],
            "HEIGHT": [480.0, 7.0],
            "similarity": [0.9, 0.9],
            "hash": [1, 2],
            "pwatermark": [0.1, None],
            "punsafe": [0.2, 0.3],
        }
    )
    samples = ingested("laion-coco", raw).table
    assert samples["caption"].to_pylist() == ["a red fox in the snow", "a cat"]
    assert samples["alt_text"].to_pylist() == ["alt text", None]
    assert samples["width"].to_pylist() == [640, None]
    assert samples["watermark"].to_pylist() == [pytest.approx(0.1), None]
    assert samples["clip_similarity"].null_count == 2  # the published similarity is that of the alt text


def test_datacomp_picks_the_similarity_of_the_recipe() -> None:
    raw = {"uid": ["ab" * 16], "url": ["http://a/1"], "text": ["a"], "original_width": [9], "original_height": [8]}
    raw |= {"clip_b32_similarity_score": [0.25], "clip_l14_similarity_score": [0.2], "face_bboxes": [[]], "sha256": ["cd" * 32]}
    samples = ingested("datacomp", pa.table(raw)).table
    assert (samples["width"][0].as_py(), samples["clip_similarity"][0].as_py()) == (9, 0.25)
    other = ingested("datacomp", pa.table(raw), datacomp_similarity="l14").table
    assert other["clip_similarity"][0].as_py() == pytest.approx(0.2)
    assert json.loads(other.schema.metadata[b"pairmill.score_models"]) == {"clip_similarity": "CLIP ViT-L/14"}


@pytest.mark.parametrize("source, url_first", [("cc3m", False), ("cc12m", True)])
def test_headerless_tsv_with_opposite_columns_tabs_and_quotes(tmp_path: Path, source: str, url_first: bool) -> None:
    captions = ["a red fox", 'said "hello\tthere', "“quoted” 狐狸", "'", ""]
    lines = [(f"http://a/{i}", caption) if url_first else (caption, f"http://a/{i}") for i, caption in enumerate(captions)]
    path = tmp_path / "Train.tsv"
    path.write_bytes("".join("\t".join(line) + "\n" for line in lines).encode() + b"only one field\n" + b"bad \xff\thttp://a/9\n")
    origin = source_named(source)
    rows = inspect(str(path), origin, IngestSettings()).file.rows
    assert rows == 7
    result = to_samples(
        read_rows(str(path), origin, 0, rows, IngestSettings()), origin, Part(source, 0, 0, rows), IngestSettings()
    )
    assert result.table["caption"].to_pylist() == captions
    assert result.table["url"].to_pylist() == [f"http://a/{i}" for i in range(5)]
    assert result.other_families["rejects"]["reason"].to_pylist() == ["wrong_field_count", "invalid_utf8"]


def test_sbu_is_a_json_of_parallel_arrays(tmp_path: Path) -> None:
    path, origin = tmp_path / "sbu.json", source_named("sbu")
    document = {"image_urls": ["http://a/1", "", "http://a/3"], "captions": ["a\nfox", "b", None], "user_ids": ["x", "y", "z"]}
    path.write_text(json.dumps(document))
    result = to_samples(read_rows(str(path), origin, 0, 3, IngestSettings()), origin, Part("sbu", 0, 0, 3), IngestSettings())
    assert result.table["caption"].to_pylist() == ["a\nfox", ""]
    assert result.other_families["rejects"]["reason"].to_pylist() == ["no_url"]
    path.write_text(json.dumps(document | {"captions": ["a"]}))
    with pytest.raises(RequestError, match="arrays of unequal length"):
        inspect(str(path), origin, IngestSettings())


def test_huge_captions_nulls_and_newlines_inside_are_data(tmp_path: Path) -> None:
    long = 'ein Fuchs, "狐狸"\n' * 6000  # over 100 KB
    raw = pa.table({"URL": ["http://a/1"] * 3, "TEXT": [long, "nul\x00byte", "two\nlines"], "WIDTH": [1] * 3, "HEIGHT": [1] * 3})
    pq.write_table(raw, tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([["url", "caption"], *([f"http://a/{i}", t] for i, t in enumerate(raw["TEXT"].to_pylist()))])
    for source, file in (("laion2b-en", "a.parquet"), ("wukong", "a.csv")):
        origin = source_named(source)
        result = to_samples(
            read_rows(str(tmp_path / file), origin, 0, 3, IngestSettings()), origin, Part(source, 0, 0, 3), IngestSettings()
        )
        assert result.table["caption"].to_pylist() == [long, "nulbyte", "two\nlines"]
        assert result.table["caption_chars"].to_pylist() == [len(long), 7, 9]


def test_types_that_drift_and_sizes_that_are_no_sizes() -> None:
    raw = pa.table(
        {
            "URL": pa.array(["http://a/1", "http://a/2", "http://a/3"], pa.large_string()),
            "TEXT": pa.array(["a", "b", "c"]).dictionary_encode(),
            "WIDTH": pa.array([640.0, float("nan"), 1e12]),
            "HEIGHT": pa.array([480, -1, 7], pa.int64()),
            "similarity": pa.array([0.3, 0.4, 0.5], pa.float32()),
        }
    )
    result = ingested("laion2b-en", raw)
    assert result.table["width"].to_pylist() == [640, None]
    assert result.table["height"].to_pylist() == [480, None]
    assert result.other_families["rejects"].select(["reason", "raw"]).to_pylist() == [
        {"reason": "out_of_range", "raw": "WIDTH: 1000000000000.0"}
    ]


def test_wukong_csv_keeps_the_place_of_broken_rows(tmp_path: Path) -> None:
    path = tmp_path / "wukong_100m_0.csv"
    with path.open("wb") as handle:
        handle.write(b"url,caption\r\n")
        handle.write('http://a/1.jpg,"红色, 狐狸\n第二行"\r\n'.encode())
        handle.write(b"http://a/2.jpg,one,too many\r\n")
        handle.write(b"http://a/3.jpg,bad \xff byte\r\n")
        handle.write("http://a/4.jpg,猫\r\n".encode())
    source = source_named("wukong")
    file = inspect(str(path), source, IngestSettings()).file
    assert file.rows == 4
    result = to_samples(read_rows(str(path), source, 0, 4, IngestSettings()), source, Part("wukong", 0, 0, 4), IngestSettings())
    ids = sample_ids(5, 0, 0, 4).tolist()
    assert result.table["sample_id"].to_pylist() == [ids[0], ids[3]]
    assert result.table["caption"].to_pylist() == ["红色, 狐狸\n第二行", "猫"]
    assert result.table["caption_words"].to_pylist() == [7, 1]
    assert result.other_families["rejects"].select(["sample_id", "reason"]).to_pylist() == [
        {"sample_id": ids[1], "reason": "wrong_field_count"},
        {"sample_id": ids[2], "reason": "invalid_utf8"},
    ]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.sampled_from(["", "  ", "http://a/x"])), st.one_of(st.none(), st.text(max_size=8)))
    )
)
def test_every_row_is_a_sample_or_a_reject_exactly_once(rows: list) -> None:
    columns = {"URL": pa.array([url for url, _ in rows], pa.string()), "TEXT": pa.array([text for _, text in rows], pa.string())}
    sizes = pa.nulls(len(rows), pa.int32())
    result = ingested("laion2b-en", pa.table({**columns, "WIDTH": sizes, "HEIGHT": sizes}))
    ids = result.table["sample_id"].to_pylist() + result.other_families["rejects"]["sample_id"].to_pylist()
    assert sorted(ids) == sample_ids(1, 3, 10, len(rows)).tolist()
    assert result.counts["read"] == result.counts["samples"] + result.counts["rejected"] == len(rows)


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 2**24 - 1), st.integers(0, 2**32 - 50))
def test_a_sample_id_says_where_its_row_came_from(source: int, file: int, row: int) -> None:
    (sample_id,) = sample_ids(source, file, row, 1).tolist()
    assert (sample_id >> 56, sample_id >> 32 & 0xFFFFFF, sample_id & 0xFFFFFFFF) == (source, file, row)


def test_equal_pairs_share_a_hash() -> None:
    urls, captions = pa.chunked_array([["u", "u", "u2"]]), pa.chunked_array([["c", "c", "c"]])
    first, second, third = hash_rows(xxhash.xxh3_64_intdigest, "\n", urls, captions).tolist()
    assert first == second != third


def test_parquet_is_read_by_runs_of_rows_across_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"URL": [f"u{i}" for i in range(100)]}), path, row_group_size=7)
    for first, rows in ((0, 100), (5, 3), (6, 30), (99, 1)):
        assert read_rows(str(path), source_named("laion2b-en"), first, rows, IngestSettings()).table["URL"].to_pylist() == [
            f"u{i}" for i in range(first, first + rows)
        ]


def write_csv(path: Path) -> None:
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([["url", "caption"], ["http://a", "b"]])


@pytest.mark.parametrize(
    "source, content, message",
    [
        ("laion2b-en", "parquet-without-text", "has no column TEXT"),
        ("laion2b-en", "empty", r"is empty \(0 bytes\)"),
        ("laion2b-en", "csv", "has no column TEXT"),
        ("wukong", "parquet-without-text", "has no column caption"),
        ("laion2b-en", "no-rows", "has no rows"),
        ("laion2b-en", "broken", "is a broken parquet file"),
    ],
)
def test_a_file_that_cannot_be_of_its_source_is_refused_in_one_line(
    tmp_path: Path, source: str, content: str, message: str
) -> None:
    path = tmp_path / "file"
    match content:
        case "parquet-without-text":
            pq.write_table(pa.table({"URL": ["u"], "WIDTH": [1], "HEIGHT": [1]}), path)
        case "no-rows":
            pq.write_table(pa.table({"URL": pa.array([], pa.string()), "TEXT": [], "WIDTH": [], "HEIGHT": []}), path)
        case "csv":
            path.write_text("url;title\nhttp://a/1;A fox\n")
        case "broken":
            path.write_bytes(b"PAR1" + b"\0" * 100)
        case "empty":
            path.touch()
    with pytest.raises(RequestError, match=message) as caught:
        inspect(str(path), source_named(source), IngestSettings())
    assert "\n" not in str(caught.value)


def test_an_unknown_source_suggests_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean 'laion2b-en'"):
        source_named("laion2ben")


def test_source_ordinals_are_unique() -> None:
    from pipelines.sources import sources

    ordinals = [source.ordinal for source in sources().values()]
    assert len(set(ordinals)) == len(ordinals)
    assert np.all(np.array(ordinals) < 256)


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.text(max_size=30), st.text(alphabet="aZ09 .,-_\n\t中ひカกé́𠀀😀", max_size=30)), max_size=40),
    st.integers(0, 3),
)
def test_words_are_counted_as_the_pattern_says(captions: list[str], skipped: int) -> None:
    column = pa.chunked_array([pa.array(captions, pa.string()).slice(skipped), pa.array(captions[:2], pa.string())])
    assert count_words(column).equals(pc.count_substring_regex(column, f"{ALONE}|{WITHIN}+").combine_chunks().cast(pa.int32()))


SIZED = Source(
    name="sized",
    ordinal=250,
    title="sized",
    format="tsv",
    names={"url": "link", "caption": "text", "width": "w", "aesthetic": "score"},
)


@pytest.mark.parametrize("format, separator", [("tsv", "\t"), ("csv", ","), ("parquet", ";")])
def test_a_text_file_with_a_header_has_its_columns_by_name(tmp_path: Path, format: str, separator: str) -> None:
    source, path = replace(SIZED, format=format), tmp_path / "sized.txt"
    rows = [["w", "text", "link", "score"], ["640", "A fox", "http://a/1", "5.5"], ["", "A dog", "http://a/2", ""]]
    path.write_text("".join(f"{separator.join(row)}\n" for row in rows))
    assert inspect(str(path), source, IngestSettings()).file.rows == 2
    rows = read_rows(str(path), source, 0, 2, IngestSettings())
    table = to_samples(rows, source, Part("sized", 0, 0, 2), IngestSettings()).table
    assert table.select(["url", "caption", "width", "aesthetic"]).to_pylist() == [
        {"url": "http://a/1", "caption": "A fox", "width": 640, "aesthetic": 5.5},
        {"url": "http://a/2", "caption": "A dog", "width": None, "aesthetic": None},
    ]


TEXTS = st.one_of(st.none(), st.text("0123456789.eE+-nafi ", max_size=12), st.integers(-(2**40), 2**40).map(str))


@settings(deadline=None)
@given(st.lists(TEXTS | st.floats(width=32).map(str), min_size=1))
def test_a_number_written_as_text_is_read_and_any_other_text_is_a_fault(texts: list[str | None]) -> None:
    raw = pa.table({name: pa.array(texts, pa.string()) for name in ("link", "text", "w", "score")})
    table, faults = SIZED.published(raw, raw.column_names)
    reasons = {row: reason for row, reason, value in faults if value.startswith("w:")}
    for row, (text, width, score) in enumerate(
        zip(texts, table["width"].to_pylist(), table["aesthetic"].to_pylist(), strict=True)
    ):
        word = (text or "").strip()
        written = re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", word)
        number = float(word) if written else float("nan")
        assert width == (int(number) if 0 <= number < 2**31 else None)
        assert score == (pytest.approx(float(np.float32(number))) if abs(number) < 3.4e38 else None)
        if written:
            assert reasons.get(row) == ("out_of_range" if 2**31 <= number < np.inf else None)
        else:
            not_known = re.fullmatch(r"[-+]?(nan|inf)|na|-|", word)
            assert reasons.get(row) == (None if not_known else "not_a_number")
