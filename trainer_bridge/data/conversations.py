"""Captioned pictures → conversations as LLaVA's: describe it, name it, is this it? In the caption's language where we know how
to ask.

A conversation is a list of (question, answer). Which of them a sample gets is a function of the generator it is given. A sample
whose json member has `conversations` (LLaVA's list of {from, value}) keeps its own.

A sample that knows its sentence in other languages (`also`) teaches a model that describes in a pivot language and then says the
same in others: most of its conversations are told the pivot's sentence and learn to say it in some other languages, one after
the other, under the picture of another sample, so that what can be learned there is to translate, and not each picture by heart
in each language. Half of what is said there answers "what is it?" with the name alone, as a dictionary has it, so that "giraffe"
and "A giraffe." are learned to be one thing. The others describe the picture in a pivot language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from trainer_bridge.data.noun_phrases import name_in

Turn = tuple[str, str]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Chat:
    """A conversation about a picture. The answers of the first `told` turns are given, not learned; then any picture will do."""

    turns: list[Turn]
    told: int = 0


# language → (describe, name, is this it?, yes, no)
ASKED = {
    "en": ("Describe the picture in one sentence.", "What is it?", "Is this right: {}", "Yes.", "No."),
    "zh": ("用一句话描述这张图片。", "这是什么？", "这对吗：{}", "对。", "不对。"),
    "zh_Hant": ("用一句話描述這張圖片。", "這是什麼？", "這對嗎：{}", "對。", "不對。"),
    "de": ("Beschreibe das Bild in einem Satz.", "Was ist das?", "Stimmt das: {}", "Ja.", "Nein."),
    "fr": ("Décris l'image en une phrase.", "Qu'est-ce que c'est ?", "Est-ce juste : {}", "Oui.", "Non."),
    "es": ("Describe la imagen en una frase.", "¿Qué es?", "¿Es correcto: {}", "Sí.", "No es correcto."),
    "pt": ("Descreva a imagem numa frase.", "O que é?", "Está certo: {}", "Está.", "Não está."),
    "it": ("Descrivi l'immagine in una frase.", "Che cos'è?", "È giusto: {}", "Esatto.", "Sbagliato."),
    "ru": ("Опиши картинку одним предложением.", "Что это?", "Верно ли: {}", "Да.", "Нет."),
    "ja": ("この絵を一文で説明してください。", "これは何ですか。", "これは正しいですか：{}", "はい。", "いいえ。"),
    "ko": ("그림을 한 문장으로 설명하세요.", "이것은 무엇인가요?", "맞나요: {}", "네.", "아니요."),
}
UNKNOWN = "und"
PIVOTS = ("en", "es", "fr")  # a picture is described in the first two; all three are said in other languages
DESCRIBED = PIVOTS[:2]
TRANSLATED, TRANSLATIONS = 0.75, 4
TRADITIONAL = {"zh_TW", "zh_HK", "zh_MO", "zh_Hant"}


def language_of(locale: str | None) -> str:
    """The language of a locale: pt of pt_BR. Chinese is written in two ways, and zh_Hant is the one of Taiwan and Hong Kong."""
    if not locale:
        return UNKNOWN
    parts = re.split(r"[_@-]", locale)
    return "zh_Hant" if "_".join(parts[:2]) in TRADITIONAL else parts[0]


def question(kind: int, language: str) -> str:
    """The question of a kind (0 describe, 1 name, 2 is it) in a language; in English, naming it, where we know no better."""
    if language in ASKED:
        return ASKED[language][kind]
    return ASKED["en"][kind] + (f" Language: {language}." if language != UNKNOWN else "")


def pivot(language: str) -> str:
    """The language that a picture is described in before it is described in `language`."""
    return next(other for other in DESCRIBED if other != language)


def conversation(
    caption: str,
    locale: str | None,
    others: Sequence[str],
    chance: np.random.Generator,
    also: Sequence[tuple[str, str]] = (),
    *,
    translated: float = TRANSLATED,
    translations: int = TRANSLATIONS,
) -> Chat:
    """A question and its answer; or, in a share `translated` of the conversations whose caption is known in other languages
    (`also`: locale, caption), its translation into so many of them.
    """
    language = language_of(locale)
    known: dict[str, list[str]] = {language: [caption]}
    for other, text in also:
        known.setdefault(language_of(other), []).append(text)
    said = [(spoken, known[spoken]) for spoken in PIVOTS if spoken in known]
    if len(known) > 1 and said and chance.random() < translated:
        return _translations(known, *_any(said, chance), translations, chance)
    first = [(spoken, texts) for spoken, texts in said if spoken in DESCRIBED]
    if language not in DESCRIBED and first:
        spoken, texts = _any(first, chance)
        return Chat([_one(_any(texts, chance), spoken, (), chance)])
    return Chat([_one(caption, locale, others, chance)])


def _translations(
    known: Mapping[str, Sequence[str]], first: str, told: Sequence[str], many: int, chance: np.random.Generator
) -> Chat:
    """The description in a pivot language as given, and what it is in some other languages as what is to be said next."""
    asked = [spoken for spoken in known if spoken != first]
    order = [asked[place] for place in chance.permutation(len(asked))[:many]]
    said = [(spoken, _any(known[spoken], chance)) for spoken in order]
    return Chat([_said(text, spoken, chance) for spoken, text in [(first, _any(told, chance)), *said]], told=1)


def _said(caption: str, language: str, chance: np.random.Generator) -> Turn:
    """The caption as an answer, or half of the time the name in it; a caption that is a name always answers "what is it?"."""
    short = name_in(caption, language)
    if short is not None and (short == caption or chance.random() < 0.5):
        return question(1, language), short
    return question(0, language), caption


def _any(values: Sequence[Value], chance: np.random.Generator) -> Value:
    return values[int(chance.integers(len(values)))]


def _one(caption: str, locale: str | None, others: Sequence[str], chance: np.random.Generator) -> Turn:
    """One question and its answer: six in ten describe, three name, one asks whether a caption is right.

    `others` are captions of other pictures in the same language; without any the caption asked about is always the right one.
    """
    language = language_of(locale)
    draw = chance.random()
    if draw < 0.6:
        return question(0, language), caption
    if draw < 0.9:
        return question(1, language), name_in(caption, language) or caption.partition(": ")[0]
    yes, no = ASKED.get(language, ASKED["en"])[3:]
    wrong = [other for other in others if other != caption]
    if wrong and chance.random() < 0.5:
        return question(2, language).format(wrong[int(chance.integers(len(wrong)))]), no
    return question(2, language).format(caption), yes


def given(about: dict[str, Any]) -> Chat | None:
    """The conversation a sample brings; None when it brings none. ValueError when its turns do not alternate."""
    turns = about.get("conversations")
    if turns is None:
        return None
    said = [str(turn["value"]).replace("<image>", "").strip() for turn in turns]
    if [turn["from"] for turn in turns] != ["human", "gpt"] * (len(turns) // 2):
        raise ValueError("conversations must go human, gpt, human, gpt …")
    return Chat(list(zip(said[::2], said[1::2], strict=True)))
