"""Settings files (TOML) validated by pydantic, with faults told in one line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

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
    """The first fault that validation of a `kind` found: which setting, what is wrong, and the nearest name that exists."""
    first = error.errors()[0]
    *sections, name = map(str, first["loc"])
    where = ".".join([*sections, name])
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg'].lower()}"
    section: Any = kind
    for inner in sections:
        section = section.model_fields[inner].annotation
    return f"{where} is no setting; {nearest(name, section.model_fields)}"
