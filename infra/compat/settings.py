"""Settings files (TOML) validated by pydantic, with faults told in one line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo

from infra.compat.errors import RequestError, nearest
from infra.compat.paths import absolute


class Section(BaseModel):
    """A section of a settings file: unknown keys are refused, values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def located(value: str, info: ValidationInfo) -> str:
    """An absolute path, or URI; a relative path is relative to the `folder` of the validation context, where that has one."""
    folder = (info.context or {}).get("folder")
    if folder is None or not value or "://" in value or value.startswith(("/", "~")):
        return absolute(value)
    return absolute(str(folder / value))


# A path or URI: in a settings file, relative to the file's folder.
Location = Annotated[str, AfterValidator(located)]


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
    # A misspelt setting may be missing under its right name too; the misspelling is what to fix.
    first = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    if not first["loc"]:  # of several sections together
        return first["msg"].removeprefix("Value error, ")
    *sections, name = first["loc"]
    where = ".".join(map(str, first["loc"]))
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg'].lower()}".replace("valid tuple", "list")
    section = kind
    for inner in sections:
        if isinstance(inner, str):  # a number is a place in a tuple of sections
            section = _section_type(section.model_fields[inner].annotation)
    return f"{where} is no setting; {nearest(str(name), section.model_fields)}"


def _section_type(annotation: Any) -> type[BaseModel]:
    """The section in an annotation: `Model`, `Model | None` and `tuple[Model, ...]` give Model."""
    kinds = get_args(annotation) or (annotation,)
    return next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
