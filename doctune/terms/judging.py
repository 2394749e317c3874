"""Which terms of an English text its Chinese renders right.

    judge = Judge(load())
    [(term.entry.en, term.right, term.forbidden) for term in judge("Drain the node.", "排空该结点。")]
    # [("drain", True, ()), ("node", False, ("结点",))]

A term is judged once in a text, not at each of its occurrences: Chinese says it once where English repeats it, and takes
a pronoun or nothing at all the next time, so counting would punish the better sentence. It is right when an accepted
rendering is there and no forbidden one. What belongs to an accepted rendering of any term of the text is not forbidden:
中断 where the English has "interrupt" beside "disruption", 群集 in 为集群集成.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from doctune.terms.finding import Finder
from doctune.terms.glossary import GAP, Entry, Glossary
from doctune.text import visible

_MARKS = re.compile(r"[*~]")
_ORIGINAL = re.compile(r"(?<! ) *[（(][A-Za-z][A-Za-z .,;-]*[）)] *")  # 变更（Mutating）准入: the English in between
_LATIN = re.compile(r"[A-Za-z0-9]")


@dataclass(frozen=True)
class Judged:
    """A term of the English, and what became of it."""

    entry: Entry
    right: bool
    forbidden: tuple[str, ...]  # those found, each once


class Judge:
    def __init__(self, glossary: Glossary) -> None:
        self._finder = Finder(glossary)

    def __call__(self, english: str, chinese: str) -> list[Judged]:
        """Each distinct term of `english`, in the order in which they come."""
        entries = self._finder.find(english)
        if not entries:
            return []
        seen = _MARKS.sub("", visible(chinese))
        accepted = [[match.span() for match in _pattern(tuple(e.accepted)).finditer(seen)] for e in entries]
        without = "" if all(accepted) else _ORIGINAL.sub("", seen)
        spans = [span for found in accepted for span in found]
        judged = []
        for entry, found in zip(entries, accepted, strict=True):
            forbidden = tuple(dict.fromkeys(_outside(tuple(entry.forbidden), seen, spans))) if entry.forbidden else ()
            there = bool(found) or _pattern(tuple(entry.accepted)).search(without) is not None
            judged.append(Judged(entry, there and not forbidden, forbidden))
        return judged


def _outside(forbidden: tuple[str, ...], text: str, spans: list[tuple[int, int]]) -> list[str]:
    return [
        match[0]
        for match in _pattern(forbidden).finditer(text)
        if not any(_hidden(match.span(), span) for span in spans)
    ]


def _hidden(forbidden: tuple[int, int], accepted: tuple[int, int]) -> bool:
    """Whether the two overlap, and the forbidden one is not the longer word that holds the accepted."""
    (start, end), (first, last) = forbidden, accepted
    return start < last and first < end and not (start <= first and last <= end and forbidden != accepted)


@lru_cache(maxsize=1 << 12)
def _pattern(renderings: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the renderings, the longest first. Spaces are optional; Latin ends where a word ends, and is in any case
    when it is written without capitals."""
    return re.compile("|".join(map(_one, sorted(renderings, key=len, reverse=True))))


def _one(rendering: str) -> str:
    parts = [r"\s*".join(re.escape(word) for word in part.split()) for part in rendering.split(GAP)]
    pattern = "[^。；！？\n]{1,20}?".join(parts)
    before = r"(?<![A-Za-z0-9])" if _LATIN.match(rendering) else ""
    after = r"(?![A-Za-z0-9])" if _LATIN.match(rendering[-1]) else ""
    return f"{before}(?{'i' if rendering == rendering.lower() else ''}:{pattern}){after}"
