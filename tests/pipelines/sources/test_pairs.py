"""Tables of any publisher: columns by their usual names or by `[ingest.columns]`, in upper or lower case."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.compat.errors import RequestError
from pipelines.ingest import _inspect
from pipelines.manifest.parts import Part
from pipelines.recipe import load_recipe
from pipelines.sources import source_named
from pipelines.sources.files import inspect, read_rows
from pipelines.sources.samples import to_samples
from pipelines.sources.settings import IngestSettings, SourceSettings

URLS, CAPTIONS = ["http://a/1", "http://a/2"], ["a fox", "a dog"]


def written(folder: Path, **columns: list) -> str:
    pq.write_table(pa.table(columns), folder / "table.parquet")
    return str(folder / "table.parquet")


def samples(uri: str, source: str, settings: IngestSettings) -> list[dict]:
    chosen = source_named(source)
    rows = inspect(uri, chosen, settings).file.rows
    read = read_rows(uri, chosen, 0, rows, settings)
    return to_samples(read, chosen, Part(source, 0, 0, rows), settings).table.to_pylist()


def pairs_of(rows: list[dict]) -> tuple[list[str], list[str]]:
    return [row["url"] for row in rows], [row["caption"] for row in rows]


@pytest.mark.parametrize("url", ["url", "URL", "image_url", "Image_URL", "link", "img_url"])
@pytest.mark.parametrize("caption", ["caption", "TEXT", "text", "alt_text", "title"])
def test_pairs_go_by_usual_names_in_any_case(tmp_path: Path, url: str, caption: str) -> None:
    uri = written(tmp_path, **{"id": [1, 2], caption: CAPTIONS, url: URLS, "Width": [640, None]})
    rows = samples(uri, "pairs", IngestSettings())
    assert pairs_of(rows) == (URLS, CAPTIONS)
    assert [row["width"] for row in rows] == [640, None]


def test_columns_of_a_recipe_come_before_usual_names(tmp_path: Path) -> None:
    uri = written(tmp_path, url=["no", "no"], caption=["no", "no"], where=URLS, words=CAPTIONS, sim=[0.25, None])
    recipe = load_recipe(None, ['ingest.columns={url="where", caption=["said", "words"], clip_similarity="sim"}'])
    rows = samples(uri, "pairs", recipe.ingest)
    assert pairs_of(rows) == (URLS, CAPTIONS)
    assert [row["clip_similarity"] for row in rows] == [0.25, None]


@pytest.mark.parametrize(
    "columns, chosen, message",
    [
        (
            {"a": URLS, "b": CAPTIONS},
            {},
            r"has no column caption, url \(it has a, b\), so it is no pairs file; name its columns in the",
        ),
        ({"url": URLS, "b": CAPTIONS}, {}, r"has no column caption \(it has url, b\)"),
        (
            {"url": URLS, "text": CAPTIONS},
            {"caption": "b"},
            r"has no column b \(it has url, text\), so it is no pairs file; name its columns in the",
        ),
        (
            {"url": URLS, "URL": URLS, "text": CAPTIONS},
            {"url": "Url"},
            r"has no column Url \(it has url, URL, text\)",
        ),
    ],
)
def test_a_table_whose_columns_cannot_be_told_is_refused_in_one_line(
    tmp_path: Path, columns: dict, chosen: dict, message: str
) -> None:
    uri = written(tmp_path, **columns)
    with pytest.raises(RequestError, match=message) as caught:
        inspect(uri, source_named("pairs"), IngestSettings(columns=chosen))
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_ours_is_refused_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="captoin is no published column; did you mean 'caption'"):
        load_recipe(None, ['ingest.columns.captoin="text"'])


MAPPED = IngestSettings(columns={"url": "link", "caption": "words", "width": "w"})
FILES = {
    "csv": 'id,link,words,w\n1,http://a/1,"a fox, red",640\n2,http://a/2,a dog,wide\n3,http://a/3,a cat,\n',
    "tsv": "id\tlink\twords\tw\n1\thttp://a/1\ta fox, red\t640\n2\thttp://a/2\ta dog\twide\n3\thttp://a/3\ta cat\tNaN\n",
    "jsonl": """{"link": "http://a/1", "words": "a fox, red", "w": 640}
{"link": "http://a/2", "words": "a dog", "w": "wide"}
{"link": "http://a/3", "words": "a cat", "w": null}
""",
}


@pytest.mark.parametrize("format", FILES)
def test_pairs_in_text_files_are_mapped_too(tmp_path: Path, format: str) -> None:
    (tmp_path / "pairs").write_text(FILES[format])
    rows = samples(str(tmp_path / "pairs"), "pairs", MAPPED)
    assert [(row["url"], row["caption"], row["width"]) for row in rows] == [
        ("http://a/1", "a fox, red", 640),
        ("http://a/3", "a cat", None),
    ]


@pytest.mark.parametrize(
    "row, reason",
    [
        (r'{"link": "http://a/2", "words": "x \ud800 y", "w": 1}', "invalid_utf8"),
        (r'{"link": "http://a/\udc80", "words": "x", "w": 1}', "invalid_utf8"),
        ('{"link": "http://a/2", "words": "x", "w": 99999999999}', "out_of_range"),
        ('{"link": "http://a/2", "words": "x", "w": true}', "not_a_number"),
    ],
)
def test_a_bad_value_in_json_costs_its_row(tmp_path: Path, row: str, reason: str) -> None:
    (tmp_path / "pairs").write_text(FILES["jsonl"].replace('{"link": "http://a/2", "words": "a dog", "w": "wide"}', row))
    chosen, uri = source_named("pairs"), str(tmp_path / "pairs")
    result = to_samples(read_rows(uri, chosen, 0, 3, MAPPED), chosen, Part("pairs", 0, 0, 3), MAPPED)
    assert len(result.table) == 2
    assert result.other_families["rejects"]["reason"].to_pylist() == [reason]


@pytest.mark.parametrize("source", ["cc3m", "cc12m", "sbu", "wukong"])
@pytest.mark.parametrize("url, caption", [("image_url", "caption"), ("url", "caption"), ("image_url", "text")])
def test_mirrors_in_parquet_are_read(tmp_path: Path, source: str, url: str, caption: str) -> None:
    uri = written(tmp_path, **{url: URLS, caption: CAPTIONS, "user_id": ["x", "y"]})
    rows = samples(uri, source, IngestSettings())
    assert pairs_of(rows) == (URLS, CAPTIONS)
    assert {row["language"] for row in rows} == {"zh" if source == "wukong" else "en"}


@pytest.mark.parametrize("source", ["laion2b-en", "laion2b-multi"])
def test_re_laions_columns_in_lower_case_are_read(tmp_path: Path, source: str) -> None:
    scores = {"similarity": [0.31, None], "punsafe": [0.1, 0.2], "pwatermark": [0.3, float("nan")]}
    more = {"key": ["0", "1"], "hash": [1, 2], "width": [640, 300], "height": [480, 200], "language": ["de", None]}
    (first, second) = samples(written(tmp_path, url=URLS, caption=CAPTIONS, **scores, **more), source, IngestSettings())
    assert (first["url"], first["caption"], first["width"], first["height"]) == ("http://a/1", "a fox", 640, 480)
    assert [first[name] for name in ("clip_similarity", "watermark", "unsafe")] == pytest.approx([0.31, 0.3, 0.1])
    assert (second["clip_similarity"], second["watermark"]) == (None, None)
    assert first["language"] == ("en" if source == "laion2b-en" else "de")


def test_laions_original_release_is_known_from_the_whole_file_though_few_columns_are_read(tmp_path: Path) -> None:
    uri = written(tmp_path, SAMPLE_ID=[1, 2], URL=URLS, TEXT=CAPTIONS, HEIGHT=[640, 300], WIDTH=[480, 200])
    (first, second) = samples(uri, "laion2b-en", IngestSettings())
    assert (first["width"], first["height"], second["width"], second["height"]) == (640, 480, 300, 200)


def test_the_exact_name_is_read_where_case_alone_tells_two_columns_apart(tmp_path: Path) -> None:
    uri = written(tmp_path, url=["no", "no"], URL=URLS, TEXT=CAPTIONS)
    assert pairs_of(samples(uri, "laion2b-en", IngestSettings())) == (URLS, CAPTIONS)


@pytest.mark.parametrize(
    "sizes, width",
    [
        ({"width": [256, 256]}, None),
        ({"width": [256, 256], "WIDTH": [640, 300]}, 640),
        ({"width": [256, 256], "WIDTH": [640, 300], "original_width": [512, 300]}, 512),
    ],
)
def test_img2datasets_sizes_are_never_those_of_the_resized_image(tmp_path: Path, sizes: dict, width: int | None) -> None:
    uri = written(tmp_path, url=URLS, caption=CAPTIONS, key=["0", "1"], status=["success"] * 2, **sizes)
    assert samples(uri, "img2dataset", IngestSettings())[0]["width"] == width


def test_a_file_without_sizes_and_scores_is_read_and_said_so_in_one_line(tmp_path: Path) -> None:
    files = []
    for number in range(3):
        files.append(str(tmp_path / f"{number}.parquet"))
        pq.write_table(pa.table({"URL": URLS, "TEXT": CAPTIONS}), files[-1])
    (first, _) = samples(files[0], "laion2b-en", IngestSettings())
    assert [first[name] for name in ("width", "height", "clip_similarity", "watermark", "unsafe")] == [None] * 5
    (notice,) = _inspect(SourceSettings(name="laion2b-en", files=tuple(files)), IngestSettings()).notices
    assert notice.startswith("laion2b-en: no width, height, clip_similarity (NULL in its samples) in ")
    assert notice.endswith("/0.parquet and 2 more") and "\n" not in notice
    pq.write_table(
        pa.table({"URL": URLS, "TEXT": CAPTIONS, "WIDTH": [1, 1], "HEIGHT": [1, 1], "similarity": [0.3, 0.3]}), files[0]
    )
    assert not _inspect(SourceSettings(name="laion2b-en", files=(files[0],)), IngestSettings()).notices


def test_names_that_were_guessed_are_said(tmp_path: Path) -> None:
    uri = written(tmp_path, image_url=URLS, title=CAPTIONS)
    notice = inspect(uri, source_named("pairs"), IngestSettings()).notice
    assert notice == "url is read from image_url, caption is read from title"
