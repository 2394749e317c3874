"""What of a block survives translation: inline code, links, glossary terms, numbers and Latin words, and its length.

    features("Use `kubectl` with 3 Pods.", "en")
    # Features(anchors={"code:kubectl", "number:3"}, words={"use", "kubectl", "with", "pod"}, length=9.0)

Translators keep inline code, link targets, glossary ids, numbers and product names, so these tell a translation from a
neighbour. `doctune.alignment.likeness` weighs them.
"""

import re
from dataclasses import dataclass

from doctune.text import LOCALE, SHORTCODE, TERM_ID, Lang, count_cjk, visible

_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)|<(?:code|tt)>(.+?)</(?:code|tt)>", re.S)
_TARGET = re.compile(
    r"\]\(\s*<?([^()\s>]+(?:\([^()\s]*\)[^()\s]*)*)[^()]*\)|href=[\"']([^\"']+)[\"']|(?<![(\"'=])(https?://[\w\-./?#&%=+~:@!]+)"
)
_NUMBER = re.compile(r"\d+(?:[.:]\d+)*")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]+")
_LOCALE = re.compile(rf"^(?:https?://[^/]+)?/{LOCALE}/", re.I)

# Visible Chinese length per English character, a Latin one in Chinese counted as LATIN (measured on 19,000 pairs).
ZH_PER_EN = 0.345
LATIN = 0.55
SPREAD = 0.2  # standard deviation of the log of that ratio for long blocks
SHORT = 6.0  # and how much wider it gets for short ones, in units of length


@dataclass(frozen=True)
class Features:
    """What of a block survives translation: anchors, tagged ("code:x", "link:/docs/a"), words, length (in Chinese)."""

    anchors: frozenset[str]
    words: frozenset[str]
    length: float


def features(text: str, lang: Lang) -> Features:
    anchors: set[str] = set()
    words: set[str] = set()

    def note(tag: str, value: str) -> None:
        anchors.add(f"{tag}:{value}")

    for match in _CODE.finditer(text):
        code = match[2] or match[3]
        note("code", "".join(code.split()).casefold())
        words.update(_stems(code))
    plain = _CODE.sub(" ", text)
    for match in _TARGET.finditer(plain):
        note("link", _target(match[1] or match[2] or match[3]))
    if "{{" in plain:
        for match in TERM_ID.finditer(plain):
            note("term", match[1].casefold())
    seen = visible(plain)
    for match in _NUMBER.finditer(seen):
        note("number", match[0])
    latin = _stems(SHORTCODE.sub(" ", seen))
    words.update(latin)
    if lang == "en":
        length = ZH_PER_EN * len(" ".join(visible(text).split()))
    else:
        shown = visible(text)
        cjk = count_cjk(shown)
        length = cjk + LATIN * (len(" ".join(shown.split())) - cjk)
    return Features(frozenset(anchors), frozenset(words), length)


def _stems(text: str) -> set[str]:
    return {word.casefold().removesuffix("s") for word in _WORD.findall(text)}


def _target(link: str) -> str:
    """A link target without what differs between languages: the locale, the fragment of a page, a trailing slash."""
    link = _LOCALE.sub("/", link.strip())
    path = link.split("#", 1)[0].rstrip("/")
    return (path or link).casefold()
