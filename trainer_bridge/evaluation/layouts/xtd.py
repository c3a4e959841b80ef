"""XTD: test_image_names.txt, and line by line their captions in test_1kcaptions_<language>.txt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from infra.compat.errors import RequestError
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.layouts.layout import Layout, Place, captioned

NAMES, CAPTIONS = "test_image_names.txt", "test_1kcaptions_"


def _read(place: Place) -> EvaluationSet:
    """All languages; the split names one of them."""
    if not (place.folder / NAMES).exists():
        raise RequestError(f"{place.folder} has no {NAMES}; name XTD's folder")
    names = _lines(place.folder / NAMES)
    files = sorted(place.folder.rglob(f"{CAPTIONS}*.txt"))
    languages = {path.stem.removeprefix(CAPTIONS): path for path in files}
    if place.split:
        if place.split not in languages:
            raise RequestError(f"{place.folder} has no language {place.split!r}; name one of {', '.join(languages)} with --split")
        languages = {place.split: languages[place.split]}
    rows = []
    for language, path in languages.items():
        captions = _lines(path)
        if len(captions) != len(names):
            raise RequestError(f"{path} has {len(captions)} lines for the {len(names)} pictures of {NAMES}; fetch it again")
        rows += [(name, caption, language) for name, caption in zip(names, captions, strict=True)]
    return replace(captioned(place, rows, place.folder / NAMES), by_language=True)


def _lines(path: Path) -> list[str]:
    """The lines of a text file; RequestError when it cannot be read."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read ({error}); fetch it again") from None


LAYOUT = Layout(lambda folder: (folder / NAMES).exists(), _read)
