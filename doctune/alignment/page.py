"""One page in two languages, aligned: front matter, comments, then structure for what these leave.

    pairs, account = align_page("concepts/pods.md", chinese, english, params)

A page is aligned on its own, whatever other pages there are, so its pairs can be kept and used again.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

from doctune.alignment.candidates import Candidate, PageAlignment
from doctune.alignment.comments import align_comments
from doctune.alignment.params import AlignParams
from doctune.alignment.sentences import leaves_out, sentence_pairs
from doctune.alignment.structure import align_structure, is_free
from doctune.alignment.titles import front_matter_pairs
from doctune.cleaning import mask, reason_to_drop
from doctune.files import hash_text
from doctune.markdown import Document

Pair = dict[str, Any]


def align_page(path: str, chinese: str, english: str | None, params: AlignParams) -> tuple[list[Pair], PageAlignment]:
    """Pairs of one page after cleaning, in the order of the Chinese text, and what was seen and left out.

    Without an English page only what stands in the Chinese page's comments is paired. Never fails: what cannot be read is
    counted.
    """
    page = Document(chinese)
    blocks = page.blocks()
    english_blocks = Document(english).blocks() if english is not None else []
    account = align_comments(page, blocks, params.min_score)
    parts = [front_matter_pairs(page, blocks, english_blocks), account]
    if english is not None:
        account.counts["inline_comments_left_to_structure"] += account.dropped.pop("inline_says_more", 0)
        account.examples = [place for place in account.examples if place[0] != "inline_says_more"]
        if any(is_free(block, account) for block in blocks):
            plain = page.without_comments(blocks)  # a comment inside a line leaves the line whole
            parts.append(align_structure(english_blocks, plain.blocks(), account, params.min_score))
    whole = PageAlignment()
    for part in parts:
        whole.add(part)
    if params.sentences:
        whole.candidates = [part for found in whole.candidates for part in _sentences(found, whole)]
    whole.candidates.sort(key=lambda found: (found.kind != "title", found.zh_lines))
    return _clean(path, whole, params), whole


def _sentences(found: Candidate, account: PageAlignment) -> list[Candidate]:
    parts, left = sentence_pairs(found.en, found.zh)
    if left:
        account.drop("sentence_without_counterpart", found.zh_lines[0], left)
    if len(parts) == 1 and parts[0][:2] == (found.en, found.zh):
        return [found]
    return [
        replace(found, en=en, zh=zh, method=f"{found.method}+sentence", score=round(found.score * score, 4))
        for en, zh, score in parts
    ]


def _clean(path: str, account: PageAlignment, params: AlignParams) -> list[Pair]:
    seen: Counter[tuple[str, str]] = Counter()
    pairs: list[Pair] = []
    for found in account.candidates:
        reason = "uncertain" if found.score < params.min_score else None
        reason = reason or reason_to_drop(found.en, found.zh, params.limits)
        if not reason and leaves_out(found.en, found.zh):
            reason = "sentence_left_out"
        if reason:
            account.drop(reason, found.zh_lines[0])
            continue
        en, zh, masked = mask(found.en, found.zh)
        account.masked.update(masked)
        pairs.append(_pair(path, replace(found, en=en, zh=zh), seen[en, zh]))
        seen[en, zh] += 1
    return pairs


def _pair(path: str, found: Candidate, occurrence: int) -> Pair:
    return {
        "id": hash_text(found.en, found.zh, path, str(occurrence))[:20],
        "en": found.en,
        "zh": found.zh,
        "page": path,
        "en_lines": list(found.en_lines),
        "zh_lines": list(found.zh_lines),
        "section": found.section,
        "kind": found.kind,
        "method": found.method,
        "score": found.score,
    }
