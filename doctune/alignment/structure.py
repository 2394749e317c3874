"""Pairs from two pages without comments between them: structure, names and words hold the two sides in step.

    ## Taints {#taints}        ## 污点 {#taints}          heading with heading
    A taint repels Pods.       污点会排斥 Pod。            paragraph with paragraph
    ```sh ... ```              ```sh ... ```            code with the same code: no pair, but a fixed point

The lattice weighs all monotone alignments of the two pages' blocks at once. Where parts of the Chinese page are already
paired through comments, their English holds the alignment in place, and only the rest is paired here. Pages that
have gone out of step give fewer pairs, not wrong ones: a bead must be sure among its rivals.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import replace
from itertools import pairwise

import numpy as np

from doctune.alignment.candidates import PageAlignment, candidate
from doctune.alignment.comments import Section
from doctune.alignment.lattice import Bead, align, chance
from doctune.alignment.likeness import Item, Table, items, likeness, merged
from doctune.markdown import TEXT_KINDS, Block
from doctune.text import flatten, has_cjk

_GAP = re.compile(r"(?<=\S) {2,}(?=\S)")  # where a comment stood
KINDS = TEXT_KINDS | {"code", "shortcode"}
KNOWN_SAME, KNOWN_NEAR, KNOWN_OTHER = 12.0, 4.0, -8.0  # a comment's English against a block of the English page
NEAR = 80.0  # per cent of the characters of two English texts that agree when one is an edition of the other
MOST_CELLS = 6_000_000  # largest product of the two pages' blocks that is compared (about 2 GB); none of 1,500 real pages is half of it


def align_structure(
    english: Sequence[Block], chinese: Sequence[Block], known: PageAlignment, least: float
) -> PageAlignment:
    """Pair what `known` (the page's alignment by comments) left alone; `least` is the lowest score of a pair.

    `chinese` are the blocks of the page without its comments, so one with a comment inside is whole.
    """
    result = PageAlignment()
    en, zh = comparable(english), comparable(chinese)
    paired = sorted(known.english)
    free = {b.start for b in zh if b.kind in TEXT_KINDS and has_cjk(b.text) and not _holds(b, paired)}
    if not en or not free:
        return result
    lines = [flatten(block.text, "en") for block in en]
    fixed = fixed_points(lines, zh, known)
    partner: dict[int, Bead] = {}
    for left, right in pairwise([(-1, -1), *fixed, (len(en), len(zh))]):
        e, z = slice(left[0] + 1, right[0]), slice(left[1] + 1, right[1])
        if any(block.start in free for block in zh[z]) and en[e]:
            if len(en[e]) * len(zh[z]) > MOST_CELLS:
                result.drop("page_too_long", zh[z][0].first, len(zh[z]))
                continue
            for bead in beads(en[e], zh[z], known):
                moved = Bead(_moved(bead.en, e.start), _moved(bead.zh, z.start), bead.posterior)
                partner[moved.zh[0]] = moved
    section, left_over = Section(), sorted(known.left_over)
    at = {number: (n, n + 1) for n, number in fixed}
    for number, block in enumerate(zh):
        found = partner.get(number)
        if block.kind == "heading":
            source = found.en if found else at.get(number)
            section.enter(block.level, lines[source[0]] if source else flatten(block.text, "zh"))
        if block.start not in free:
            continue
        if found is None:
            result.drop("no_counterpart", block.first)
        elif reason := _doubt(found, lines, zh, free, left_over, known.unpaired, least):
            result.drop(reason, block.first)
        else:
            whole = [replace(part, text=_GAP.sub(" ", part.text)) for part in zh[slice(*found.zh)]]
            sides = en[slice(*found.en)], whole
            result.candidates.append(candidate(*sides, section.path, "structure", chance(found)))
    return result


def is_free(block: Block, known: PageAlignment) -> bool:
    """Whether a block of the Chinese page is a translation whose English `known` does not tell."""
    return block.kind in TEXT_KINDS and block.start not in known.english and has_cjk(block.text)


def _moved(span: tuple[int, int], by: int) -> tuple[int, int]:
    return span[0] + by, span[1] + by


def comparable(blocks: Sequence[Block]) -> list[Block]:
    """The blocks of a page that take part: text, and what stands verbatim on both sides."""
    return [block for block in blocks if block.kind in KINDS]


def fixed_points(english: Sequence[str], zh: Sequence[Block], known: PageAlignment) -> list[tuple[int, int]]:
    """(English, Chinese) numbers of blocks that comments put together for sure: the same text, once on either side.

    Of those that cross, the longest run that does not is taken (patience sorting). What lies between two is aligned alone.
    """
    said = [known.english.get(block.start) for block in zh]
    here, there = Counter(english), Counter(said)
    at = {text: number for number, text in enumerate(english)}
    once = [(at[text], n) for n, text in enumerate(said) if text is not None and here[text] == there[text] == 1]
    tops: list[int] = []  # the least English number that ends a run of each length
    ends: list[int] = []
    before: list[int] = []
    for number, (en, _) in enumerate(once):
        length = bisect_left(tops, en)
        tops[length:] = [en, *tops[length + 1 :]]
        ends[length:] = [number, *ends[length + 1 :]]
        before.append(ends[length - 1] if length else -1)
    run: list[tuple[int, int]] = []
    last = ends[-1] if ends else -1
    while last >= 0:
        run.append(once[last])
        last = before[last]
    return run[::-1]


def beads(en: Sequence[Block], zh: Sequence[Block], known: PageAlignment) -> list[Bead]:
    """The alignment of two runs of comparable blocks, the code and shortcodes among them."""
    source, target = items(en, "en"), items(zh, "zh")
    one = likeness(source, target)
    _hold(one, source, zh, known)
    return align(one, *merged(source, target))


def _hold(one: Table, source: Sequence[Item], zh: Sequence[Block], known: PageAlignment) -> None:
    """Let the English of comments say where the Chinese blocks under them belong."""
    from rapidfuzz import fuzz

    at: dict[str, list[int]] = {}
    for number, item in enumerate(source):
        at.setdefault(item.text, []).append(number)
    for number, block in enumerate(zh):
        if (text := known.english.get(block.start)) is None:
            continue
        same = at.get(text, [])
        near = [] if same else [n for n, item in enumerate(source) if fuzz.ratio(text, item.text, score_cutoff=NEAR)]
        column = np.full(len(source), KNOWN_OTHER)
        column[near] = KNOWN_NEAR
        column[same] = KNOWN_SAME
        one[:, number] += column


def _holds(block: Block, offsets: Sequence[int]) -> bool:
    """Whether one of the sorted offsets lies in the block."""
    at = bisect_left(offsets, block.start)
    return at < len(offsets) and offsets[at] < block.end


def _doubt(
    bead: Bead,
    english: Sequence[str],
    zh: Sequence[Block],
    free: Set[int],
    left_over: Sequence[int],
    unpaired: Set[str],
    least: float,
) -> str | None:
    """Why a bead is no pair: it is not sure enough, or takes in a block that a comment explains in another way."""
    blocks = zh[slice(*bead.zh)]
    if any(block.start not in free for block in blocks):
        return "no_counterpart"
    under_comment = any(_holds(block, left_over) for block in blocks)
    if under_comment and not all(text in unpaired for text in english[slice(*bead.en)]):
        return "out_of_date"  # what was translated stands in the comment, and today's English says something else
    return "uncertain" if chance(bead) < least else None
