"""Alignment: English and Chinese pages in, pairs of blocks and a report of everything left out.

    pairs, report = align_pages(rows, params)
    pairs[0]
    # {"id": "3f...", "en": "A taint repels Pods.", "zh": "污点会排斥 Pod。", "page": "concepts/taints.md",
    #  "en_lines": [9, 9], "zh_lines": [12, 12], "section": "Taints", "kind": "paragraph", "method": "comment",
    #  "score": 0.98}

`comments` finds the passages, `blocks` aligns the blocks of one, `evidence` judges two blocks, `titles` reads front
matter; `doctune.cleaning` says what is no training material. A page is aligned on its own (`page_pairs`), so its pairs
can be memoised.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field, model_validator

from doctune.alignment.comments import PageAlignment, align_page
from doctune.cleaning import Limits, mask, reason_to_drop
from doctune.errors import DoctuneError
from doctune.files import hash_text
from doctune.section import Section

__all__ = ["AlignParams", "align_pages", "page_pairs"]

EXAMPLES = 5  # places named in the report per reason


class AlignParams(Section):
    """Knobs of the align stage. Lengths are characters; ratios are Chinese to English characters that a reader sees."""

    min_score: float = Field(
        gt=0, lt=1, description="least confidence of a match where the shapes of the two sides differ"
    )
    max_chars: int = Field(gt=0, description="longest text of either side, joined to one line")
    min_ratio: float = Field(gt=0, description="least length ratio")
    max_ratio: float = Field(gt=0, description="largest length ratio")
    max_latin: float = Field(gt=0, le=1, description="largest share of Latin letters in Chinese prose")

    @model_validator(mode="after")
    def _ordered(self) -> "AlignParams":
        if self.min_ratio >= self.max_ratio:
            raise ValueError(f"min_ratio {self.min_ratio} must be below max_ratio {self.max_ratio}")
        return self

    @property
    def limits(self) -> Limits:
        return Limits(self.max_chars, self.min_ratio, self.max_ratio, self.max_latin)


Pair = dict[str, Any]


def page_pairs(path: str, text: str, params: AlignParams) -> tuple[list[Pair], PageAlignment]:
    """Pairs of one zh-cn page after cleaning, and what was seen and dropped on it."""
    page = align_page(text, params.min_score)
    seen: Counter[tuple[str, str]] = Counter()
    pairs: list[Pair] = []
    for candidate in page.candidates:
        reason = reason_to_drop(candidate.en, candidate.zh, params.limits)
        if reason:
            page.drop(reason, candidate.en_lines[0])
            continue
        en, zh, masked = mask(candidate.en, candidate.zh)
        page.masked.update(masked)
        pairs.append(
            {
                "id": hash_text(en, zh, path, str(seen[en, zh]))[:20],
                "en": en,
                "zh": zh,
                "page": path,
                "en_lines": list(candidate.en_lines),
                "zh_lines": list(candidate.zh_lines),
                "section": candidate.section,
                "kind": candidate.kind,
                "method": "comment",
                "score": candidate.score,
            }
        )
        seen[en, zh] += 1
    return pairs, page


def align_pages(pages: Iterable[Mapping[str, Any]], params: AlignParams) -> tuple[list[Pair], dict[str, Any]]:
    """Align all pages; rows hold `lang` ("en" or "zh"), `path` and `text`. Pairs come sorted by page, then by line.

    Raises DoctuneError when no pair is left. The report holds counts and places (page and line), never text.
    """
    paths: dict[str, set[str]] = {"en": set(), "zh": set()}
    chinese: dict[str, str] = {}
    for row in pages:
        paths[row["lang"]].add(row["path"])
        if row["lang"] == "zh":
            chinese[row["path"]] = row["text"]
    pairs: list[Pair] = []
    counts: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    masked: Counter[str] = Counter()
    examples: dict[str, list[dict[str, Any]]] = {}
    broken: list[dict[str, Any]] = []
    paired_pages = 0
    for path in sorted(chinese):
        found, page = page_pairs(path, chinese[path], params)
        pairs += found
        paired_pages += bool(found)
        counts += page.counts
        dropped += page.dropped
        masked += page.masked
        broken += [{"page": path, "line": line, "problem": problem} for line, problem in page.broken]
        for reason, line in page.examples:
            places = examples.setdefault(reason, [])
            if len(places) < EXAMPLES and not any(place["page"] == path for place in places):
                places.append({"page": path, "line": line})
    report = {
        "pages": {
            "english": len(paths["en"]),
            "chinese": len(paths["zh"]),
            "both": len(paths["en"] & paths["zh"]),
            "with_pairs": paired_pages,
        },
        "seen": dict(sorted(counts.items())),
        "pairs": {
            "total": len(pairs),
            "distinct": len({(pair["en"], pair["zh"]) for pair in pairs}),
            "by_kind": dict(sorted(Counter(pair["kind"] for pair in pairs).items())),
            "by_method": dict(sorted(Counter(pair["method"] for pair in pairs).items())),
        },
        "dropped": dict(dropped.most_common()),
        "masked": dict(sorted(masked.items())),
        "examples": dict(sorted(examples.items())),
        "broken_front_matter": broken,
    }
    if not pairs:
        raise DoctuneError(
            f"wanted pairs, got none from {len(paths['zh'])} Chinese and {len(paths['en'])} English pages "
            f"({counts['comments']} comments seen; dropped: {dict(dropped) or 'nothing'}); "
            "point crawl at pages whose English stands in comments before the Chinese, as in kubernetes/website"
        )
    return pairs, report
