"""Pairs from two pages without comments between them: structure, names and words hold the two sides in step.

    ## Taints {#taints}        ## 污点 {#taints}          heading with heading
    A taint repels Pods.       污点会排斥 Pod。            paragraph with paragraph
    ```sh ... ```              ```sh ... ```            code with the same code: no pair, but a fixed point

The lattice weighs all monotone alignments of the two pages' blocks at once. Where parts of the Chinese page are already
paired through comments, their English holds the alignment in place, and only the rest is paired here. Pages that
have gone out of step give fewer pairs, not wrong ones: a bead must be sure among its rivals.
"""

from collections.abc import Sequence

import numpy as np

from doctune.alignment.candidates import PageAlignment, candidate
from doctune.alignment.comments import Section
from doctune.alignment.lattice import Bead, align, chance
from doctune.alignment.likeness import Item, Table, items, tables
from doctune.markdown import TEXT_KINDS, Block
from doctune.text import flatten, has_cjk

KINDS = TEXT_KINDS | {"code", "shortcode"}
KNOWN_SAME, KNOWN_NEAR, KNOWN_OTHER = 12.0, 4.0, -8.0  # a comment's English against a block of the English page
NEAR = 80.0  # per cent of the characters of two English texts that agree when one is an edition of the other
MOST_CELLS = 6_000_000  # largest product of the two pages' blocks that is compared (about 2 GB); none of 1,500 real pages is half of it


def align_structure(
    english: Sequence[Block], chinese: Sequence[Block], known: PageAlignment, least: float
) -> PageAlignment:
    """Pair what `known` (the page's alignment by comments) left alone; `least` is the lowest score of a pair."""
    result = PageAlignment()
    en, zh = comparable(english), comparable(chinese)
    free = {b.start for b in zh if b.kind in TEXT_KINDS and has_cjk(b.text) and b.start not in known.english}
    if not en or not free:
        return result
    if len(en) * len(zh) > MOST_CELLS:
        result.drop("page_too_long", zh[0].first, len(free))
        return result
    source = items(en, "en")
    section = Section()
    partner = {bead.zh[0]: bead for bead in beads(source, zh, known)}
    for number, block in enumerate(zh):
        bead = partner.get(number)
        if block.kind == "heading":
            section.enter(block.level, source[bead.en[0]].text if bead else flatten(block.text, "zh"))
        if block.start in free and bead is None:
            result.drop("no_counterpart", block.first)
        elif block.start in free and bead is not None:
            if reason := _doubt(bead, source, zh, known):
                result.drop(reason, block.first)
                continue
            score = chance(bead)
            if score < least:
                result.drop("uncertain", block.first)
                continue
            sides = en[slice(*bead.en)], zh[slice(*bead.zh)]
            result.candidates.append(candidate(*sides, section.path, "structure", score))
    return result


def comparable(blocks: Sequence[Block]) -> list[Block]:
    """The blocks of a page that take part: text, and what stands verbatim on both sides."""
    return [block for block in blocks if block.kind in KINDS]


def beads(source: Sequence[Item], zh: Sequence[Block], known: PageAlignment) -> list[Bead]:
    """The alignment of all comparable blocks of two pages, the code and shortcodes among them."""
    one, two_en, two_zh = tables(source, items(zh, "zh"))
    _hold(one, source, zh, known)
    return align(one, two_en, two_zh)


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


def _doubt(bead: Bead, source: Sequence[Item], zh: Sequence[Block], known: PageAlignment) -> str | None:
    """Why a bead is no pair: it takes in a block that a comment explains, in another way or not at all."""
    blocks = zh[slice(*bead.zh)]
    if any(block.start in known.english or block.kind not in TEXT_KINDS for block in blocks):
        return "no_counterpart"
    under_comment = any(block.start in known.left_over for block in blocks)
    if under_comment and not all(item.text in known.unpaired for item in source[slice(*bead.en)]):
        return "out_of_date"  # what was translated stands in the comment, and today's English says something else
    return None
