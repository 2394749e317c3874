"""What of the source's markup a translation kept: inline code, links, URLs, shortcodes, tags, placeholders, numbers, emphasis.

    compare("Run `kubectl get` on 3 [Pods](/docs/pods/).", "在 3 个 [Pod](/zh-cn/docs/pods/) 上运行。")
    # {"code": Kept(kept=0, wanted=1, got=0), "link": Kept(1, 1, 1), "number": Kept(1, 1, 1)}

Multisets by kind: `wanted` is how much the source has, `got` how much the translation has, `kept` what is in both. Spans
are those that training protects (doctune.placeholders), read by the same function. Forgiven is what translators change
with good reason: a link's language root, a fragment's case, the Chinese Wikipedia; what is to be filled in (`<name>`);
`<code>` for backticks, and code marked up that the source names without; how emphasis is written (the guide wants `**` for all of it); numbers that are spelled.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from doctune.placeholders import SYMBOL, protect
from doctune.structure.numbers import digits, spelled
from doctune.text import LOCALE_FOLDER

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

KINDS = ("code", "link", "url", "shortcode", "tag", "placeholder", "number", "emphasis")


class Kept(NamedTuple):
    kept: int
    wanted: int
    got: int


@dataclass(frozen=True)
class _Markup:
    spans: Counter[tuple[str, str]]  # (kind, key)
    prose: str  # the text with every span as a space
    emphasis: int


_SLOT = re.compile(r"<[^<>]*>")
_CODE_TAG = re.compile(r"</?code>")
_ANCHOR = re.compile(r"\{#[^{}]*\}|&#?\w+;|\]\[[^\]]*\]")
_TITLE = re.compile(r"\s+\"[^\"]*\"$")
_WIKIPEDIA = re.compile(r"^https?://\w+(?:\.m)?\.wikipedia\.org/.*")
_TAG_NAME = re.compile(r"</?([A-Za-z][\w-]*)")
_WHITE = re.compile(r"\s+")


def compare(source: str, hypothesis: str) -> dict[str, Kept]:
    """Counts by kind, of those kinds that either side has."""
    theirs, ours = _markup(source), _markup(hypothesis)
    both = theirs.spans & ours.spans
    counts = {
        kind: Kept(*(sum(n for (k, _), n in side.items() if k == kind) for side in (both, theirs.spans, ours.spans)))
        for kind in {kind for kind, _ in theirs.spans | ours.spans}
    }
    if "code" in counts and counts["code"].got > counts["code"].kept:
        named = _marked_up(ours.spans - theirs.spans, theirs.prose)
        counts["code"] = counts["code"]._replace(got=counts["code"].got - named)
    counts["number"] = _numbers(theirs.prose, ours.prose)
    counts["emphasis"] = Kept(min(theirs.emphasis, ours.emphasis), theirs.emphasis, ours.emphasis)
    return {kind: counts[kind] for kind in KINDS if kind in counts and any(counts[kind])}


def breakdown(
    hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """A row a kind: kind, wanted, got, kept, precision, recall and f1 (0 to 100; 100 where there is nothing to judge)."""
    sums = {kind: [0, 0, 0] for kind in KINDS}
    for source, hypothesis in zip(sources, hypotheses, strict=True):
        for kind, found in compare(source, hypothesis).items():
            sums[kind] = [a + b for a, b in zip(sums[kind], found, strict=True)]
    return [
        {
            "kind": kind,
            "wanted": wanted,
            "got": got,
            "kept": kept,
            "precision": _share(kept, got),
            "recall": _share(kept, wanted),
            "f1": _share(2 * kept, wanted + got),
        }
        for kind, (kept, wanted, got) in sums.items()
    ]


def _share(part: int, whole: int) -> float:
    return round(100.0 * part / whole, 2) if whole else 100.0


@lru_cache(maxsize=1 << 14)  # a source is compared with every system, by metrics and a table
def _markup(text: str) -> _Markup:
    protected, known = protect(text)
    counts = Counter(SYMBOL.findall(protected))
    spans: Counter[tuple[str, str]] = Counter()
    for number, count in counts.items():
        index = int(number) - 1
        if index < len(known) and known[index].key != "tooltip:end":
            spans[_named(known[index].text, known[index].key)] += count
    return _Markup(spans, _ANCHOR.sub(" ", SYMBOL.sub(" ", protected)), _emphasis(protected))


def _named(text: str, key: str) -> tuple[str, str]:
    """The kind of a protected span, and the key that its counterpart in the other language shares."""
    if text.startswith("{{"):
        return "shortcode", key if key.startswith("tooltip:") else _WHITE.sub("", text)
    if text.startswith("`") or text.startswith("<code>"):
        return "code", _SLOT.sub("<>", _WHITE.sub(" ", _CODE_TAG.sub("", text).strip("` ")))
    if text.startswith("("):
        return "link", _page(_TITLE.sub("", key[1:-1]))
    if text.startswith(("http", "<http")):
        return "url", _page(text.strip("<>"))
    if text.startswith("⟦"):
        return "placeholder", text
    name = _TAG_NAME.match(text)
    return "tag", ("/" if text.startswith("</") else "") + name[1].casefold() if name else "<!-- -->"


def _page(target: str) -> str:
    """A link's target without what differs between languages."""
    target = LOCALE_FOLDER.sub("", target.casefold())
    return _WIKIPEDIA.sub("wikipedia", target).replace("/#", "#").rstrip("/")


def _marked_up(added: Counter[tuple[str, str]], source: str) -> int:
    """How many of the added spans are code that the source's prose names without marking it up: no addition."""
    plain = source.casefold()
    return sum(count for (kind, key), count in added.items() if kind == "code" and key.lstrip("-").casefold() in plain)


def _numbers(source: str, hypothesis: str) -> Kept:
    """Digits of the source that the translation spells are kept; digits of the translation that the source spells are no addition."""
    wanted, got = digits(source), digits(hypothesis)
    if not wanted and not got:
        return Kept(0, 0, 0)
    kept = (wanted & got).total()
    lost, new = wanted - got, got - wanted
    in_words = sum(count for number, count in lost.items() if number in spelled(hypothesis)) if lost else 0
    allowed = sum(count for number, count in new.items() if number in spelled(source)) if new else 0
    return Kept(kept + in_words, wanted.total(), got.total() + in_words - allowed)


@lru_cache(maxsize=1)
def _inline() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("zero").enable(["emphasis", "escape"])


def _emphasis(protected: str) -> int:
    """How many runs of emphasis CommonMark sees: `**注意：**下文` is none, as the stars stay stars on the page."""
    if "*" not in protected and "_" not in protected:
        return 0
    tokens = _inline().parseInline(protected)[0].children or []
    return sum(token.type in ("em_open", "strong_open") for token in tokens)
