"""Files are named as people name them: paths, folders, patterns, ranges, in any spelling."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from infra.compat.paths import absolute
from pipelines.sources.patterns import expand, natural

FILES = (
    *("data/2.parquet", "data/10.parquet", "data/deep/3.parquet", "data/_SUCCESS", "data/.2.parquet.crc", "data/0.npz"),
    *("data/_temporary/0/9.parquet", "data/.hidden.parquet", "data/2_stats.json"),
    *("text/a.csv.gz", "text/b.jsonl", "text/readme.md"),
    *("odd/a[1].csv", "odd/a1.csv", "odd/what?.csv", "odd/w*.csv", "odd/{a,b}.csv", "odd[2]/x.csv", "odd2/x.csv"),
    *("range/part-08.tsv", "range/part-09.tsv", "range/part-10.tsv", "range/x.tsv"),
)


@pytest.fixture(params=["folder", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder that holds FILES, on a disk, in memory, or on an object store."""
    places = {"folder": lambda: str(tmp_path), "memory": lambda: f"memory:/{tmp_path}"}
    root = places[request.param]() if request.param in places else f"{request.getfixturevalue('object_store')}{tmp_path}"
    fs, path = fsspec.core.url_to_fs(root)
    for name in FILES:
        if not (request.param == "s3" and "*" in name):
            fs.makedirs(f"{path}/{name}".rpartition("/")[0], exist_ok=True)
            fs.pipe_file(f"{path}/{name}", b"x")
    yield root


@pytest.mark.parametrize(
    "patterns, names",
    [
        (["data"], ["data/2.parquet", "data/10.parquet", "data/deep/3.parquet"]),
        (["data/"], ["data/2.parquet", "data/10.parquet", "data/deep/3.parquet"]),
        (["text"], ["text/a.csv.gz", "text/b.jsonl"]),
        (["data/*.parquet"], ["data/2.parquet", "data/10.parquet"]),
        (["data/**/*.parquet"], ["data/2.parquet", "data/10.parquet", "data/deep/3.parquet"]),
        (["data/10.parquet", "data/*.parquet", "data//2.parquet"], ["data/10.parquet", "data/2.parquet"]),
        (["odd/a[1].csv"], ["odd/a[1].csv"]),
        (["odd/a[12].csv"], ["odd/a1.csv"]),
        (["odd/what?.csv"], ["odd/what?.csv"]),
        (["odd/{a,b}.csv"], ["odd/{a,b}.csv"]),
        (["odd[2]/*.csv"], ["odd[2]/x.csv"]),
        (["odd[12]/*.csv"], ["odd2/x.csv"]),
        (["odd[2]"], ["odd[2]/x.csv"]),
        (["range/part-{08..10}.tsv"], ["range/part-08.tsv", "range/part-09.tsv", "range/part-10.tsv"]),
        (["range/{x,part-1*}.tsv"], ["range/x.tsv", "range/part-10.tsv"]),
    ],
)
def test_what_patterns_name(base: str, patterns: list[str], names: list[str]) -> None:
    uris = expand([f"{base}/{pattern}" for pattern in patterns])
    assert [uri.rpartition(f"{base.split('://')[-1]}/")[2] for uri in uris] == names


@pytest.mark.parametrize(
    "pattern, message",
    [
        ("range/part-{07..12}.tsv", r"no such file: \S+/part-07.tsv, \S+/part-11.tsv, \S+/part-12.tsv, of 6 that"),
        ("range/part-{10..99}.tsv", "and 86 more, of 90 that"),
        ("data/nothing*", "no such file: "),
        ("data/_temp*/0/*", "no such file: "),
        ("nowhere/a.csv", "no such file: "),
    ],
)
def test_a_pattern_that_names_nothing_is_one_line(base: str, pattern: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as refusal:
        expand([f"{base}/{pattern}"])
    assert "\n" not in str(refusal.value)


def test_spellings_of_one_file_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("x")
    (tmp_path / "link").symlink_to("data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    spellings = [
        "data/a.csv",
        "./data//a.csv",
        "data/../data/a.csv",
        "~/data/a.csv",
        f"file://{tmp_path}/data/a.csv",
        "link/*.csv",
    ]
    for spelling in spellings[:-1]:
        assert expand([spelling]) == [f"file://{tmp_path}/data/a.csv"]
    assert expand(["link"]) == [f"file://{tmp_path}/link/a.csv"]  # a link keeps its name
    assert len(expand([*spellings, "link/*.csv"])) == 1


def test_above_a_link_is_above_what_it_points_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "far" / "data").mkdir(parents=True)
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "link").symlink_to(tmp_path / "far" / "data")
    for folder in ("far", "near"):
        (tmp_path / folder / "a.csv").write_text(folder)
    monkeypatch.chdir(tmp_path / "near")
    (uri,) = expand(["link/../*.csv"])
    assert fsspec.open(uri, "rt").open().read() == Path("link/../a.csv").read_text() == "far"
    assert absolute("~nobody-of-that-name/x").startswith(str(tmp_path)) and absolute("//tmp/./x//y/") == "/tmp/x/y"
    assert absolute("file:/x") == absolute("file:///x") == "/x" and absolute("s3://b//x") == "s3://b//x" and absolute("") == ""


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_natural_order_is_that_of_the_numbers(numbers: list[int]) -> None:
    names = [f"part-{number}.parquet" for number in numbers]
    assert sorted(names, key=natural) == [f"part-{number}.parquet" for number in sorted(numbers)]


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_working_folder(name: str) -> None:
    with pytest.raises(RequestError, match="empty"):
        expand([name])
