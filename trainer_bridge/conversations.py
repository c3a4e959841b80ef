"""Captioned pictures → conversations as LLaVA's: describe it, name it, is this it? In the caption's language where we know how
to ask.

A conversation is a list of (question, answer). Which of them a sample gets is a function of the generator it is given. A sample
whose json member has `conversations` (LLaVA's list of {from, value}) keeps its own.

A sample that knows its sentence in other languages (`also`) teaches a model that describes in a pivot language and then says the
same in another: most of its conversations are told the pivot's sentence and learn to say it in their own language, under the
picture of another sample, so that what can be learned there is to translate, and not each picture by heart in each language.
The others describe the picture in a pivot language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Turn = tuple[str, str]


@dataclass(frozen=True)
class Chat:
    """A conversation about a picture. The answers of the first `told` turns are given, not learned; then any picture will do."""

    turns: list[Turn]
    told: int = 0


# language → (describe, name, is this it?, yes, no)
ASKED = {
    "en": ("Describe the picture in one sentence.", "What is it?", "Is this right: {}", "Yes.", "No."),
    "zh": ("用一句话描述这张图片。", "这是什么？", "这对吗：{}", "对。", "不对。"),
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
PIVOTS = ("en", "es")
TRANSLATED = 0.75


def language_of(locale: str | None) -> str:
    """The language of a locale: zh of zh_TW."""
    return re.split(r"[_@-]", locale)[0] if locale else UNKNOWN


def question(kind: int, language: str) -> str:
    """The question of a kind (0 describe, 1 name, 2 is it) in a language; in English, naming it, where we know no better."""
    if language in ASKED:
        return ASKED[language][kind]
    return ASKED["en"][kind] + (f" Language: {language}." if language != UNKNOWN else "")


def pivot(language: str) -> str:
    """The language that a description in `language` is translated from."""
    return PIVOTS[1] if language == PIVOTS[0] else PIVOTS[0]


def conversation(
    caption: str,
    locale: str | None,
    others: Sequence[str],
    chance: np.random.Generator,
    also: Sequence[tuple[str, str]] = (),
) -> Chat:
    """A question and its answer; where `also` (locale, caption) knows the caption in other languages, mostly a translation."""
    language = language_of(locale)
    known = {other: [text for locale, text in also if language_of(locale) == other] for other in PIVOTS}
    if known[pivot(language)] and chance.random() < TRANSLATED:
        return translation(caption, language, _any(known[pivot(language)], chance))
    pivots = [other for other in PIVOTS if known[other]]
    if language not in PIVOTS and pivots:
        other = _any(pivots, chance)
        return Chat([_one(_any(known[other], chance), other, (), chance)])
    return Chat([_one(caption, locale, others, chance)])


def translation(caption: str, language: str, told: str) -> Chat:
    """The description in the pivot language as given, and the caption as what is to be said next."""
    return Chat([(question(0, pivot(language)), told), (question(0, language), caption)], told=1)


def _any(values: list[str], chance: np.random.Generator) -> str:
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
        return question(1, language), caption.partition(": ")[0]
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
