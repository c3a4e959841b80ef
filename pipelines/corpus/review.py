"""A page that shows the most doubtful pairs of `dedup` side by side: one self-contained file, all text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from infra.compat.errors import RequestError
from pipelines.corpus.doubt import AGREEMENT, EMBEDDING, LOOK, SHARES, DoubtfulPair
from pipelines.corpus.doubtful_items import SAMPLED as SAMPLED_FOR_SETS
from pipelines.corpus.doubtful_pairs import SAMPLED, doubtful_pairs
from pipelines.corpus.evaluation_file import ENDING
from pipelines.corpus.evaluation_pictures import chunks_of, may_hold, pictures_of
from pipelines.corpus.evaluation_search import EvalSet, local_file
from pipelines.corpus.settings import DedupSettings
from pipelines.images.thumbnails import thumbnail
from pipelines.manifest import connect
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage

SIDE = 256  # pixels of a picture
MOST_CHUNKS = 64  # of a set, read for its pictures: of 500 pictures, or a tar, each
TITLES = {
    "pair": "Samples with the same words: bits between the hashes of their pictures",
    "pixels": "Pictures that look the same: bits between their hashes",
    "pdq": "Evaluation pictures by PDQ: bits of 256",
    "both": "Evaluation pictures by both hashes: bits of PDQ's 256",
    "phash": "Evaluation pictures by the 64-bit hash: bits",
    "published": "Evaluation pictures by the hash that the source publishes: bits",
    LOOK: "Evaluation pictures that a hash matched, laid over each other: share that agrees",
    AGREEMENT: "Evaluation pictures that no hash matched, laid over each other: share of the structure that agrees",
    EMBEDDING: "Evaluation pictures by embeddings: cosine",
}
STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; color: #222; }
section { display: flex; flex-wrap: wrap; gap: 14px; }
article { border: 1px solid #ccc; border-radius: 6px; padding: 10px; width: 560px; box-sizing: border-box; }
article > div { display: grid; grid-template-columns: 1fr 1fr; gap: 10px; }
article.match { border-left: 5px solid #b33; } article.other { border-left: 5px solid #3a7; }
figure { margin: 0; overflow-wrap: anywhere; }
figure img, figure p.none { width: 256px; height: 200px; object-fit: contain; background: #f3f3f3; }
figure p.none { display: grid; place-items: center; color: #888; margin: 0; }
figcaption small { color: #777; display: block; } h3 { margin: 1.2em 0 .5em; } article p { margin: 0 0 6px; }
"""


def write_review(
    storage: Storage, parts: Sequence[Part], settings: DedupSettings, sets: Sequence[EvalSet], count: int, out: Path
) -> int:
    """Writes the page; returns how many pairs it shows."""
    pairs = doubtful_pairs(storage, parts, settings, sets, count)
    samples = _samples(storage, {id for pair in pairs for id in (pair.sample, pair.other) if isinstance(id, int)})
    pictures = _item_pictures(pairs, settings.against, sets)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page(pairs, samples, pictures), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"--out {out} cannot be written ({error.strerror}); name a file in a folder of yours") from None
    return len(pairs)


def page(pairs: Sequence[DoubtfulPair], samples: Mapping[int, Mapping[str, Any]], pictures: Mapping[tuple[str, str], str]) -> str:
    """The page of pairs, given what is shown of each sample and the picture of each (set, item)."""
    body = [
        "<h1>Doubtful pairs</h1>",
        f"<p>The {len(pairs)} pairs nearest to the thresholds of dedup. Within a threshold (red): of the whole manifest. "
        f"Beyond (green): among {SAMPLED:,} sampled rows at most, {SAMPLED_FOR_SETS:,} for evaluation sets.</p>",
    ]
    for (kind, is_match), group in groupby(pairs, key=lambda pair: (pair.kind, pair.is_match)):
        own = list(group)
        side = f"{_side(own[0])} {own[0].threshold}" + (f": {'matches' if own[0].set else 'copies'}" if is_match else "")
        body.append(f"<h3>{escape(TITLES[kind])}, {side}</h3><section>")
        body += [_card(pair, samples, pictures) for pair in own]
        body.append("</section>")
    if not pairs:
        body.append("<p>No pair is near a threshold.</p>")
    head = f"<meta charset='utf-8'><title>Doubtful pairs</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(body)}</body></html>\n"


def _card(pair: DoubtfulPair, samples: Mapping[int, Mapping[str, Any]], pictures: Mapping[tuple[str, str], str]) -> str:
    figures = [_sample(pair.sample, samples)]
    if isinstance(pair.other, int):
        figures.append(_sample(pair.other, samples))
    else:
        figures.append(_figure(pictures.get((pair.set, pair.other), ""), pair.other, f"evaluation set {pair.set}"))
    return (
        f"<article class='{'match' if pair.is_match else 'other'}'><p>{escape(_why(pair))}</p>"
        f"<div>{''.join(figures)}</div></article>"
    )


def _side(pair: DoubtfulPair) -> str:
    """Where a pair is of its threshold: bits are within or beyond it, shares at least as much or less."""
    names = ("less than", "at least") if pair.kind in SHARES else ("beyond", "within")
    return names[pair.is_match]


def _why(pair: DoubtfulPair) -> str:
    """Why a pair counts as a match or copy, or does not."""
    unit = "cosine" if pair.kind == EMBEDDING else "agrees"
    value = f"{pair.value:.2f} {unit}" if pair.kind in SHARES else f"{pair.value:.0f} bits"
    looked = "" if pair.agreement is None else f"; laid over each other {pair.agreement:.2f} agrees"
    refused = "" if pair.is_match else f": no {'match' if pair.set else 'copy'}"
    return f"{value}, {_side(pair)} {pair.threshold}{looked}{refused}"


def _sample(id: int, samples: Mapping[int, Mapping[str, Any]]) -> str:
    sample = samples.get(id, {})
    return _figure(
        sample.get("picture", ""), sample.get("caption") or "", f"{sample.get('source', '')} {id}", sample.get("url", "")
    )


def _figure(picture: str, text: str, *small: str) -> str:
    image = f"<img src='{picture}' alt=''>" if picture else "<p class='none'>no picture here</p>"
    lines = "".join(f"<small>{escape(line)}</small>" for line in small)
    return f"<figure>{image}<figcaption>{escape(text)}{lines}</figcaption></figure>"


def _samples(storage: Storage, ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """What is shown of each sample: source, caption, url, and its stored picture as a data URL."""
    listed = ", ".join(map(str, sorted(ids)))
    if not listed:
        return {}
    query = f"select sample_id, source, caption, url, tar, tar_offset, tar_length from manifest where sample_id in ({listed})"
    relation = connect(storage.root).sql(query)
    rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    return {row["sample_id"]: {**row, "picture": _stored(storage, row)} for row in rows}


def _stored(storage: Storage, row: Mapping[str, Any]) -> str:
    if row["tar"] is None:
        return ""
    try:
        return thumbnail(storage.read_range(row["tar"], row["tar_offset"], row["tar_length"]), SIDE)
    except OSError:
        return ""


def _item_pictures(
    pairs: Sequence[DoubtfulPair], against: Mapping[str, str], sets: Sequence[EvalSet]
) -> dict[tuple[str, str], str]:
    """(set, item) → its picture as a data URL, of the sets whose pictures can be read."""
    found: dict[tuple[str, str], str] = {}
    for each in sets:
        wanted = {str(pair.other) for pair in pairs if pair.set == each.name}
        uri = against.get(each.name, ENDING)
        uri = local_file(each.uri).provenance.get("uri", "") if uri.endswith(ENDING) else uri
        try:
            chunks = [chunk for chunk in chunks_of(each.name, uri) if any(may_hold(chunk, item) for item in wanted)]
            for chunk in chunks[:MOST_CHUNKS]:
                pictures = {picture.name: picture.data for picture in pictures_of(chunk) if picture.name in wanted}
                found |= {(each.name, item): thumbnail(data, SIDE) for item, data in pictures.items()}
                wanted -= set(pictures)
        except (OSError, RequestError):  # the set was carried here as a file of hashes, without its pictures
            continue
    return found
