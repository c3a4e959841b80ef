"""Captions become true conversations in their language, and translations where several are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_bridge.data.conversations import (
    PHRASES,
    Conversation,
    draw_conversation,
    language_of,
    pivot_of,
    question,
)
from trainer_bridge.data.noun_phrases import noun_phrase

LOCALES = st.sampled_from([*PHRASES, "zh_TW", "sr@latin", "sv", None])


@given(st.text(min_size=1, max_size=40), LOCALES, st.lists(st.text(max_size=20), max_size=4), st.integers(0, 1000))
def test_answers_are_true(caption: str, locale: str | None, others: list[str], seed: int) -> None:
    ((prompt, answer),) = draw_conversation(caption, locale, others, np.random.default_rng(seed)).turns
    language = language_of(locale)
    describe, naming, _, yes, no = PHRASES.get(language, PHRASES["en"])
    if prompt.startswith(describe):
        assert answer == caption
    elif prompt.startswith(naming):
        assert answer == (noun_phrase(caption, language) or caption.partition(": ")[0])
    else:
        assert (answer == yes) == (prompt == question(2, language).format(caption)) and answer in (yes, no)


ALSO = [("en", "A fox."), ("en_GB", "A fox!"), ("fr", "Un renard.")]


def conversations(
    caption: str, locale: str, also: list[tuple[str, str]], count: int = 300
) -> tuple[list[Conversation], list[Conversation]]:
    """Conversations that translate, and the others."""
    chats = [draw_conversation(caption, locale, (), np.random.default_rng(i), also) for i in range(count)]
    return [chat for chat in chats if chat.given_turns], [chat for chat in chats if not chat.given_turns]


def test_captions_known_in_a_pivot_language_are_mostly_translated() -> None:
    translations, others = conversations("Ein Fuchs.", "de", ALSO)
    assert 190 < len(translations) < 260
    sentences = {"en": {"A fox.", "A fox!"}, "de": {"Ein Fuchs."}, "fr": {"Un renard."}}
    names = {"en": {"fox"}, "de": {"Fuchs"}, "fr": {"renard"}}
    answers = {question(kind, language): texts[language] for kind, texts in enumerate((sentences, names)) for language in texts}
    languages = {question(kind, language): language for kind in (0, 1) for language in sentences}
    for chat in translations:
        assert chat.given_turns == 1 and sorted(languages[prompt] for prompt, _ in chat.turns) == ["de", "en", "fr"]
        assert all(answer in answers[prompt] for prompt, answer in chat.turns)
    first, then = ({languages[chat.turns[position][0]] for chat in translations} for position in (0, 1))
    assert first == {"en", "fr"} and then == {"de", "en", "fr"}  # German is no pivot
    assert {answer for chat in translations for _, answer in chat.turns} == set().union(*answers.values())
    # The others describe the picture in the first pivot languages, so that no picture is learned by heart in each language.
    assert {prompt for chat in others for prompt, _ in chat.turns} <= {
        *(question(kind, "en") for kind in (0, 1)),
        *(question(2, "en").format(text) for text in ("A fox.", "A fox!")),
    }


def test_the_share_and_number_of_translations_can_be_set() -> None:
    chats = [
        draw_conversation("Ein Fuchs.", "de", (), np.random.default_rng(i), ALSO, translated=0.2, target_languages=1)
        for i in range(300)
    ]
    translations = [chat for chat in chats if chat.given_turns]
    assert 30 < len(translations) < 90 and all(len(chat.turns) == 2 for chat in translations)


def test_a_translation_has_a_few_languages_once_each() -> None:
    translations, _ = conversations(
        "A fox.", "en", [(language, "?") for language in ("de", "fr", "it", "pt", "ru", "zh", "zh_TW")]
    )
    assert all(len({prompt for prompt, _ in chat.turns}) == len(chat.turns) == 5 for chat in translations)
    assert conversations("Лиса.", "ru", [("de", "Ein Fuchs.")])[0] == []  # neither is a pivot


def test_the_pivot_is_another_language() -> None:
    assert [pivot_of(language) for language in ("de", "en", "es", "fr")] == ["en", "es", "en", "en"]


@pytest.mark.parametrize(
    "language, caption, expected",
    [
        ("en", "A giraffe.", "giraffe"),
        ("en", "An open padlock.", "open padlock"),
        ("en", "giraffe", "giraffe"),
        ("en", "Hibiscus", "Hibiscus"),
        ("en", "Anteater.", "anteater"),  # no article
        ("en", "Eat your broccoli!", None),
        ("en", "A hoverfly resembles a honeybee drone.", None),
        ("en", "fox: animal, face", "fox"),
        ("de", "Eine Erdbeere.", "Erdbeere"),
        ("de", "Bunte Zuckerstangen.", "Bunte Zuckerstangen"),
        ("fr", "L'oeil.", "oeil"),
        ("it", "Un'anatra.", "anatra"),
        ("pt", "Uma maçã.", "maçã"),
        ("ru", "Свинья.", "свинья"),
        ("zh", "一只粉红色的火烈鸟。", "粉红色的火烈鸟"),
        ("zh", "在美国糖果手杖是圣诞的一种传统款待。", None),
        ("zh_Hant", "企鵝。", "企鵝"),
        ("ko", "여우.", "여우"),
    ],
)
def test_a_noun_phrase_has_no_article_and_no_full_stop(language: str, caption: str, expected: str | None) -> None:
    assert noun_phrase(caption, language) == expected


@pytest.mark.parametrize(
    "locale, language",
    [("pt_BR", "pt"), ("zh_CN", "zh"), ("zh_TW", "zh_Hant"), ("zh_Hant_HK", "zh_Hant"), ("zh-HK", "zh_Hant"), (None, "und")],
)
def test_chinese_is_written_in_two_ways(locale: str | None, language: str) -> None:
    assert language_of(locale) == language


def test_every_kind_of_question_is_drawn() -> None:
    seen = {draw_conversation("A fox.", "en", ["A cat."], np.random.default_rng(i)).turns[0] for i in range(60)}
    assert len(seen) == 4
