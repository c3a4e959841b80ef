"""Pictures and their sentences: Tux Paint's stamps and Noto's emoji from Debian packages, or any described folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.compat.errors import RequestError

PACKAGES = ("tuxpaint-stamps-default", "fonts-noto-color-emoji", "unicode-cldr-core")
STAMPS = "usr/share/tuxpaint/stamps"
FONT = "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
ANNOTATIONS = ("usr/share/unicode/cldr/common/annotations", "usr/share/unicode/cldr/common/annotationsDerived")
EMOJI_LOCALES = [
    "en",
    "zh",
    "zh_Hant",
    "yue",
    "de",
    "fr",
    "es",
    "pt",
    "it",
    "nl",
    "pl",
    "ru",
    "uk",
    "cs",
    "sv",
    "da",
    "fi",
    "hu",
    "tr",
    "el",
    "ja",
    "ko",
    "ar",
    "hi",
    "id",
    "vi",
    "th",
    "he",
    "fa",
    "ro",
    "bg",
]
KEYWORDS_FOLLOW = ": "  # between an emoji's name and its keywords
PICTURES = (".png", ".svg", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Picture:
    """A picture with its sentences.

    key        its path on the demo web, without ending
    file       where its pixels come from; for an emoji the font
    text       the emoji itself, else ""
    sentences  (locale, sentence), English first
    """

    key: str
    file: str
    text: str
    sentences: tuple[tuple[str, str], ...]


def debian_packages(cache: Path) -> Path:
    """Fetches and unpacks the packages once, without root; returns the folder they are unpacked in."""
    unpacked = cache / "debian"
    if (unpacked / ".complete").exists():
        return unpacked
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise RequestError("the demo's pictures come from Debian packages, and there is no apt-get here; give --corpus DIR")
    work = cache / f"debian.{os.getpid()}"
    work.mkdir(parents=True, exist_ok=True)
    # Refreshing the package lists needs root on most machines; without it the present lists are used.
    subprocess.run(["apt-get", "-qq", "update"], cwd=work, capture_output=True, timeout=300, check=False)
    for package in PACKAGES:
        download = subprocess.run(
            ["apt-get", "-qq", "download", package], cwd=work, capture_output=True, timeout=900, check=False
        )
        archives = sorted(work.glob(f"{package}_*.deb"))
        if not archives:
            cause = (download.stderr.decode(errors="replace").strip().splitlines() or ["no package came"])[-1]
            raise RequestError(f"apt-get download {package} failed ({cause}); refresh apt's lists, or give --corpus DIR")
        subprocess.run(["dpkg-deb", "-x", str(archives[0]), str(work / "tree")], check=True, timeout=300)
        archives[0].unlink()
    (work / "tree" / ".complete").touch()
    shutil.rmtree(unpacked, ignore_errors=True)
    (work / "tree").rename(unpacked)
    shutil.rmtree(work)
    return unpacked


def debian_pictures(cache: Path) -> list[Picture]:
    """The stamps and the emoji, in a fixed order."""
    tree = debian_packages(cache)
    emoji = load_emoji(tree / FONT, [tree / folder for folder in ANNOTATIONS])
    return [*load_folder(tree / STAMPS, "stamps"), *emoji]


def load_folder(folder: Path, site: str) -> list[Picture]:
    """Every picture with a .txt beside it: a sentence, then optional `locale.utf8=sentence` lines (as in Tux Paint)."""
    return [picture for path in sorted(folder.rglob("*.txt")) if (picture := _described(path, folder, site))]


def _described(path: Path, folder: Path, site: str) -> Picture | None:
    file = next((path.with_suffix(suffix) for suffix in PICTURES if path.with_suffix(suffix).exists()), None)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if file is None or not lines or not lines[0].strip():
        return None
    others = (line.partition(".utf8=") for line in lines[1:] if ".utf8=" in line)
    sentences = [("en", lines[0].strip()), *((locale, text.strip()) for locale, _, text in others if text.strip())]
    key = f"{site}/{path.relative_to(folder).with_suffix('').as_posix()}"
    return Picture(key, str(file), "", tuple(sentences))


def load_emoji(font: Path, folders: list[Path]) -> list[Picture]:
    """The emoji CLDR names in English, each with `name: keyword, keyword` in the chosen locales."""
    names = {locale: dict(_annotations(folders, locale)) for locale in EMOJI_LOCALES}
    # Annotations cover punctuation and currency signs too; those are no colour pictures.
    emoji = [text for text in names["en"] if any(ord(character) >= 0x231A for character in text)]
    return [
        Picture(
            key=f"emoji/{'-'.join(f'{ord(character):x}' for character in text)}",
            file=str(font),
            text=text,
            sentences=tuple((locale, names[locale][text]) for locale in EMOJI_LOCALES if text in names[locale]),
        )
        for text in emoji
    ]


def _annotations(folders: list[Path], locale: str) -> Iterator[tuple[str, str]]:
    names, keywords = dict[str, str](), dict[str, str]()
    for folder in folders:
        path = folder / f"{locale}.xml"
        if path.exists():
            for node in ElementTree.parse(path).iter("annotation"):
                target = names if node.get("type") == "tts" else keywords
                target[node.get("cp", "")] = (node.text or "").strip()
    for text, title in names.items():
        words = [word.strip() for word in keywords.get(text, "").split("|") if word.strip() not in ("", title, "↑↑↑")]
        if title and title != "↑↑↑":
            yield text, f"{title}{KEYWORDS_FOLLOW}{', '.join(words)}" if words else title
