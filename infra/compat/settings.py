"""Settings files (TOML) validated by pydantic, with faults told in one line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from infra.compat.errors import RequestError, nearest


class Section(BaseModel):
    """A section of a settings file: unknown keys are refused, values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_toml(path: str, what: str) -> dict[str, Any]:
    """The document in a TOML file; RequestError, beginning with `what` and the path, when it cannot be read."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{what} {path} cannot be read ({error.strerror}); name a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{what} {path} is not TOML: {error}") from None


def first_fault(error: ValidationError, kind: type[BaseModel]) -> str:
    """The first fault that validation of a `kind` met, unknown settings first: where, what is wrong, and the nearest name."""
    # A misspelt setting may be missing under its right name too; the misspelling is what to mend.
    first = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    *sections, name = map(str, first["loc"])
    where = ".".join([*sections, name])
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg'].lower()}"
    section = kind
    for inner in sections:
        section = _section_type(section.model_fields[inner].annotation)
    return f"{where} is no setting; {nearest(name, section.model_fields)}"


def _section_type(annotation: Any) -> type[BaseModel]:
    """The section in an annotation, which may be optional: `Model` and `Model | None` give Model."""
    kinds = get_args(annotation) or (annotation,)
    return next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
