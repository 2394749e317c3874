"""How likely each English block of a page is to be each Chinese one's source: all pairs of a page at once, in log-odds.

    table = likeness(items(english_blocks, "en"), items(chinese_blocks, "zh"))
    table[i, j]          # log-odds that block j translates block i rather than one that stands near it

The evidence: words and their renderings (doctune.alignment.lexicon), inline code, links, glossary terms, numbers and Latin words that
translators keep (doctune.alignment.evidence), lengths, and the kinds of the two blocks. Code blocks and shortcodes are
compared as they stand: they pair no text but hold a page's two sides in step.
"""

from collections.abc import Callable, Hashable, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np

from doctune.alignment.evidence import features
from doctune.alignment.lexicon import load
from doctune.markdown import TEXT_KINDS, Block
from doctune.text import Lang, count_cjk, flatten

Table = np.ndarray[Any, Any]
Weigh = Callable[[Sequence["Item"], Sequence["Item"]], Table]

# Weights of a logistic regression (L2, C 0.05) that tells a block's translation from the three blocks before and after
# it: 10,000 pairs of Kubernetes pages (comments that match today's English) and 10,000 of ten other projects, half each.
# Trained on either alone it errs on the other within half a per cent of what it does trained on both.
BIAS = 0.76
LEXICAL_HIT, LEXICAL_MISS = 0.15, 0.4
SHARED = {"link": 2.25, "number": 1.0, "term": 0.1, "code": 0.1}  # shared code counts by its words
LACKING = {"link": -1.26, "number": -1.24, "term": -0.46, "code": -0.7}
WORD, STRANGE_WORD = 1.07, -1.91
LENGTH = -0.38  # by squared standard deviation
MOST_SHARED, MOST_WORDS, MOST_GAP = 4, 6, 9.0

# Kinds and places, by hand: they hold on a page's skeleton whatever its prose.
SAME_KIND, OTHER_KIND, HEADING_ONLY_HERE = 0.0, -2.0, -8.0
LOOSE_KINDS = frozenset((("paragraph", "list_item"), ("list_item", "paragraph"), ("paragraph", "table_cell")))
LOOSE_KIND = -1.0
SAME_ANCHOR, OTHER_ANCHOR, HEADINGS, OTHER_LEVEL = 4.0, -3.0, 1.0, -2.0
SAME_VERBATIM, LIKE_VERBATIM, OTHER_VERBATIM = 7.0, 2.0, -4.0
NEVER = -40.0
NEIGHBOURS = frozenset((("paragraph", "paragraph"), ("list_item", "list_item"), ("list_item", "paragraph")))
UNTRANSLATED, SAME_TEXT = -3.0, 6.0  # no Chinese character in it: another text, or the very same


@dataclass(frozen=True)
class Item:
    """What of a block tells who its counterpart is; lengths as evidence.Features gives them."""

    kind: str
    level: int
    anchor: str
    tags: dict[str, frozenset[str]]
    words: frozenset[str]
    lexical: frozenset[int]
    length: float
    chinese: int  # Chinese characters
    text: str  # on one line

    def __add__(self, other: "Item") -> "Item":
        """Both as one block."""
        tags = {tag: self.tags[tag] | other.tags[tag] for tag in self.tags}
        text = f"{self.text} {other.text}"
        return Item(
            self.kind,
            self.level,
            self.anchor,
            tags,
            self.words | other.words,
            self.lexical | other.lexical,
            self.length + other.length,
            self.chinese + other.chinese,
            text,
        )


def items(blocks: Sequence[Block], lang: Lang) -> list[Item]:
    return [_item(block.kind, block.level, block.anchor, block.text, lang) for block in blocks]


@lru_cache(maxsize=1 << 12)  # a page's: comments and the English page say the same, Chinese is met twice
def _item(kind: str, level: int, anchor: str, text: str, lang: Lang) -> Item:
    if kind not in TEXT_KINDS:
        verbatim = " ".join(text.split())
        words = frozenset(verbatim.split())
        return Item(kind, 0, "", {tag: frozenset() for tag in SHARED}, words, frozenset(), 0.0, 0, verbatim)
    found = features(text, lang)
    tags = {tag: frozenset(a for a in found.anchors if a.startswith(tag + ":")) for tag in SHARED}
    lexical = load().english(text) if lang == "en" else load().chinese(text)
    line = flatten(text, lang)
    return Item(kind, level, anchor, tags, found.words, lexical, found.length, count_cjk(text), line)


def likeness(en: Sequence[Item], zh: Sequence[Item]) -> Table:
    """Log-odds (len(en), len(zh)) that the Chinese item translates the English one."""
    if not en or not zh:
        return np.zeros((len(en), len(zh)))
    text = [np.array([item.kind in TEXT_KINDS for item in side]) for side in (en, zh)]
    table = np.where(text[0][:, None] == text[1], 0.0, NEVER)
    _add(table, en, zh, lambda item: item.kind in TEXT_KINDS, _texts)
    _add(table, en, zh, lambda item: item.kind not in TEXT_KINDS, _verbatim)
    return table


def merged(en: Sequence[Item], zh: Sequence[Item], cells: bool = False) -> tuple[Table | None, Table | None]:
    """Likeness of two English items with one Chinese, and of one English with two Chinese, as `lattice.align` takes it.

    Only neighbouring paragraphs or list items, and an item with the paragraph after it, are taken as one; with `cells`
    Chinese table cells too, which an HTML table's cell with two paragraphs reads as. None where nothing is taken as one.
    """
    two_en = two_zh = None
    at, pairs = _neighbours(en, NEIGHBOURS)
    if at:
        two_en = np.full((len(en) - 1, len(zh)), NEVER)
        two_en[at] = likeness(pairs, zh)
    at, pairs = _neighbours(zh, NEIGHBOURS | {("table_cell", "table_cell")} if cells else NEIGHBOURS)
    if at:
        two_zh = np.full((len(en), len(zh) - 1), NEVER)
        two_zh[:, at] = likeness(en, pairs)
    return two_en, two_zh


def _neighbours(side: Sequence[Item], kinds: Set[tuple[str, str]]) -> tuple[list[int], list[Item]]:
    at = [n for n, (left, right) in enumerate(pairwise(side)) if (left.kind, right.kind) in kinds]
    return at, [side[n] + side[n + 1] for n in at]


def _add(table: Table, en: Sequence[Item], zh: Sequence[Item], about: Callable[[Item], bool], weigh: Weigh) -> None:
    """Add what `weigh` says of the items that it is about: most evidence is about few of a page's blocks."""
    rows, columns = ([n for n, item in enumerate(side) if about(item)] for side in (en, zh))
    if len(rows) == len(en) and len(columns) == len(zh):
        table += weigh(en, zh)
    elif rows and columns:
        table[np.ix_(rows, columns)] += weigh([en[n] for n in rows], [zh[n] for n in columns])


def _texts(en: Sequence[Item], zh: Sequence[Item]) -> Table:
    table = _lexical(en, zh)
    table += BIAS
    table += _lengths(en, zh)
    for tag in SHARED:
        _add_names(table, en, zh, tag)
    shared = _shared([e.words for e in en], [z.words for z in zh])
    strange = _sizes([z.words for z in zh]) - shared
    table += WORD * np.minimum(shared, MOST_WORDS)
    table += STRANGE_WORD * np.minimum(strange, MOST_WORDS)
    if foreign := [n for n, z in enumerate(zh) if z.chinese == 0]:
        same = _equal([e.text for e in en], [zh[n].text for n in foreign])
        table[:, foreign] = np.where(same, SAME_TEXT, table[:, foreign] + UNTRANSLATED)
    number, value = _kinds()
    table += value[[number[e.kind] for e in en]][:, [number[z.kind] for z in zh]]
    _add(table, en, zh, lambda item: item.kind == "heading", _levels)
    _add(table, en, zh, lambda item: bool(item.anchor), _anchors)
    return table


def _levels(en: Sequence[Item], zh: Sequence[Item]) -> Table:
    return np.where(_equal([e.level for e in en], [z.level for z in zh]), 0.0, OTHER_LEVEL)


def _anchors(en: Sequence[Item], zh: Sequence[Item]) -> Table:
    return np.where(_equal([e.anchor for e in en], [z.anchor for z in zh]), SAME_ANCHOR, OTHER_ANCHOR)


def _verbatim(en: Sequence[Item], zh: Sequence[Item]) -> Table:
    """Code with code, a shortcode with a shortcode: the same, alike or another."""
    left, right = [e.words for e in en], [z.words for z in zh]
    shared = _shared(left, right)
    alike = shared / np.maximum(_sizes(left)[:, None] + _sizes(right) - shared, 1)
    own = np.where(alike >= 0.5, LIKE_VERBATIM, OTHER_VERBATIM)
    own[_equal([e.text for e in en], [z.text for z in zh])] = SAME_VERBATIM
    return np.where(_equal([e.kind for e in en], [z.kind for z in zh]), own, NEVER)


@lru_cache(maxsize=1)
def _kinds() -> tuple[dict[str, int], Table]:
    """Numbers of the kinds of text, and what each of them says of each."""
    kinds = sorted(TEXT_KINDS)
    return {kind: n for n, kind in enumerate(kinds)}, np.array([[_kind(en, zh) for zh in kinds] for en in kinds])


def _kind(en: str, zh: str) -> float:
    if en == zh:
        return HEADINGS if en == "heading" else SAME_KIND
    if "heading" in (en, zh):
        return HEADING_ONLY_HERE
    return LOOSE_KIND if (en, zh) in LOOSE_KINDS else OTHER_KIND


def _add_names(table: Table, en: Sequence[Item], zh: Sequence[Item], tag: str) -> None:
    """Add what names of one sort say: the more one side lacks the worse, the more both have the better."""
    left, right = [e.tags[tag] for e in en], [z.tags[tag] for z in zh]
    here, there = frozenset[str]().union(*left), frozenset[str]().union(*right)
    if here or there:
        table += LACKING[tag] * _lacking(_sizes(left)[:, None], _sizes(right))
    if common := here & there:
        _add(table, en, zh, lambda item: not common.isdisjoint(item.tags[tag]), partial(_common, tag=tag))


def _common(en: Sequence[Item], zh: Sequence[Item], tag: str) -> Table:
    left, right = [e.tags[tag] for e in en], [z.tags[tag] for z in zh]
    shared, here, there = _shared(left, right), _sizes(left)[:, None], _sizes(right)
    fewer = _lacking(here - shared, there - shared) - _lacking(here, there)
    return np.asarray(SHARED[tag] * np.minimum(shared, MOST_SHARED) + LACKING[tag] * fewer)


def _lacking(here: Table, there: Table) -> Table:
    return np.asarray(np.minimum(here, MOST_SHARED) + np.minimum(there, MOST_SHARED))


def _lexical(en: Sequence[Item], zh: Sequence[Item]) -> Table:
    """Log-likelihood ratio of seeing, or missing, a rendering of each English word: a naive Bayes over words."""
    lexicon = load()
    seen = sorted(frozenset[int]().union(*(e.lexical for e in en)))
    if not seen:
        return np.zeros((len(en), len(zh)))
    index = {word: n for n, word in enumerate(seen)}
    source, target = _incidence([e.lexical for e in en], index), _incidence([z.lexical for z in zh], index)
    number: dict[int, int] = {}
    which = [number.setdefault(z.chinese, len(number)) for z in zh]  # pages have few lengths, each is weighed once
    by_chance = np.clip(1 - np.exp(-lexicon.rate[seen] * np.array(list(number))[:, None]), 1e-4, 0.98)
    hit = lexicon.hit[seen]
    found = LEXICAL_HIT * np.log(np.maximum(hit, by_chance + 1e-3) / by_chance)
    missed = LEXICAL_MISS * np.minimum(np.log((1 - np.minimum(hit, 0.98)) / (1 - by_chance)), 0.0)
    return np.asarray(source @ np.where(target, found[which], missed[which]).T)


def _lengths(en: Sequence[Item], zh: Sequence[Item]) -> Table:
    from doctune.alignment.evidence import SHORT, SPREAD

    source, target = np.array([e.length for e in en])[:, None], np.array([z.length for z in zh])
    spread = [SPREAD * np.sqrt(1 + SHORT / (length + 1)) for length in (source, target)]
    gap = (np.log(target + 1.5) - np.log(source + 1.5)) / np.maximum(*spread)  # the shorter one's spread is wider
    return np.asarray(LENGTH * np.minimum(gap * gap, MOST_GAP))


def _shared(en: Sequence[Set[str]], zh: Sequence[Set[str]]) -> Table:
    """How many members two sets share, for all pairs of sets."""
    common = set[str]().union(*en) & set[str]().union(*zh)
    index = {name: n for n, name in enumerate(common)}
    return np.asarray(_incidence(en, index) @ _incidence(zh, index).T).astype(np.float64)


def _sizes(sets: Sequence[Set[str]]) -> Table:
    return np.array([len(members) for members in sets])


def _incidence(sets: Sequence[Set[Any]], index: dict[Any, int]) -> Table:
    """Whether a set has a member, as 1 or 0, whose products are exact in single precision, too."""
    table = np.zeros((len(sets), len(index)), np.float32)
    at = [row * len(index) + index[m] for row, members in enumerate(sets) for m in members if m in index]
    table.reshape(-1)[at] = 1.0
    return table


def _equal(en: Sequence[Hashable], zh: Sequence[Hashable]) -> Table:
    number: dict[Hashable, int] = {}
    left = np.array([number.setdefault(value, len(number)) for value in en])
    right = np.array([number.setdefault(value, len(number)) for value in zh])
    return np.asarray(left[:, None] == right[None, :])
