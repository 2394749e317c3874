"""How likely each English block of a page is to be each Chinese one's source: all pairs of a page at once, in log-odds.

    table = likeness(items(english_blocks, "en"), items(chinese_blocks, "zh"))
    table[i, j]          # log-odds that block j translates block i rather than one that stands near it

The evidence: words and their renderings (doctune.alignment.lexicon), inline code, links, glossary terms, numbers and Latin words that
translators keep (doctune.alignment.evidence), lengths, and the kinds of the two blocks. Code blocks and shortcodes are
compared as they stand: they pair no text but hold a page's two sides in step.
"""

from collections.abc import Callable, Hashable, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from doctune.alignment.evidence import features
from doctune.alignment.lexicon import Lexicon, load
from doctune.markdown import TEXT_KINDS, Block
from doctune.text import Lang, count_cjk, flatten

Table = np.ndarray[Any, Any]

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
    lexicon = load()
    return [_item(block, lang, lexicon) for block in blocks]


def _item(block: Block, lang: Lang, lexicon: Lexicon) -> Item:
    if block.kind not in TEXT_KINDS:
        verbatim = " ".join(block.text.split())
        words = frozenset(verbatim.split())
        return Item(block.kind, 0, "", {tag: frozenset() for tag in SHARED}, words, frozenset(), 0.0, 0, verbatim)
    found = features(block.text, lang)
    tags = {tag: frozenset(a for a in found.anchors if a.startswith(tag + ":")) for tag in SHARED}
    lexical = lexicon.english(block.text) if lang == "en" else lexicon.chinese(block.text)
    text = flatten(block.text, lang)
    return Item(
        block.kind, block.level, block.anchor, tags, found.words, lexical, found.length, count_cjk(block.text), text
    )


def likeness(en: Sequence[Item], zh: Sequence[Item]) -> Table:
    """Log-odds (len(en), len(zh)) that the Chinese item translates the English one."""
    if not en or not zh:
        return np.zeros((len(en), len(zh)))
    table = BIAS + _lexical(en, zh) + _lengths(en, zh)
    for tag, weight in SHARED.items():
        shared, only_en, only_zh = _overlap([e.tags[tag] for e in en], [z.tags[tag] for z in zh])
        table += weight * np.minimum(shared, MOST_SHARED)
        table += LACKING[tag] * (np.minimum(only_en, MOST_SHARED) + np.minimum(only_zh, MOST_SHARED))
    shared, _, strange = _overlap([e.words for e in en], [z.words for z in zh])
    table += WORD * np.minimum(shared, MOST_WORDS) + STRANGE_WORD * np.minimum(strange, MOST_WORDS)
    same = _equal([e.text for e in en], [z.text for z in zh])
    foreign = np.array([z.chinese == 0 for z in zh])[None, :]
    table = np.where(foreign, np.where(same, SAME_TEXT, table + UNTRANSLATED), table)
    return _with_kinds(table, en, zh, same, shared)


def merged(en: Sequence[Item], zh: Sequence[Item], cells: bool = False) -> tuple[Table | None, Table | None]:
    """Likeness of two English items with one Chinese, and of one English with two Chinese, as `lattice.align` takes it.

    Only neighbouring paragraphs or list items, and an item with the paragraph after it, are taken as one; with `cells`
    Chinese table cells too, which an HTML table's cell with two paragraphs reads as.
    """
    two_en = two_zh = None
    if len(en) > 1:
        pairs, may = _neighbours(en, NEIGHBOURS)
        two_en = np.where(may[:, None], likeness(pairs, zh), NEVER)
    if len(zh) > 1:
        pairs, may = _neighbours(zh, NEIGHBOURS | {("table_cell", "table_cell")} if cells else NEIGHBOURS)
        two_zh = np.where(may[None, :], likeness(en, pairs), NEVER)
    return two_en, two_zh


def _neighbours(side: Sequence[Item], kinds: Set[tuple[str, str]]) -> tuple[list[Item], Table]:
    steps = list(pairwise(side))
    may = [(left.kind, right.kind) in kinds for left, right in steps]
    return [left + right for left, right in steps], np.array(may)


def _with_kinds(table: Table, en: Sequence[Item], zh: Sequence[Item], same: Table, shared: Table) -> Table:
    """Add what kinds, levels and anchors say; items that are no text get their own values."""
    kinds = sorted({item.kind for item in (*en, *zh)})
    number = {kind: n for n, kind in enumerate(kinds)}
    value = np.array([[_kinds(a, b) for b in kinds] for a in kinds])
    ek, zk = np.array([number[e.kind] for e in en]), np.array([number[z.kind] for z in zh])
    table = table + value[ek[:, None], zk[None, :]]
    headings = _both(en, zh, lambda item: item.kind == "heading")
    levels = np.array([e.level for e in en])[:, None] == np.array([z.level for z in zh])[None, :]
    table += np.where(headings & ~levels, OTHER_LEVEL, 0.0)
    named = _both(en, zh, lambda item: bool(item.anchor))
    anchors = _equal([e.anchor for e in en], [z.anchor for z in zh])
    table += np.where(named, np.where(anchors, SAME_ANCHOR, OTHER_ANCHOR), 0.0)
    verbatim = _both(en, zh, lambda item: item.kind not in TEXT_KINDS) & (ek[:, None] == zk[None, :])
    if verbatim.any():
        ne, nz = np.array([len(e.words) for e in en])[:, None], np.array([len(z.words) for z in zh])[None, :]
        alike = shared / np.maximum(ne + nz - shared, 1)
        own = np.where(same, SAME_VERBATIM, np.where(alike >= 0.5, LIKE_VERBATIM, OTHER_VERBATIM))
        table = np.where(verbatim, own, table)
    return table


def _kinds(en: str, zh: str) -> float:
    if (en in TEXT_KINDS) != (zh in TEXT_KINDS) or (en not in TEXT_KINDS and en != zh):
        return NEVER
    if en == zh:
        return HEADINGS if en == "heading" else SAME_KIND
    if "heading" in (en, zh):
        return HEADING_ONLY_HERE
    return LOOSE_KIND if (en, zh) in LOOSE_KINDS else OTHER_KIND


def _lexical(en: Sequence[Item], zh: Sequence[Item]) -> Table:
    """Log-likelihood ratio of seeing, or missing, a rendering of each English word: a naive Bayes over words."""
    lexicon = load()
    seen = sorted(frozenset[int]().union(*(e.lexical for e in en)))
    if not seen:
        return np.zeros((len(en), len(zh)))
    index = {word: n for n, word in enumerate(seen)}
    source, target = _incidence([e.lexical for e in en], index), _incidence([z.lexical for z in zh], index)
    length = np.array([z.chinese for z in zh])[:, None]
    by_chance = np.clip(1 - np.exp(-lexicon.rate[seen][None, :] * length), 1e-4, 0.98)
    hit = lexicon.hit[seen][None, :]
    found = np.log(np.maximum(hit, by_chance + 1e-3) / by_chance)
    missed = np.minimum(np.log((1 - np.minimum(hit, 0.98)) / (1 - by_chance)), 0.0)
    return source @ (LEXICAL_HIT * target * found + LEXICAL_MISS * (1 - target) * missed).T


def _lengths(en: Sequence[Item], zh: Sequence[Item]) -> Table:
    from doctune.alignment.evidence import SHORT, SPREAD

    source, target = np.array([e.length for e in en])[:, None], np.array([z.length for z in zh])[None, :]
    spread = SPREAD * np.sqrt(1 + SHORT / (np.minimum(source, target) + 1))
    gap = np.log((target + 1.5) / (source + 1.5)) / spread
    return np.asarray(LENGTH * np.minimum(gap * gap, MOST_GAP))


def _overlap(en: Sequence[Set[str]], zh: Sequence[Set[str]]) -> tuple[Table, Table, Table]:
    """How many members two sets share, and how many only one has, for all pairs of sets."""
    common = set[str]().union(*en) & set[str]().union(*zh)
    index = {name: n for n, name in enumerate(sorted(common))}
    shared = _incidence(en, index) @ _incidence(zh, index).T
    sizes = np.array([len(s) for s in en])[:, None], np.array([len(s) for s in zh])[None, :]
    return shared, sizes[0] - shared, sizes[1] - shared


def _incidence(sets: Sequence[Set[Any]], index: dict[Any, int]) -> Table:
    table = np.zeros((len(sets), len(index)))
    for row, members in enumerate(sets):
        table[row, [index[member] for member in members if member in index]] = 1.0
    return table


def _equal(en: Sequence[Hashable], zh: Sequence[Hashable]) -> Table:
    number: dict[Hashable, int] = {}
    left = np.array([number.setdefault(value, len(number)) for value in en])
    right = np.array([number.setdefault(value, len(number)) for value in zh])
    return np.asarray(left[:, None] == right[None, :])


def _both(en: Sequence[Item], zh: Sequence[Item], holds: Callable[[Item], bool]) -> Table:
    return np.asarray(np.array([holds(e) for e in en])[:, None] & np.array([holds(z) for z in zh])[None, :])
