"""A glossary read and checked: terms of English with the Chinese that is accepted, and that which is forbidden.

name: my-site
version: 1
lists:
- title: Terms of my site
  licence: CC-BY-4.0
  attribution: My team
  terms:
  - {en: taint, verb: true, zh: [污点], forbidden: [污染]}
  - {en: Pod, keep: true}

load().name                      # "kubernetes-zh", the project's own, whose head explains every key
load(Path("my-site.yaml"))       # or a DoctuneError that names every mistake in it
"""

import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from doctune.errors import DoctuneError
from doctune.section import Section, read_yaml, validate

OWN = Path(__file__).with_name("glossary.yaml")
GAP = "..."  # in a rendering, for some words between: 改变...的规模

English = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+([ -][A-Za-z0-9]+)*$")]
Rendering = Annotated[str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True)]
Words = Annotated[str, StringConstraints(min_length=1)]


class Entry(Section):
    """One term; the head of glossary.yaml says what the keys mean."""

    en: English
    also: list[English] = Field(default=[])
    verb: bool = False
    case: bool = False
    zh: list[Rendering] = Field(default=[])
    keep: bool = False
    forbidden: list[Rendering] = Field(default=[])
    unless: list[Words] = Field(default=[])
    skip: bool = False

    @model_validator(mode="after")
    def _can_be_judged(self) -> "Entry":
        if self.skip and (self.zh or self.keep or self.forbidden):
            raise ValueError("wanted no rendering with skip: true, as nothing is judged then")
        if not self.skip and not self.accepted:
            raise ValueError("wanted a rendering in zh, or keep: true, or skip: true")
        if both := sorted(set(self.accepted) & set(self.forbidden)):
            raise ValueError(f"wanted a rendering to be accepted or forbidden, not both: {', '.join(both)}")
        if any(not part.strip() for text in [*self.zh, *self.forbidden] for part in text.split(GAP)):
            raise ValueError(f"wanted text before and after {GAP} in a rendering")
        return self

    @property
    def spellings(self) -> list[str]:
        return [self.en, *self.also]

    @property
    def accepted(self) -> list[str]:
        kept = self.spellings if self.keep else []
        return [*self.zh, *kept, *(text + "s" for text in kept)]


class TermList(Section):
    """Terms of one origin: who wrote them, and under which licence they may be used."""

    title: Words
    licence: Words
    attribution: Words
    terms: list[Entry] = Field(min_length=1)


class Glossary(Section):
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*$")]  # stands in the metric's signature
    version: int = Field(ge=1)
    lists: list[TermList] = Field(min_length=1)

    @property
    def entries(self) -> list[Entry]:
        return [entry for terms in self.lists for entry in terms.terms]

    @model_validator(mode="after")
    def _one_entry_a_spelling(self) -> "Glossary":
        counted = Counter(
            (words, entry.case) for entry in self.entries for words in {key(text) for text in entry.spellings}
        )
        if twice := sorted(" ".join(words) for (words, _), count in counted.items() if count > 1):
            raise ValueError(
                f"wanted one entry a spelling (and one more with case: true), got more of {', '.join(twice)}"
            )
        return self


_SEPARATOR = re.compile(r"[ -]")


def key(text: str) -> tuple[str, ...]:
    """The words of an English spelling, whatever their case: ("api", "server") of "API-server"."""
    return tuple(_SEPARATOR.split(text.lower()))


@lru_cache(maxsize=8)
def load(path: Path = OWN) -> Glossary:
    """Read a glossary; raises DoctuneError with all that is wrong in it."""
    if not path.is_file():
        raise DoctuneError(
            f"{path} is no file, wanted a glossary such as {OWN.name} of doctune/terms; correct the path"
        )
    return validate(Glossary, read_yaml(path), f"{path}")
