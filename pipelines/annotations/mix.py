"""An instruction mix: which sets it has, from which files, written in which words, and which it leaves out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError

from infra.compat.errors import RequestError
from infra.compat.settings import Section, first_fault, read_toml
from infra.recipes import INSTRUCTIONS

Form = Literal["conversations", "questions", "captions", "phrases", "regions"]


class SetSettings(Section):
    """One set of a mix.

    task      of the paper's table
    form      of its file. conversations: as they are; questions: {image, question, answer | answers}; captions: COCO's JSON, or
              {image, caption | captions}; phrases: {image, width, height, sent, bbox}, of which the box is asked for; regions: of
              these the phrase
    file      within the folder of the data
    made      from what the file is to be made, where it is published in another form
    pictures  folder or tar that its pictures are relative to, within the folder of the data
    prefix    what paths of pictures begin with in the file and is taken off: they were published for another folder
    names     of a picture that questions name by a number, `image_id`: as {}.jpg
    suffix    a line after each question; in front of it stands the question
    repeat    how often it comes in an epoch; below 1 the first share of it
    tiles     most tiles of a picture; 0: the experiment's
    licence   as its publisher says
    where     where it is to be had
    not_verified  of these what was not compared with a public page
    overlaps  evaluation sets whose pictures may be among its own: give their files with --against
    """

    task: Literal["captioning", "vqa", "ocr", "grounding", "grounded captions", "conversation"]
    form: Form
    file: str
    made: str = ""
    pictures: str = ""
    prefix: str = ""
    names: str = Field("", pattern=r"^([^{}]*\{\}[^{}]*)?$")
    suffix: str = ""
    repeat: float = Field(1.0, gt=0)
    tiles: int = Field(0, ge=0)
    licence: str
    where: str
    not_verified: tuple[Literal["file", "licence", "where"], ...] = ()
    overlaps: tuple[str, ...] = ()

    def to_be_had(self) -> str:
        """In one clause: where it is to be had, under which licence, and from what its file is made."""
        told = [f"{self.where}{' (not verified)' * ('where' in self.not_verified)}"]
        told += [f"licence: {self.licence}{' (not verified)' * ('licence' in self.not_verified)}"]
        return "; ".join([*told, f"made from {self.made}"] if self.made else told)


class MixSettings(Section):
    """The sets of a mix by name, how many samples a task has in the paper, and sets that are refused, with the reason."""

    samples: dict[str, int] = Field(default_factory=dict)
    refused: dict[str, str] = Field(default_factory=dict)
    sets: dict[str, SetSettings]


def read_mix(recipe: str) -> MixSettings:
    """The mix in a TOML file, or of `infra/recipes/instructions` by its name; RequestError names the setting that is wrong."""
    own = INSTRUCTIONS / f"{recipe}.toml"
    path = str(own) if own.exists() else recipe
    try:
        mix = MixSettings.model_validate(read_toml(path, "the recipe"))
    except ValidationError as error:
        raise RequestError(f"the recipe {path}: {first_fault(error, MixSettings)}") from None
    if clash := mix.refused.keys() & mix.sets.keys():
        raise RequestError(f"the recipe {path}: {sorted(clash)[0]} is among its sets, and refused: {mix.refused[min(clash)]}")
    return mix
