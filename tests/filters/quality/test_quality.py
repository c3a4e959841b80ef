"""The quality of a caption: descriptions above names, titles and products in many languages; a matter of the caption alone."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from filters.quality import network
from filters.quality.features import PARTS, features_of
from filters.quality.score import PARTS_TYPE, WEAK_WEIGHT, quality, score_of
from filters.stage2 import QUALITY, QUALITY_PARTS, columns_of, final_quality
from filters.text import vocabulary
from filters.text.characters import codes_of
from filters.text.tokens import keys_of, tokens_of
from infra.train_models.quality import probabilities, train, trained_on, weights_of
from infra.train_models.quality_card import area_under_curve, rank_correlation
from pipelines.manifest.tables import FAMILIES
from tests.support.captions import Labelled, labelled_captions

SCENES = {
    "en": "A woman in a red dress walks along the beach at sunset",
    "de": "Eine Frau in einem roten Kleid geht bei Sonnenuntergang am Strand",
    "fr": "Une femme en robe rouge marche sur la plage au coucher du soleil",
    "es": "Una mujer con un vestido rojo camina por la playa al atardecer",
    "pt": "Uma mulher com um vestido vermelho caminha pela praia ao pôr do sol",
    "it": "Una donna con un vestito rosso cammina sulla spiaggia al tramonto",
    "ru": "Женщина в красном платье идёт по пляжу на закате",
    "zh": "日落时分，一位身穿红裙的女士走在海滩上",
    "ja": "夕暮れの浜辺を歩く赤いドレスの女性",
}
TITLES = {
    "en": ["Annual Report 2014", "Nordvik 200 Trail Shoe", "Maria Gruber", "Why You Should Never Skip Breakfast"],
    "de": ["Jahresbericht 2014", "Nordvik 200 Laufschuh", "Maria Gruber", "Warum Sie nie auf das Frühstück verzichten sollten"],
    "fr": ["Rapport annuel 2014", "Chaussure Nordvik 200", "Maria Gruber", "Pourquoi il faut prendre un petit-déjeuner"],
    "es": ["Informe anual 2014", "Zapatilla Nordvik 200", "Maria Gruber", "Por qué nunca debes saltarte el desayuno"],
    "pt": ["Relatório anual 2014", "Tênis Nordvik 200", "Maria Gruber", "Por que você nunca deve pular o café da manhã"],
    "it": ["Rapporto annuale 2014", "Scarpa Nordvik 200", "Maria Gruber", "Perché non saltare mai la colazione"],
    "ru": ["Годовой отчёт 2014", "Кроссовки Nordvik 200", "Мария Грубер", "Почему нельзя пропускать завтрак"],
    "zh": ["2014年年度报告", "Nordvik 200 跑鞋 新款", "王丽华", "为什么早餐不能不吃？"],
    "ja": ["2014年年次報告書", "Nordvik 200 ランニングシューズ", "田中花子", "朝食を抜いてはいけない理由"],
}


def scores(captions: list[str]) -> list[float]:
    return quality(pa.chunked_array([captions], pa.string()))[0].to_pylist()


@pytest.mark.parametrize("language", SCENES)
def test_a_described_scene_is_above_titles_names_and_headlines(language: str) -> None:
    scene, *titles = scores([SCENES[language], *TITLES[language]])
    assert scene > 0.5 and scene > 2 * max(titles)


def test_a_product_is_above_a_headline_and_below_what_may_be_good() -> None:
    chances = np.array([[1, 0, 0, 0], [1, 0.5, 0, 0], [1, 1, 0, 0], [1, 1, 0.2, 0], [1, 1, 1, 1], [0, 0, 0, 0]], np.float32)
    headline, either, product, doubtful, scene, junk = score_of(chances).tolist()
    assert junk == headline == 0 < either < product < doubtful < scene == 1
    assert product == pytest.approx(WEAK_WEIGHT) and doubtful == pytest.approx(0.08)


def test_good_captions_are_above_weak_ones_that_were_written_to_mislead_rules() -> None:
    rows = [row for row in labelled_captions() if row.concern in ("good", "weak")]
    values, is_good = np.array(scores([row.caption for row in rows])), np.array([row.concern == "good" for row in rows])
    assert area_under_curve(values, is_good) > 0.75


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=40) | st.sampled_from([*SCENES.values(), *TITLES["en"], "a " * 90]), max_size=20))
def test_quality_is_a_matter_of_the_caption_alone(captions: list[str]) -> None:
    column = pa.chunked_array([captions[:5], captions[5:]], pa.string())
    values, parts = quality(column)
    assert len(values) == len(parts) == len(captions) and [field.name for field in parts.type] == [*PARTS]
    numbers = np.array([[value, *part.values()] for value, part in zip(values.to_pylist(), parts.to_pylist(), strict=True)])
    assert not len(numbers) or (numbers.min() >= 0 and numbers.max() <= 1)
    for caption, value in zip(captions, values.to_pylist(), strict=True):
        assert abs(scores([caption])[0] - value) <= 0.002  # sums of floats depend on the batch in their last digits
        assert caption.strip() or value == 0


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text(max_size=20) | st.sampled_from(["it's l’été", "Straße 12a", "猫が窓辺で", "a--b", "１２ ab"]), max_size=8)
)
def test_tokens_are_those_of_each_caption_in_order(captions: list[str]) -> None:
    tokens = tokens_of(*codes_of(pa.array(captions, pa.string())))
    text = "".join(captions)
    assert tokens.first[-1] == len(tokens.start) and (np.diff(tokens.first) >= 0).all()
    spelled = [text[start : start + length] for start, length in zip(tokens.start.tolist(), tokens.length.tolist(), strict=True)]
    for row, caption in enumerate(captions):
        own = spelled[tokens.first[row] : tokens.first[row + 1]]
        assert "".join(own) == "".join(letter for letter in caption if _is_read(letter))
    assert np.array_equal(tokens.keys, keys_of([word.lower() if len(word.lower()) == len(word) else word for word in spelled]))


def _is_read(letter: str) -> bool:
    """Whether a character is part of any token, as a caption of its own."""
    return len(tokens_of(*codes_of(pa.array([letter], pa.string()))).start) == 1


def test_the_manifest_has_a_column_for_each_part() -> None:
    assert FAMILIES["stage2"].field(QUALITY_PARTS).type == PARTS_TYPE and FAMILIES["stage2"].field(QUALITY).type == pa.float32()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from(labelled_captions()), min_size=1, max_size=200), st.integers(1, 40))
def test_parts_are_the_same_to_the_last_bit_whichever_captions_stand_beside(rows: list[Labelled], size: int) -> None:
    captions = pa.array([row.caption for row in rows], pa.string())
    pieces = [network.logits(features_of(captions.slice(start, size))) for start in range(0, len(captions), size)]
    assert np.array_equal(network.logits(features_of(captions)), np.concatenate(pieces))


def test_a_caption_that_another_rule_drops_has_quality_0() -> None:
    table = columns_of(pa.chunked_array([[SCENES["en"]] * 3]))
    reasons = pa.array([[], ["quality.low"], ["quality.low", "boilerplate.menu"]], pa.list_(pa.string()))
    kept, low, dropped = final_quality(table, reasons).to_pylist()
    assert kept == low > 0.5 and dropped == 0


def test_the_network_in_numpy_is_the_one_that_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    captions = pa.array([*SCENES.values(), *(title for titles in TITLES.values() for title in titles)] * 4, pa.string())
    features = features_of(captions)
    trained = train(features, np.tile(np.linspace(0, 1, 4, dtype=np.float32), (len(captions), 1)), seed=3, epochs=2)
    words = np.unique(features.words)
    trained.moved.weight.data[words] = 0.3 * torch.randn(len(words), trained.moved.embedding_dim)  # further than two epochs do
    weights = weights_of(trained, np.zeros(4, np.float32))
    assert weights["moved.rows"].tolist() == words.tolist()
    monkeypatch.setattr(network, "_weights", lambda: weights)
    tables = network._tables, network._words
    try:
        for of_weights in tables:
            of_weights.cache_clear()
        odds = network.logits(features).sum(axis=1)
    finally:
        for of_weights in tables:
            of_weights.cache_clear()
    assert np.allclose(1 / (1 + np.exp(-odds)), probabilities(trained, features), atol=2e-3)


def test_training_again_gives_the_same_bytes() -> None:
    features = features_of(pa.array([*SCENES.values()] * 20, pa.string()))
    targets = np.ones((180, 4), np.float32)
    first, second = (weights_of(train(features, targets, seed=1, epochs=1), targets[0]) for _ in range(2))
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_the_weights_are_of_the_captions_and_words_in_the_repository() -> None:
    with safe_open(network.PATH, "numpy") as stored:
        assert stored.metadata() == {"trained_on": trained_on()}
    assert network.PATH.stat().st_size + vocabulary.PATH.stat().st_size < 4e6


def test_areas_and_correlations_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(0)
    values, grades = rng.integers(0, 9, 50), rng.integers(0, 5, 50)
    pairs = [(a > b) + (a == b) / 2 for a in values[grades > 2] for b in values[grades <= 2]]
    assert area_under_curve(values, grades > 2) == pytest.approx(np.mean(pairs))
    assert rank_correlation(grades, grades * 3) == pytest.approx(1) and rank_correlation(grades, -grades) == pytest.approx(-1)
    assert json.dumps(area_under_curve(values, grades > 9)) == "NaN"


@pytest.mark.skipif(network.compiled is None, reason="installed without a C compiler")
@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=8), st.sampled_from([2, 16, 64]), st.booleans(), st.integers(0, 2**32 - 1))
def test_compiled_and_numpy_pool_the_same(counts: list[int], filters: int, two: bool, seed: int) -> None:
    rng, first = np.random.default_rng(seed), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    own, more = (rng.integers(-9999, 9999, (rows, 3 * filters + filters // 2), np.int16) for rows in (7, 5 if two else 0))
    table = network.Table(own, more, 0.01)
    rows, buckets = (rng.integers(0, most, first[-1]) for most in (7, 5))
    arguments = (first, rows, table, buckets)
    np.testing.assert_allclose(network.pool(*arguments), network.pool_by_numpy(*arguments), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(network.compiled is None, reason="installed without a C compiler")
def test_rows_that_no_table_has_are_refused() -> None:
    table = network.Table(np.zeros((3, 7), np.int16), np.zeros((0, 7), np.int16), 1.0)
    for first, rows in (([0, 1], [3]), ([0, 1], [-1]), ([0, 2], [0]), ([1, 0], []), ([-1, 0], [])):
        with pytest.raises(ValueError, match="other shapes"):
            network.pool(np.array(first, np.int64), np.array(rows, np.int32), table, np.zeros(len(rows), np.int32))
