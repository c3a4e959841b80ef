"""The recipe: the one configuration file (TOML), validated. Every value has a default, so an empty recipe is a recipe.

    [stage1.clip_similarity]
    min = 0.28
    missing = "keep"
    by_source.laion2b-multi.min = 0.26

Rules keep their own thresholds (`filters`); the other sections are the classes below. `--set section.key=value` overrides.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from filters import stage1, stage2
from filters.rules import RuleSetting, configure
from infra.compat.errors import RequestError, nearest


class Section(BaseModel):
    """A section of the recipe: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class IngestSettings(Section):
    """How published metadata become samples."""

    part_rows: int = Field(1_000_000, ge=1, le=10_000_000)
    coyo_similarity: Literal["vitb32", "vitl14"] = "vitb32"
    datacomp_similarity: Literal["b32", "l14"] = "b32"


class FetchSettings(Section):
    """How pictures are asked for and stored. Seconds, bytes and pixels.

    robots            ask each host for robots.txt, and obey it
    honour_opt_out    obey X-Robots-Tag (noai, noimageai, noindex, noimageindex, noml) and tdm-reservation
    blocked_domains   a file of domains never asked, one a line, by path or URI; blocked_urls the same with md5 or sha256 of URLs
    connect_to        a host or domain → the address:port to connect to: an explicit permission, for intranets and tests
    concurrency       URLs at once in a part; per_host of these at one host, per_host_rate a second (0: no limit)
    max_pause         the longest that a host's Retry-After is waited for
    breaker           so many failures in a row, and a host is left alone for a while, then given up
    part_seconds      after this long what a part has not got is out_of_time; --retry goes on
    resize            keep the original bytes; the shorter or longer side at `size`; centre_crop and border give squares
    img2dataset_python  the Python that has img2dataset, for --engine img2dataset; "": this one
    verify_hash       a picture whose bytes are not those its publisher hashed is dropped
    """

    user_agent: str = Field("pairmill/0.1 (+https://pypi.org/project/pairmill; research data preparation)", min_length=1)
    robots: bool = True
    honour_opt_out: bool = True
    blocked_domains: str = ""
    blocked_urls: str = ""
    ports: tuple[int, ...] = (80, 443)
    connect_to: dict[str, str] = {}
    connect_timeout: float = Field(5.0, gt=0)
    first_byte_timeout: float = Field(10.0, gt=0)
    total_timeout: float = Field(30.0, gt=0)
    retries: int = Field(1, ge=0)
    redirects: int = Field(5, ge=0)
    concurrency: int = Field(128, ge=1)
    per_host: int = Field(16, ge=1)
    per_host_rate: float = Field(0.0, ge=0)
    max_pause: float = Field(30.0, ge=0)
    breaker: int = Field(20, ge=1)
    part_seconds: float = Field(24 * 3600.0, gt=0)
    max_bytes: int = Field(32 << 20, ge=1)
    max_pixels: int = Field(100_000_000, ge=1)
    resize: Literal["keep", "shorter_side", "longer_side", "centre_crop", "border"] = "shorter_side"
    size: int = Field(512, ge=1)
    quality: int = Field(92, ge=1, le=100)
    verify_hash: bool = True
    img2dataset_python: str = ""
    chunk: int = Field(10_000, ge=1, le=10_000)

    def output(self) -> dict[str, Any]:
        """The settings that change what a success looks like: to change them is to pay again, so it needs --redo."""
        return self.model_dump(include={"resize", "size", "quality"})


class ScoreSettings(Section):
    """Which models score the pictures. A model not named does not score; checkpoints are safetensors, by path or URI.

    clip_model  an open_clip model, the .json of one, or "onnx": then the checkpoint is a folder of trainer_bridge.export_onnx
    gpus        of a worker; 0 runs on a core
    workers     how many hold the models; 0: as many as the cluster's GPUs (or cores) allow
    """

    clip_model: str = ""
    clip_checkpoint: str = ""
    aesthetic_checkpoint: str = ""
    watermark_model: str = ""
    watermark_checkpoint: str = ""
    watermark_class: int = Field(0, ge=0)
    unsafe: bool = True
    batch: int = Field(64, ge=1)
    chunk: int = Field(10_000, ge=1, le=10_000)
    gpus: float = Field(0.0, ge=0)
    workers: int = Field(0, ge=0)


Question = Annotated[str, Field(min_length=1)]
Questions = Annotated[
    tuple[Question, ...], Field(min_length=1), BeforeValidator(lambda said: (said,) if isinstance(said, str) else said)
]


class CaptionSettings(Section):
    """How an InternVL describes pictures.

    prompt         what it is asked, of every picture: a question, or several asked one after the other, of whose answers the last
                   is the caption; by_source has other words for some sources
    sources        only these; empty: all
    max_tokens     of a caption
    temperature    0 is greedy: the same picture gives the same caption
    gpus           of a worker; 0 runs on a core
    workers        how many hold the model; 0: as many as the cluster's GPUs (or cores) allow
    """

    prompt: Questions = ("Describe the picture in one sentence.",)
    by_source: dict[str, Questions] = {}
    sources: tuple[str, ...] = ()
    max_tokens: int = Field(64, ge=1)
    temperature: float = Field(0.0, ge=0)
    seed: int = 0
    tiles: int = Field(1, ge=1)
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    batch: int = Field(32, ge=1)
    chunk: int = Field(10_000, ge=1, le=10_000)
    gpus: float = Field(1.0, ge=0)
    workers: int = Field(0, ge=0)

    def prompt_for(self, source: str) -> tuple[str, ...]:
        """What the model is asked of a picture of this source."""
        return self.by_source.get(source, self.prompt)

    def asked(self) -> dict[str, Any]:
        """The settings that change a caption: to change them is to pay again, so it needs --redo."""
        return self.model_dump(include={"max_tokens", "temperature", "seed", "tiles", "precision"})


class DedupSettings(Section):
    """What counts as a copy. Distances are Hamming, over 64-bit perceptual hashes."""

    distance: int = Field(8, ge=0, le=16)
    eval_distance: int = Field(12, ge=0, le=16)
    eval_pixel_error: float = Field(0.03, ge=0, le=1)
    buckets: int = Field(16, ge=1)


class ExportSettings(Section):
    """How kept samples become shards. `synthetic_share` of a mixture's captions are synthetic, drawn by sample."""

    samples_per_shard: int = Field(5_000, ge=1)
    holdout: float = Field(0.0, ge=0, lt=1)
    seed: int = 0
    captions: Literal["original", "synthetic", "mixture"] = "original"
    synthetic_share: float = Field(0.5, ge=0, le=1)


class Recipe(Section):
    """All settings of a run."""

    ingest: IngestSettings = IngestSettings()
    fetch: FetchSettings = FetchSettings()
    stage1: dict[str, Any] = {}
    score: ScoreSettings = ScoreSettings()
    dedup: DedupSettings = DedupSettings()
    stage2: dict[str, Any] = {}
    caption: CaptionSettings = CaptionSettings()
    export: ExportSettings = ExportSettings()

    def stage1_rules(self) -> list[RuleSetting]:
        """The first filter's rules as set here."""
        return configure(stage1.RULES, self.stage1)

    def stage2_rules(self) -> list[RuleSetting]:
        """The second filter's rules as set here."""
        return configure(stage2.RULES, self.stage2)


def load_recipe(path: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in the file at `path` with `section.key=value` overrides; RequestError says what is wrong where."""
    document = _read(path) if path else {}
    for override in overrides:
        _merge(document, _override(override))
    where = f"recipe {path}" if path else "--set"
    try:
        recipe = Recipe.model_validate(document)
        recipe.stage1_rules()
        recipe.stage2_rules()
    except ValidationError as error:
        raise RequestError(f"{where}: {_fault(error)}") from None
    except ValueError as error:
        raise RequestError(f"{where}: {error}") from None
    return recipe


def _fault(error: ValidationError) -> str:
    first = error.errors()[0]
    *sections, name = map(str, first["loc"])
    where = ".".join([*sections, name])
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg'].lower()}"
    section: Section = Recipe()
    for inner in sections:
        section = getattr(section, inner)
    return f"{where} is no setting; {nearest(name, type(section).model_fields)}"


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"recipe {path} cannot be read ({error.strerror}); name a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"recipe {path} is not TOML: {error}") from None


def _override(text: str) -> dict[str, Any]:
    """`section.key=value` as a document; the value is TOML, or a string without quotes, as people type it in a shell."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RequestError(f"--set {text!r} has no value; write it as section.key=value")
    for line in (text, f"{key} = {json.dumps(value)}"):
        try:
            return tomllib.loads(line)
        except tomllib.TOMLDecodeError:
            continue
    raise RequestError(f"--set {text!r} is not of the form section.key=value; quote keys that hold dots")


def _merge(into: dict[str, Any], document: Mapping[str, Any]) -> None:
    for key, value in document.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def describe(settings: Sequence[RuleSetting]) -> Mapping[str, Any]:
    """Rule settings as plain JSON values, by rule name."""
    return {setting.rule.name: setting.describe() for setting in settings}
