"""Caption rules, on generated captions in nine languages, 60 characters on average.

    vs_data_juicer         captions/s of all stage-2 rules over Data-Juicer's six text operators (alphanumeric, character and word
                           repetition, special characters, flagged words, text length) on 100 000 of them, two processes each, no
                           language identification on either side
    captions_per_s_core    every caption repaired, every rule, quality and language of every caption, in one process of one thread
    rules_only_per_s_core  the same with the language given, none repaired
    judge_mib              peak memory of the Ray worker in which `stage2` does the first of these
    count_gib              peak memory of counting duplicate captions among 20 million: the driver and all workers

Captions are judged as many at a time as `stage2` takes. Medians of three turns. `--rows` is the number of captions counted for
duplicates; the speeds are of 300 000.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters import stage2
from filters.rules import configure, evaluate
from filters.text.language import identify
from filters.text.repair import repair
from infra.benchmarks.peers import data_juicer
from infra.benchmarks.tools.alone import run_alone
from infra.benchmarks.tools.rows import FILE_ROWS, SOURCE, generate
from pipelines.judging.captions import ROWS as ROWS_AT_A_TIME

ROWS, CAPTIONS, PEER_CAPTIONS, TURNS = 20_000_000, 300_000, 100_000, 3

WORDS = {
    "en": "A|red fox|in the|snow|photo of|vintage|wooden table|lamp|with|two chairs|Summer Dress|floral print,|Size M|black"
    "|shoes|view from|Mount Hood|lake|old town|street|fresh fruit|bowl|Kitchen Design|modern house -|garden|portrait|1967 Ford",
    "de": "ein|alter|Holztisch|mit zwei|Stühlen|im Garten|Blick auf|den See|und die|Berge|bei|Sonnenuntergang|schöne|Größe 40",
    "fr": "un|chat|sur la|table|près de|la fenêtre,|été|robe|à fleurs|vue|du château|de|Chambord|au|printemps|noir et blanc",
    "es": "una|niña|con|globo rojo|en el|parque|vestido|de verano|vista|de la|montaña|al|atardecer|casa|blanca|señal",
    "ru": "красная|лиса|на|снегу|старый|деревянный|стол|в саду|вид на|озеро|и горы|летом|платье|размер 44",
    "ja": "赤い|ドレスの|女性|夕暮れの|浜辺を|歩く|富士山と|桜|木製|テーブル|猫が|窓辺で|眠る",
    "zh": "红色|连衣裙|的女士|走在|海滩上|实木|餐桌|配|六把椅子|云海|日出|航拍|新款 女装|猫|坐在窗边",
    "ko": "빨간|드레스를 입은|여자가|해변을|걷는다|고양이|창가에|앉아|있다|설경",
    "ar": "امرأة|بفستان|أحمر|تمشي|على الشاطئ|عند الغروب|قطة|طاولة|خشبية",
}
SHARES = {"en": 0.55, "de": 0.08, "fr": 0.06, "es": 0.06, "ru": 0.08, "ja": 0.05, "zh": 0.07, "ko": 0.02, "ar": 0.03}
PIECES = {"ja": 22, "zh": 22, "ko": 16}  # most pieces of a caption; 14 in other languages: 60 characters on average

OPERATORS: dict[str, dict[str, Any]] = {
    "alphanumeric_filter": {"min_ratio": 0.25},
    "character_repetition_filter": {"max_ratio": 0.5},
    "word_repetition_filter": {"rep_len": 3, "max_ratio": 0.5},
    "special_characters_filter": {"max_ratio": 0.42},
    "flagged_words_filter": {"lang": "en", "max_ratio": 0.045},
    "text_length_filter": {"min_len": 5, "max_len": 1000},
}


def measure(rows: int) -> dict[str, Any]:
    """Speeds on 300 000 captions; memory of counting over `rows` (0: twenty million)."""
    os.environ |= {"OMP_NUM_THREADS": "1"}  # of the processes that are started from here on
    captions = draw(CAPTIONS)
    figures = {
        "characters": pc.mean(pc.utf8_length(captions)).as_py(),
        "captions_per_s_core": _one_process(captions, identified=True),
        "rules_only_per_s_core": _one_process(captions, identified=False),
    }
    with tempfile.TemporaryDirectory(dir=os.environ.get("PAIRMILL_BENCH_DIR")) as folder:
        theirs = _data_juicer(Path(folder), captions.slice(0, PEER_CAPTIONS))
        figures |= {"data_juicer_captions_per_s": theirs, "rules_only_per_s_two_processes": _two_processes(captions)}
        figures["judge_mib"] = judge_memory(Path(folder), captions)
        figures |= {"counted": rows or ROWS, "count_gib": _count(Path(folder), rows or ROWS)}
    return {"figures": figures, "ratios": {"vs_data_juicer": figures["rules_only_per_s_two_processes"] / theirs}}


def draw(count: int) -> pa.ChunkedArray:
    """`count` captions, the same ones at every call."""
    rng = np.random.default_rng(0)
    pieces = {language: text.split("|") for language, text in WORDS.items()}
    captions = []
    for language in rng.choice([*SHARES], count, p=[*SHARES.values()]).tolist():
        words = pieces[language]
        max_pieces = PIECES.get(language, 14)
        chosen = rng.integers(0, len(words), int(rng.integers(3, max_pieces))).tolist()
        captions.append(("" if language in ("ja", "zh") else " ").join(words[place] for place in chosen))
    return pa.chunked_array([captions])


def judge(captions: pa.ChunkedArray, *, identified: bool) -> int:
    """Applies every rule to every caption, on request repaired, their languages identified; how many captions are kept."""
    kept, rules = 0, configure(stage2.RULES, {})
    for start in range(0, len(captions), ROWS_AT_A_TIME):
        rows = captions.slice(start, ROWS_AT_A_TIME)
        table = stage2.columns_of(rows, repair(rows) if identified else None)
        if identified:
            identify(table["caption"])
        keep, _ = evaluate(table, rules, "")
        kept += pc.sum(keep).as_py() or 0
    return kept


def _one_process(captions: pa.ChunkedArray, *, identified: bool) -> float:
    """Captions/s in a process of one thread, as a worker is."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_one_thread, captions, identified=identified).result()


def _one_thread(captions: pa.ChunkedArray, *, identified: bool) -> float:
    """Runs in the process of the pool: the median over turns, after one that loads everything."""
    pa.set_cpu_count(1)
    copies = [pa.chunked_array([captions.to_pylist()]) for _ in range(1 + TURNS)]  # the rules cache what they know of an array
    _, *seconds = [_timed(lambda copy=copy: judge(copy, identified=identified)) for copy in copies]  # type: ignore[misc]
    return len(captions) / statistics.median(seconds)


def _two_processes(captions: pa.ChunkedArray) -> float:
    """Captions/s of the rules in two processes."""
    half = len(captions) // 2
    parts = [captions.slice(0, half), captions.slice(half)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_rules_only, [part.slice(0, 1000) for part in parts]))  # starts both
        seconds = [_timed(lambda: list(pool.map(_rules_only, parts))) for _ in range(TURNS)]
    return len(captions) / statistics.median(seconds)


def _rules_only(captions: pa.ChunkedArray) -> int:
    """Runs in a process of the pool, on a copy of the captions."""
    pa.set_cpu_count(1)
    return judge(captions, identified=False)


def _data_juicer(folder: Path, captions: pa.ChunkedArray) -> float:
    """Captions/s of the peer's operators."""
    work = folder / "juicer"
    work.mkdir()
    # Its list of flagged words comes from a server of its own; any list costs the same.
    (work / "flagged_words.json").write_text(json.dumps({"en": ["damn", "crap"]}))
    pq.write_table(pa.table({"text": captions}), work / "in.parquet")
    flagged_words = {"flagged_words_filter": OPERATORS["flagged_words_filter"] | {"flagged_words_dir": str(work)}}
    operators = [{name: settings} for name, settings in (OPERATORS | flagged_words).items()]
    return len(captions) / data_juicer.seconds_of(work, operators)


def judge_memory(folder: Path, captions: pa.ChunkedArray) -> float:
    """MiB of a worker that judges the captions."""
    urls = pa.array([f"https://pictures.example/{number}.jpg" for number in range(len(captions))])
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"url": urls, "caption": captions}), folder / "captions.parquet")
    run_alone("ingest_pairs", str(folder / "judged"), str(folder / "captions.parquet"))
    return run_alone("judge_captions", str(folder / "judged"))["peak"]


def _count(folder: Path, rows: int) -> float:
    """GiB of counting the captions of `rows` rows."""
    from pipelines import ingest
    from pipelines.runtime.runner import start_ray

    files = [folder / f"part-{number:05d}.parquet" for number in range(-(-rows // FILE_ROWS))]
    for number, path in enumerate(files):
        generate(path, number * FILE_ROWS, min(rows, (number + 1) * FILE_ROWS))
    start_ray()
    ingest.main(["--root", str(folder / "root"), SOURCE, *map(str, files)])
    import ray

    ray.shutdown()
    return run_alone("count_captions", str(folder / "root"), SOURCE)["peak"] / 1024


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
