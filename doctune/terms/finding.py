"""The terms of an English text: inflected, in any case, hyphenated or not; of overlapping ones the longest.

    finder = Finder(load())
    [entry.en for entry in finder.find("**Draining** nodes with the [load-balancer's](/lb/) health checks; see `pod`.")]
    # ["drain", "node", "load balancer", "health check"]

What a reader does not see, or what is no prose, holds no terms: inline code, link targets, shortcodes but for their text,
addresses, file names, options, identifiers, what is quoted (values and messages). Neither does the text of a link to
another site, which the style guide allows to stay English. Each term is there once, however often the text says it.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from doctune.terms.glossary import Entry, Glossary
from doctune.terms.inflection import forms
from doctune.text import CODE, visible

_OUTWARD = re.compile(r"!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(<?https?://[^()]*(?:\([^()]*\)[^()]*)*\)")
_TEXTLESS = re.compile(r"\{\{[<%](?:(?!\btext\s*=)[^{}])*[>%]\}\}")  # the site puts the term's local name there itself
_COMMAND = re.compile(r"\[kubectl [a-z][^\[\]]*\]\([^()]*\)")
_NO_PROSE = re.compile(
    r"https?://\S+"
    r"|^\*\*[\w.]+\*\* \("  # a field and its type, in references
    r"|^[a-z]\w* (?=(?:is|are|indicates|specifies|describes|contains|holds|tells|represents|defines) )"  # replicas is the
    r"|(?<!\w)['‘][\w-]+['’](?!\w)|(?<!\w)(?:[\"“]|&quot;)[^\"“”&]{1,80}(?:[\"”]|&quot;)(?!\w)"  # values, messages, titles
    r"|(?<!\S)--?[A-Za-z][\w.-]*(?:=\S*)?"  # options
    r"|(?<![\w/@~-])[\w/@~-]*\w(?:[._:=]+|/(?=[\w/-]*[._]))[\w@][\w./:@=-]*"  # spec.nodeName, my_pod, app=web, etc/kubelet.conf
    r"|(?<!\w)[/~][\w.-]+(?:/[\w.*-]*)*"  # paths
)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*|[0-9]+[A-Za-z]*")
_NAME = re.compile(r"[a-z0-9][A-Z]|[A-Z]{2}[a-z]{2}|^[A-Z]{4}")  # ConfigMap, IPAddress, HOSTNAME
_GONE = " \x00 "  # no phrase goes on over what was taken out

Phrase = tuple[str, ...]


class Finder:
    """Looks phrases up by their words, so its time depends on the text and not on the size of the glossary."""

    def __init__(self, glossary: Glossary) -> None:
        self._any: dict[Phrase, Entry] = {}  # words as `_loose` writes them
        self._cased: dict[Phrase, Entry] = {}  # words as written
        for entry in glossary.entries:
            table = self._cased if entry.case else self._any
            table.update((phrase, entry) for phrase in _written(entry))
        for entry in glossary.entries:  # a form that is an entry of its own stays that
            table = self._cased if entry.case else self._any
            for phrase in _inflected(entry):
                table.setdefault(phrase, entry)
        self._longest: dict[str, int] = {}
        for phrase in [*self._any, *self._cased]:
            first = _loose(phrase[0])
            self._longest[first] = max(self._longest.get(first, 0), len(phrase))
        self._remembered = lru_cache(maxsize=1 << 16)(self._find)

    def find(self, text: str) -> tuple[Entry, ...]:
        """The distinct terms of `text` in the order in which they come."""
        return self._remembered(text)

    def _find(self, text: str) -> tuple[Entry, ...]:
        found: dict[str, Entry] = {}
        for entry in self._all(prose(text)):
            if not entry.skip and not _elsewhere(tuple(entry.unless), text):
                found.setdefault(entry.en, entry)
        return tuple(found.values())

    def _all(self, text: str) -> Iterator[Entry]:
        words = list(_WORD.finditer(text))
        written = [word[0] for word in words]
        loose = [_loose(word) for word in written]
        at = 0
        while at < len(words):
            for length in range(self._reach(words, text, at, self._longest.get(loose[at], 0)), 0, -1):
                entry = self._cased.get(tuple(written[at : at + length])) or self._any.get(
                    tuple(loose[at : at + length])
                )
                if entry:
                    if not _inside_name(words, text, at, length):
                        yield entry
                    at += length
                    break
            else:
                at += 1

    def _reach(self, words: list[re.Match[str]], text: str, at: int, most: int) -> int:
        """How many words from `at` on, up to `most`, stand side by side."""
        for length in range(1, most):
            after = at + length
            if after == len(words) or text[words[after - 1].end() : words[after].start()] not in (" ", "-"):
                return length
        return most


def _inside_name(words: list[re.Match[str]], text: str, at: int, length: int) -> bool:
    """Whether the words are part of three or more with hyphens in between: `default-token-controller` is a name."""
    first, last = at, at + length - 1
    while first > 0 and text[words[first - 1].end() : words[first].start()] == "-":
        first -= 1
    while last + 1 < len(words) and text[words[last].end() : words[last + 1].start()] == "-":
        last += 1
    return last - first + 1 > max(2, length)


def prose(text: str) -> str:
    """What of an English text may hold terms."""
    text = CODE.sub(_GONE, text) if "`" in text or "<" in text else text
    text = _COMMAND.sub(_GONE, _OUTWARD.sub(_GONE, text)) if "](" in text else text
    text = _TEXTLESS.sub(_GONE, text) if "{{" in text else text
    return _NO_PROSE.sub(_GONE, visible(text)).replace("*", "")


@lru_cache(maxsize=1 << 10)
def _any_of(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})s?\b", re.I)


def _elsewhere(words: tuple[str, ...], text: str) -> bool:
    return bool(words) and _any_of(words).search(text) is not None


def _loose(word: str) -> str:
    """In lower case, but a name such as ConfigMap as it is: it is not two words run together."""
    return word if _NAME.search(word) else word.lower()


def _written(entry: Entry) -> Iterator[Phrase]:
    for text in entry.spellings:
        words = re.split(r"[ -]", text)
        yield from _phrases([words], entry.case)


def _inflected(entry: Entry) -> Iterator[Phrase]:
    for text in entry.spellings:
        words = re.split(r"[ -]", text)
        yield from _phrases(([*words[:-1], form] for form in forms(words[-1], entry.verb)), entry.case)
        if entry.verb:  # "rolled back", "scales up"
            yield from _phrases(([form, *words[1:]] for form in forms(words[0], True)), entry.case)


def _phrases(many: Iterable[list[str]], case: bool) -> Iterator[Phrase]:
    for words in many:
        written = words if case else [_loose(word) for word in words]
        yield tuple(written)
        if len(words) > 1:
            yield ("".join(written),)
