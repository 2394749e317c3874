"""Pairs from a zh-cn page whose English stands in comments before the Chinese that translates it.

    <!--
    ## Taints {#taints}                  heading   -> ## 污点 {#taints}
    A taint repels Pods.                 paragraph -> 污点会排斥 Pod。
    -->
    ## 污点 {#taints}
    污点会排斥 Pod。

A passage is everything from a comment (or several in a row with no Chinese between) to the next one. Comments that are
no English text (section markers, editors' notes) are recognised and counted, and front matter repeated in a comment is
paired with the page's own by key.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from doctune.alignment.blocks import align_blocks
from doctune.alignment.candidates import PageAlignment, candidate
from doctune.alignment.evidence import features
from doctune.alignment.titles import is_front_matter
from doctune.markdown import TEXT_KINDS, Block, Document
from doctune.text import flatten, has_cjk

SECTION_MARKERS = frozenset(
    ("overview", "body", "steps", "discussion", "more", "objectives", "prerequisites", "lessoncontent", "cleanup")
    + (
        "whatsnext",
        "synopsis",
        "options",
        "seealso",
        "toc",
        "before you begin",
        "see also",
        "what's next",
        "next steps",
    )
)
_EDITORIAL = re.compile(
    r"\s*(?:todo|fixme|note to |markdownlint|vale |copyright|auto-?generated|the file is auto)", re.I
)


@dataclass
class _Passage:
    en: list[Block] = field(default_factory=list)
    zh: list[Block] = field(default_factory=list)
    start: int = 0  # where the last comment's blocks begin in `en`
    inline: bool = False  # the comment stands inside a line: only the first Chinese run is its translation


def align_comments(page: Document, blocks: list[Block], least: float) -> PageAlignment:
    """Align one zh-cn page with the English in its comments. Never fails: what cannot be read is counted."""
    result = PageAlignment()
    section = Section()
    for passage in _passages(page, blocks, result):
        _align_passage(passage, section, least, result)
    return result


def _passages(page: Document, blocks: list[Block], result: PageAlignment) -> Iterator[_Passage]:
    passage: _Passage | None = None
    for number, block in enumerate(blocks):
        if block.kind == "comment":
            result.counts["comments"] += 1
            if not page.source.endswith("-->", block.start, block.end):
                result.drop("unclosed_comment", block.first)
                continue
            if number == 1 and is_front_matter(block.text):
                result.counts["front_matter_comments"] += 1
                continue
            if _is_marker(page, block):
                result.counts["marker_comments"] += 1
                continue
            inside = [b for b in page.inside(block) if b.kind in TEXT_KINDS]
            if not inside:
                result.counts["comments_without_text"] += 1
                continue
            result.counts["english_blocks"] += len(inside)
            if passage is None or passage.inline or any(has_cjk(b.text) for b in passage.zh):
                if passage is not None:
                    yield passage
                passage = _Passage()
            passage.start = len(passage.en)
            passage.en += inside
            passage.inline = _is_inline(page, block)
        elif block.kind in TEXT_KINDS:
            result.counts["chinese_blocks"] += has_cjk(block.text)
            if passage is None:
                passage = _Passage()
            passage.zh.append(block)
    if passage is not None:
        yield passage


def _is_marker(page: Document, comment: Block) -> bool:
    text = comment.text.strip()
    if "\n" not in text and text.casefold() in SECTION_MARKERS:
        return not _is_inline(page, comment)
    return _EDITORIAL.match(text) is not None or not any(c.isalpha() for c in text)


def _is_inline(page: Document, comment: Block) -> bool:
    """True when text follows the comment on its last line."""
    stop = page.source.find("\n", comment.end)
    rest = page.source[comment.end : stop if stop >= 0 else None].strip()
    return bool(rest) and not rest.startswith(("<", "{{"))


def _align_passage(passage: _Passage, section: "Section", least: float, result: PageAlignment) -> None:
    en = passage.en
    wholes = {flatten(b.text, "en") for b in en}
    zh = [b for b in passage.zh if has_cjk(b.text) or any(flatten(b.text, "en") in whole for whole in wholes)]
    if passage.inline:
        zh = zh[:1]
        if zh and _says_more(en, zh[0]):
            result.drop("inline_says_more", en[0].first, len(en))
            en, zh = [], []
    if not passage.en:
        result.counts["chinese_blocks_without_comment"] += sum(has_cjk(b.text) for b in zh)
    elif not en:
        pass
    elif not any(has_cjk(b.text) for b in zh):
        result.drop("no_chinese_after_comment", en[0].first, len(en))
        zh = []
    aligned = align_blocks(en, zh, passage.start, least)
    for number, reason in aligned.unmatched.items() if zh else ():
        result.drop(reason, en[number].first)
    partner = {match.zh[0]: match for match in aligned.matches}
    kept = {id(b): n for n, b in enumerate(zh)}
    if aligned.unmatched:
        result.left_over.update(block.start for block in zh)
        result.unpaired.update(flatten(en[number].text, "en") for number in aligned.unmatched)
    for block in passage.zh:
        match = partner.get(kept.get(id(block), -1))
        if block.kind == "heading":
            section.enter(block.level, flatten(en[match.en[0]].text, "en") if match else flatten(block.text, "zh"))
        if match:
            english, chinese = en[slice(*match.en)], zh[slice(*match.zh)]
            result.candidates.append(candidate(english, chinese, section.path, "comment", match.confidence))
            for other in chinese:
                result.english[other.start] = flatten("\n\n".join(b.text for b in english), "en")
                result.left_over.discard(other.start)


def _says_more(en: list[Block], zh: Block) -> bool:
    """True when an inline passage goes on after the translation with a value: `<!--Default:-->默认值：0.0.0.0`."""
    if en[-1].text.rstrip().endswith(":") and not zh.text.rstrip().endswith((":", "：")):
        return True
    known = frozenset[str]().union(*(features(b.text, "en").words | features(b.text, "en").anchors for b in en))
    found = features(zh.text, "zh")
    return bool((found.words | found.anchors) - known)


class Section:
    """The path of headings above a block, English where it is known: "Concepts > Taints"."""

    def __init__(self) -> None:
        self._stack: list[tuple[int, str]] = []

    def enter(self, level: int, text: str) -> None:
        while self._stack and self._stack[-1][0] >= level:
            self._stack.pop()
        self._stack.append((level, text))

    @property
    def path(self) -> str:
        return " > ".join(text for _, text in self._stack)
