"""Captioned pictures → conversations as LLaVA's, in the caption's language: describe it, name it, is this caption right?

A conversation is a list of (question, answer). Which one a sample gets is a function of the random generator passed in.

Where the json member also has the sample's caption in other languages (`also`: [locale, caption] …), most conversations teach
translation: the first answer is given, in a pivot language, and the next ones say the same in other languages, one after the
other. The stage shows another sample's picture with them, so that they are learned as translations and not each picture by heart
in each language. Half of their answers are the noun phrase alone, as a dictionary has it, so that "giraffe" and "A giraffe." are
learned to mean the same. All other conversations describe the picture in a pivot language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from trainer_bridge.data.noun_phrases import noun_phrase

Turn = tuple[str, str]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Conversation:
    """Turns of (question, answer). The answers of the first `given_turns` are context and not learned."""

    turns: list[Turn]
    given_turns: int = 0


# language → (describe, name, is this right?, yes, no)
PHRASES = {
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
DESCRIBE, NAME, VERIFY = range(3)
UNKNOWN = "und"
PIVOTS = ("en", "es", "fr")  # captions in these are given, to be translated
DESCRIBED = PIVOTS[:2]  # and in these pictures are described
TRANSLATED, TARGET_LANGUAGES = 0.75, 4
TRADITIONAL = {"zh_TW", "zh_HK", "zh_MO", "zh_Hant"}


def language_of(locale: str | None) -> str:
    """The language of a locale: pt of pt_BR, zh_Hant of the locales that write traditional Chinese; "und" of None."""
    if not locale:
        return UNKNOWN
    parts = re.split(r"[_@-]", locale)
    return "zh_Hant" if "_".join(parts[:2]) in TRADITIONAL else parts[0]


def question(kind: int, language: str) -> str:
    """The question of a kind (DESCRIBE, NAME, VERIFY) in a language; in English, naming the language, where we have no phrase."""
    if language in PHRASES:
        return PHRASES[language][kind]
    return PHRASES["en"][kind] + (f" Language: {language}." if language != UNKNOWN else "")


def pivot_of(language: str) -> str:
    """The language that a picture is described in before it is described in `language`."""
    return next(other for other in DESCRIBED if other != language)


def draw_conversation(
    caption: str,
    locale: str | None,
    batch_captions: Sequence[str],
    rng: np.random.Generator,
    other_languages: Sequence[tuple[str, str]] = (),
    *,
    translated: float = TRANSLATED,
    target_languages: int = TARGET_LANGUAGES,
) -> Conversation:
    """A question about the picture and its answer, or a translation of its caption.

    batch_captions    captions of other pictures in the same language: wrong ones to ask about
    other_languages   (locale, caption) of the same picture
    translated        share of conversations with other languages that translate
    target_languages  most languages that one translates into
    """
    language = language_of(locale)
    captions: dict[str, list[str]] = {language: [caption]}
    for other, text in other_languages:
        captions.setdefault(language_of(other), []).append(text)
    pivots = [(pivot, captions[pivot]) for pivot in PIVOTS if pivot in captions]
    if len(captions) > 1 and pivots and rng.random() < translated:
        return _translation(captions, *_choice(pivots, rng), target_languages, rng)
    described = [(pivot, texts) for pivot, texts in pivots if pivot in DESCRIBED]
    if language not in DESCRIBED and described:
        pivot, texts = _choice(described, rng)
        return Conversation([_turn(_choice(texts, rng), pivot, (), rng)])
    return Conversation([_turn(caption, locale, batch_captions, rng)])


def _translation(
    captions: Mapping[str, Sequence[str]], pivot: str, pivot_captions: Sequence[str], most: int, rng: np.random.Generator
) -> Conversation:
    """The caption in a pivot language as a given answer, then in at most `most` other languages as answers to learn."""
    languages = [language for language in captions if language != pivot]
    targets = [languages[i] for i in rng.permutation(len(languages))[:most]]
    texts = [(language, _choice(captions[language], rng)) for language in targets]
    turns = [_translated_turn(text, language, rng) for language, text in [(pivot, _choice(pivot_captions, rng)), *texts]]
    return Conversation(turns, given_turns=1)


def _translated_turn(caption: str, language: str, rng: np.random.Generator) -> Turn:
    """The caption as an answer, or half of the time its noun phrase; a caption that is one always answers "what is it?"."""
    short = noun_phrase(caption, language)
    if short is not None and (short == caption or rng.random() < 0.5):
        return question(NAME, language), short
    return question(DESCRIBE, language), caption


def _choice(values: Sequence[Value], rng: np.random.Generator) -> Value:
    return values[int(rng.integers(len(values)))]


def _turn(caption: str, locale: str | None, batch_captions: Sequence[str], rng: np.random.Generator) -> Turn:
    """One question and its answer: six in ten describe, three name, one asks whether a caption is right.

    Without another caption in `batch_captions` the caption in question is always the right one.
    """
    language = language_of(locale)
    draw = rng.random()
    if draw < 0.6:
        return question(DESCRIBE, language), caption
    if draw < 0.9:
        return question(NAME, language), noun_phrase(caption, language) or caption.partition(": ")[0]
    yes, no = PHRASES.get(language, PHRASES["en"])[3:]
    wrong = [other for other in batch_captions if other != caption]
    if wrong and rng.random() < 0.5:
        return question(VERIFY, language).format(_choice(wrong, rng)), no
    return question(VERIFY, language).format(caption), yes
