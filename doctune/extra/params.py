"""The knobs of extra data: which sources are mixed into training, how much each weighs, and how much they may be in all.

extra:
  folder: extra                       # everything below lies in it, so that DVC sees when it changes
  max_share: 0.5                      # extra rows among all training rows
  max_synthetic_share: 0.25           # back-translated rows among all training rows
  glossary: ["reference/glossary/*"]  # globs of the site's pages whose titles are terms
  glossary_weight: 2.0
  sources:
  - {name: wmt, format: tsv, path: wmt.tsv.gz, licence: CC-BY-4.0, weight: 0.5, max_rows: 20000}
  - {name: news, format: hub, hub_id: someone/news, revision: 3f2a..., split: train, licence: CC0-1.0}
  - {name: words, format: tsv, path: terms.tsv, task: term, licence: ours, weight: 2.0}
  - {name: blog, format: backtranslation, path: blog.txt, model: zh-en, licence: ours, max_rows: 2000}
"""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from doctune.section import COMMIT, Section, Slug

Direction = Literal["en-zh", "zh-en"]
Task = Literal["translate", "term"]  # what a row asks of the model: a text's translation, or a term's rendering
TERM_CHARS = 80  # a longer text is no term

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def _inside(path: str) -> str:
    parts = path.split("/")
    if not path.isprintable() or "\\" in path or PurePosixPath(path).is_absolute() or {"", ".", ".."} & set(parts):
        raise ValueError("wanted a plain path below extra.folder with forward slashes, such as wmt/train.tsv")
    return path


def _commit(revision: str) -> str:
    if not COMMIT.fullmatch(revision):
        raise ValueError("wanted a commit of 40 hex digits (a moving branch cannot be reproduced)")
    return revision


def _hub_id(name: str) -> str:
    if not _HUB_ID.fullmatch(name) or ".." in name:
        raise ValueError("wanted the id of a dataset on the hub, such as owner/name")
    return name


Inside = Annotated[str, AfterValidator(_inside)]
Licence = Annotated[str, Field(min_length=1, description="goes to the report; nobody mixes in what may not be used")]
Weight = Annotated[
    float, Field(gt=0, le=100, description="times a row is seen in an epoch: 2.0 twice, 0.5 every other")
]
Most = Annotated[int, Field(gt=0, description="most rows, those whose content hashes lowest")]
Column = Annotated[int, Field(ge=1)] | Annotated[str, Field(min_length=1)]


class Columns(Section):
    """Where the texts are: names (a dot steps into an object), or numbers from 1 in a TSV without header."""

    en: Column
    zh: Column


class FileSource(Section):
    """JSON Lines, a JSON array, or TSV; plain or gzip. `direction` says which language an unnamed `input` is in."""

    name: Slug
    format: Literal["jsonl", "tsv"]
    path: Inside
    licence: Licence
    columns: Columns | None = None
    direction: Direction = "en-zh"
    task: Task = "translate"
    weight: Weight = 1.0
    max_rows: Most | None = None

    @model_validator(mode="after")
    def _numbers_in_tables_only(self) -> "FileSource":
        _names_only(self.columns if self.format == "jsonl" else None)
        if self.columns and type(self.columns.en) is not type(self.columns.zh):
            raise ValueError("columns: wanted two names or two numbers, not one of each")
        return self


class HubSource(Section):
    """A dataset of the Hugging Face hub at one commit; data files only, a dataset's own code is never run."""

    name: Slug
    format: Literal["hub"]
    hub_id: Annotated[str, AfterValidator(_hub_id)]
    revision: Annotated[str, AfterValidator(_commit)]
    config: str = ""
    split: str = Field(default="train", min_length=1)
    licence: Licence
    columns: Columns | None = None
    direction: Direction = "en-zh"
    task: Task = "translate"
    weight: Weight = 1.0
    max_rows: Most | None = None

    @model_validator(mode="after")
    def _named_columns(self) -> "HubSource":
        _names_only(self.columns)
        return self


class BackTranslation(Section):
    """Chinese alone (a text a line, or JSON with `column`), its English made by the Chinese-to-English `model`.

    `model` is a folder as the stage `base` writes one, `base` its base where it is an adapter; both lie below
    extra.folder. Nothing in a model says which way it translates: one of the wrong direction gives rows that cleaning drops.
    """

    name: Slug
    format: Literal["backtranslation"]
    path: Inside
    model: Inside
    base: Inside | None = None
    licence: Licence
    column: str = Field(default="zh", min_length=1)
    beams: int = Field(default=1, ge=1, le=16)
    weight: Weight = 1.0
    max_rows: Most


Source = Annotated[FileSource | HubSource | BackTranslation, Field(discriminator="format")]


class ExtraParams(Section):
    """The `extra` section. Shares are of all training rows, copies counted; 1 lifts a limit, 0 keeps everything out."""

    folder: str = Field(min_length=1)
    sources: list[Source]
    glossary: list[str] = Field(
        description="globs of pages whose titles are terms of their own in train, as extra rows"
    )
    glossary_weight: Weight
    max_share: float = Field(ge=0, le=1)
    max_synthetic_share: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _distinct_names(self) -> "ExtraParams":
        names = [source.name for source in self.sources]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"wanted a name of its own for every source, got {', '.join(twice)} more than once")
        return self

    def inside(self, path: str) -> Path:
        return Path(self.folder) / path


def _names_only(columns: Columns | None) -> None:
    if columns and not (isinstance(columns.en, str) and isinstance(columns.zh, str)):
        raise ValueError("columns: wanted names; only columns of a TSV have numbers")
