"""Random texts that are no captions: boilerplate, placeholders, code, gibberish, and weak ones, which say nothing of a picture.

Each is a function of a random generator.
"""

from __future__ import annotations

import random
import string

MENU = ["Home", "Shop", "Products", "Services", "Gallery", "News", "Blog", "FAQ", "Login", "Register", "Contact"]
WORDS = [
    "image",
    "product",
    "item",
    "title",
    "banner",
    "hero",
    "card",
    "name",
    "price",
    "gallery",
    "slide",
    "thumb",
    "user",
    "avatar",
    "post",
]

FIRST_NAMES = ["Karen", "Thomas", "Elena", "Luca", "Ingrid", "Samuel", "Priya", "Olga", "Mateo", "Yuki", "Hannah", "Pierre"]
LAST_NAMES = ["Whitfield", "Berger", "Rossi", "Lindqvist", "Okafor", "Novak", "Tanaka", "Moreau", "Castillo", "Brandt"]
TITLES = ["CEO", "PhD", "MD", "Attorney at Law", "Senior Analyst", "Director of Sales"]
SUBJECTS = ["interest rates", "mortgages", "retirement", "parenting", "cloud security", "tax reform", "insomnia", "leadership"]
MAKERS = ["Norvell", "Altima", "Hartwell", "Lumenta", "Brixton", "Keyora"]
THINGS = ["drill", "router", "toner", "charger", "mixer", "sensor"]


def boilerplate(chance: random.Random) -> str:
    """Menus, error pages, notices, shop furniture."""
    menu = f" {chance.choice('|»>/')} ".join(["Home", *chance.sample(MENU[1:], chance.randint(2, 4))])
    code, phrase = chance.choice(
        ((404, "Not Found"), (403, "Forbidden"), (500, "Internal Server Error"), (503, "Service Unavailable"))
    )
    return chance.choice(
        (
            menu,
            f"{code} {phrase}",
            f"Error {code}: {phrase} - nginx/1.{chance.randint(10, 25)}",
            f"This website uses cookies {chance.choice(('to improve your experience', 'for statistics', '- learn more'))}",
            f"© {chance.randint(2001, 2021)} {chance.choice(('Acme Ltd', 'Example Media', 'Foto Huber'))}. All rights reserved.",
            f"Click to enlarge {chance.choice(WORDS)} {chance.randint(1, 99)}",
            f"Image may contain: {chance.choice(('1 person', 'outdoor', 'text', 'food', '2 people, people smiling'))}",
            f"Add to cart - {chance.choice(WORDS)} {chance.randint(100, 999)}",
            "首页 | 关于我们 | 产品 | 联系我们",
            f"点击查看大图 {chance.randint(1, 99)}",
        )
    )


def placeholder(chance: random.Random) -> str:
    """Camera names, stock words, lorem ipsum, unfilled templates."""
    number = chance.randint(1, 9999)
    return chance.choice(
        (
            f"IMG_{number:04d}",
            f"DSC{number:05d}",
            f"image {number}",
            f"Untitled-{number}",
            "alt text here",
            "No image available",
            "Placeholder image",
            "Enter your caption here",
            "Lorem ipsum dolor sit amet, consectetur adipiscing elit"[: chance.randint(26, 55)],
            f"{{{{ {chance.choice(WORDS)}.{chance.choice(WORDS)} }}}}",
            f"${{{chance.choice(WORDS)}}}",
            "图片描述",
            "暂无图片",
        )
    )


def code(chance: random.Random) -> str:
    """Markup, scripts, data, queries, traces."""
    one, two, number = chance.choice(WORDS), chance.choice(WORDS), chance.randint(1, 999)
    return chance.choice(
        (
            f'<img src="/{one}/{number}.jpg" alt="{two}">',
            f'<div class="{one}-{two}">{number}</div>',
            f"function {one}() {{ return {two}[{number}]; }}",
            f"var {one} = document.getElementById('{two}');",
            f"SELECT {one} FROM {two} WHERE id = {number}",
            f".{one} {{ width: {number}px; color: #fff; }}",
            f'{{"{one}": {number}, "{two}": null}}',
            f"def {one}(self): return self.{two}",
            f"from {one} import {two}",
            f"{one.title()}Error: {two} is undefined at line {number}",
            f"Warning: Undefined variable ${one} in /var/www/{two}.php on line {number}",
        )
    )


def gibberish(chance: random.Random) -> str:
    """Keyboard noise, consonant piles, hashes, identifiers."""
    consonants = "bcdfghjkmnpqstvwxz"
    return chance.choice(
        (
            " ".join("".join(chance.choices(consonants, k=chance.randint(5, 9))) for _ in range(chance.randint(2, 4))),
            "".join(chance.choices(consonants, k=chance.randint(8, 14))),
            "asdf" * chance.randint(2, 4),
            chance.choice(string.ascii_lowercase) * chance.randint(8, 20),
            f"{chance.getrandbits(128):032x}",
            f"{chance.getrandbits(32):08x}-{chance.getrandbits(16):04x}-4{chance.getrandbits(12):03x}-a{chance.getrandbits(12):03x}-{chance.getrandbits(48):012x}",
            "qwertyuiop " + "".join(chance.choices(consonants, k=6)),
        )
    )


def weak(chance: random.Random) -> str:
    """Names, headlines, companies, products, titles of works and courses, slogans, as alt texts have them."""
    name = f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}"
    subject, maker, number = chance.choice(SUBJECTS), chance.choice(MAKERS), chance.randint(2, 99)
    return chance.choice(
        (
            name,
            f"{name}, {chance.choice(TITLES)}",
            f"Dr. {name}",
            f"Why {subject.title()} Will Matter More in {2010 + number % 12}",
            f"{number} Things You Should Know About {subject.title()}",
            f"How to talk about {subject}",
            f"What experts say about {subject}",
            f"{chance.choice(LAST_NAMES)} & {chance.choice(LAST_NAMES)} LLP",
            f"{maker} {chance.choice('XGTR')}{number}0 {chance.choice(THINGS)}",
            f"{maker} Software {number % 9 + 1}.0",
            f"Introduction to {subject.title()} (Second Edition)",
            f"The {chance.choice(LAST_NAMES)} Affair: A Novel",
            f"Warum {chance.choice(('die Zinsen', 'die Mieten', 'die Preise'))} wieder steigen",
            f"Pourquoi {chance.choice(('les loyers', 'les impôts', 'les prix'))} augmentent",
            f"{chance.choice(('Trust', 'Quality', 'Service', 'Innovation'))} since {1900 + number}",
        )
    )


KINDS = {"boilerplate": boilerplate, "placeholder": placeholder, "code": code, "gibberish": gibberish, "weak": weak}
