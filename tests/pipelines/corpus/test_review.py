"""The page of doubtful pairs: those nearest to a threshold on either side, shown side by side, with all text escaped."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infra.compat.errors import RequestError
from pipelines import dedup
from pipelines.corpus.copies import find_copies
from pipelines.corpus.doubt import DoubtfulPair
from pipelines.corpus.doubtful_pairs import doubtful_pairs
from pipelines.corpus.duplicates import join_part
from pipelines.corpus.evaluation_sets import sets_of
from pipelines.corpus.review import page
from pipelines.corpus.settings import DedupSettings
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from tests.pipelines.corpus.test_copies import corpus, in_process
from tests.pipelines.corpus.test_near_pictures import PARTS, manifest, picture
from tests.pipelines.reporting.test_report import browser

__all__ = ["browser", "in_process", "manifest"]
HOSTILE = "<script>document.title = 'owned'</script><img src=x onerror=alert(1)>"


def test_the_pairs_nearest_to_a_threshold_are_found_on_either_side(tmp_path: Path, in_process: None) -> None:
    hashes = [0b0, 0b1, 0b111, 0b11111]  # spread over the word: 0 ~ 1 at 1, 0 ~ 2 at 3, 0 ~ 3 at 5, 1 ~ 3 at 4, 2 ~ 3 at 2
    rows = [("coyo", (number, None, None, 1, place)) for place, number in enumerate(hashes)]
    chosen = DedupSettings(pixel_distance=2, distance=3)
    storage, parts, known = corpus(tmp_path, rows, 3)
    copies = find_copies(storage, parts, chosen)
    for part in parts:
        table = join_part(storage, part, lambda rows: None, settings=chosen, copies=copies).table
        storage.write_parquet(part.path("dedup"), conform(table, "dedup"))
    ids = [*known]
    found = [pair[1:5] for pair in doubtful_pairs(storage, parts, chosen, [], 2) if pair.kind == "pixels"]
    # Within: 1 copies 0 at 1, 3 copies 2 at 2. Beyond 2 bits: 0 ~ 2 at 3, 1 ~ 3 at 4.
    assert found == [(2, 2, ids[3], ids[2]), (2, 1, ids[1], ids[0]), (2, 3, ids[2], ids[0]), (2, 4, ids[3], ids[1])]
    assert [pair.is_match for pair in doubtful_pairs(storage, parts, chosen, [], 1) if pair.kind == "pair"] == [True, False]


def test_text_of_samples_and_items_is_escaped() -> None:
    pairs = [DoubtfulPair("pdq", 31, 33, 7, HOSTILE, HOSTILE), DoubtfulPair("pair", 8, 8, 7, 9)]
    samples = {7: {"caption": HOSTILE, "source": HOSTILE, "url": f"http://a/{HOSTILE}", "picture": ""}}
    shown = page(pairs, samples, {})
    assert "&lt;script&gt;" in shown and "<script" not in shown and "<img" not in shown
    assert "beyond 31" in shown and "within 8: copies" in shown


def test_a_page_says_why_a_pair_stands_or_falls() -> None:
    pairs = [
        DoubtfulPair("pdq", 31, 12, 7, "a.jpg", "coco", 0.93),
        DoubtfulPair("look", 0.75, 0.76, 7, "a.jpg", "coco"),
        DoubtfulPair("look", 0.75, 0.74, 7, "b.jpg", "coco"),
        DoubtfulPair("embedding", 0.8, 0.7, 7, "c.jpg", "coco"),
    ]
    assert [pair.is_match for pair in pairs] == [True, True, False, False]
    shown = page(pairs, {}, {})
    for line in (
        "12 bits, within 31; laid over each other 0.93 agrees<",
        "0.76 agrees, at least 0.75<",
        "0.74 agrees, less than 0.75: no match<",
        "0.70 cosine, less than 0.8: no match<",
        "share that agrees, at least 0.75: matches</h3>",
        "share that agrees, less than 0.75</h3>",
    ):
        assert line in shown


def test_what_looks_refused_is_shown(manifest: Storage, tmp_path: Path, ray_session: None) -> None:
    (tmp_path / "eval").mkdir()
    picture(2).save(tmp_path / "eval" / "cross.png")
    settings = DedupSettings(against={"shapes": str(tmp_path / "eval")}, eval_hash_agreement=0.999)
    arguments = ["--root", manifest.root, "--against", f"shapes={tmp_path / 'eval'}"]
    assert dedup.main([*arguments, "--set", "dedup.eval_hash_agreement=0.999"]).get("eval_matches", 0) == 0
    pairs = doubtful_pairs(manifest, PARTS, settings, sets_of(manifest, settings.against), 9)
    (refused,) = [pair for pair in pairs if pair.kind == "look"]
    assert (refused.other, refused.is_match) == ("cross.png", False) and 0.75 < refused.value < 0.999
    assert dedup.main(arguments)["eval_matches"] == 1
    pairs = doubtful_pairs(manifest, PARTS, DedupSettings(against=settings.against), sets_of(manifest, settings.against), 9)
    shown = {pair.kind: pair for pair in pairs if pair.other == "cross.png"}
    assert {*shown} == {"pdq", "look"} and shown["look"].value == shown["pdq"].agreement == pytest.approx(refused.value)


def test_a_browser_shows_pairs_of_samples_and_of_items_side_by_side(
    manifest: Storage, tmp_path: Path, ray_session: None, browser: list[str]
) -> None:
    (tmp_path / "eval").mkdir()
    picture(2).save(tmp_path / "eval" / "cross.png")
    out = tmp_path / "pages" / "review.html"
    arguments = ["--root", manifest.root, "--against", f"shapes={tmp_path / 'eval'}", "--review", "5", "--out", str(out)]
    counts = dedup.main(arguments)
    assert (counts["review"], counts["failed"]) == (str(out), {}) and counts["reviewed_pairs"] >= 3
    dom = subprocess.run([*browser, "--dump-dom", out.as_uri()], capture_output=True, text=True, timeout=300, check=True).stdout
    assert "<title>Doubtful pairs</title>" in dom and "cross.png" in dom and "evaluation set shapes" in dom
    assert dom.count("<article") == counts["reviewed_pairs"] and dom.count("data:image/jpeg") == 2 * counts["reviewed_pairs"]
    shot = tmp_path / "page.png"
    subprocess.run([*browser, f"--screenshot={shot}", out.as_uri()], capture_output=True, timeout=300, check=True)
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert (np.abs(pixels - (0, 0, 255)).sum(axis=2) < 60).sum() > 2000  # the blue cross was drawn


def test_a_page_without_a_number_of_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="--review takes how many pairs"):
        dedup.main(["--root", str(tmp_path), "--out", "page.html"])
