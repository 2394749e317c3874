"""The numbers of a data card, out of pages, pairs, splits and the reports of the stages that made them.

facts = describe(pages, pairs, splits, Reports(crawl=..., align=..., split=...), renderings)

pages      (language, path) of each page
pairs      rows of pairs.jsonl; read once, a row at a time
splits     rows of each split by its name
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from doctune import renderings as several
from doctune.text import flatten, match_key, top_folder

Row = Mapping[str, Any]

QUANTILES = (5, 25, 50, 75, 95)
LENGTH_EDGES = (
    1,
    2,
    3,
    4,
    6,
    8,
    11,
    16,
    23,
    32,
    45,
    64,
    91,
    128,
    181,
    256,
    362,
    512,
    724,
    1024,
)  # doubled in two steps
RATIO_STEP = 0.05
RATIO_END = 2.0
SCORE_STEP = 0.05
SECTIONS = 20  # folders of the site with a line of their own


@dataclass(frozen=True)
class Reports:
    """The reports of crawl, align and split, as plain data."""

    crawl: Mapping[str, Any]
    align: Mapping[str, Any]
    split: Mapping[str, Any]


def describe(
    pages: Iterable[tuple[str, str]],
    pairs: Iterable[Row],
    splits: Mapping[str, Iterable[Row]],
    reports: Reports,
    found: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Everything that the card says, as plain data; `found` is what `renderings.renderings` made of the same pairs."""
    corpus = _corpus(pairs)
    return {
        "source": {name: value for name, value in reports.crawl.items() if isinstance(value, str)},
        "pages": dict(reports.align["pages"]),
        "blocks": dict(reports.align.get("seen", {})),
        "dropped": dict(reports.align.get("dropped", {})),
        "masked": dict(reports.align.get("masked", {})),
        "pairs": corpus.pairs,
        "lengths": corpus.lengths,
        "scores": corpus.scores,
        "histograms": corpus.histograms,
        "splits": {name: _split(rows) for name, rows in splits.items()},
        "removed": dict(reports.split.get("removed", {})),
        "leakage": dict(reports.split.get("leakage", {})),
        "renderings": several.count(found),
        "sections": _sections(pages, corpus.by_page),
    }


@dataclass(frozen=True)
class _Corpus:
    pairs: dict[str, Any]
    lengths: dict[str, dict[str, float]]
    scores: dict[str, dict[str, float]]
    histograms: dict[str, list[dict[str, Any]]]
    by_page: Counter[str]


def _corpus(pairs: Iterable[Row]) -> _Corpus:
    lengths: dict[str, list[float]] = {"en": [], "zh": [], "zh_per_en": []}
    scores: dict[str, list[float]] = defaultdict(list)
    kinds: Counter[tuple[str, str]] = Counter()
    by_page: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    both: Counter[tuple[str, str]] = Counter()
    for pair in pairs:
        en, zh = flatten(pair["en"], "en"), flatten(pair["zh"], "zh")
        lengths["en"].append(len(en))
        lengths["zh"].append(len(zh))
        lengths["zh_per_en"].append(len(zh) / max(1, len(en)))
        scores[pair["method"]].append(pair["score"])
        kinds[pair["kind"], pair["method"]] += 1
        by_page[pair["page"]] += 1
        source = match_key(en)
        sources[source] += 1
        both[source, match_key(zh)] += 1
    total = kinds.total()
    return _Corpus(
        pairs={
            "total": total,
            "distinct": len(both),
            "distinct_sources": len(sources),
            "repeats": round(1 - len(both) / total, 4) if total else 0.0,
            "most_frequent": max(both.values(), default=0),
            "by_kind_and_method": [
                {"kind": kind, "method": method, "pairs": count} for (kind, method), count in sorted(kinds.items())
            ],
        },
        lengths={name: _quantiles(values, 2 if name == "zh_per_en" else 0) for name, values in lengths.items()},
        scores={method: _quantiles(values, 3) for method, values in sorted(scores.items())},
        histograms={
            "lengths": _length_histogram(lengths["en"], lengths["zh"]),
            "ratio": _histogram(lengths["zh_per_en"], RATIO_STEP, RATIO_END, "ratio"),
            "scores": _histogram([s for values in scores.values() for s in values], SCORE_STEP, 1.0, "score"),
        },
        by_page=by_page,
    )


def _quantiles(values: Sequence[float], digits: int) -> dict[str, float]:
    """Mean, quantiles and largest; whole numbers where digits is 0 (but for the mean)."""
    import numpy as np

    if not values:
        return {}
    cuts = np.percentile(np.asarray(values, dtype=np.float64), QUANTILES, method="nearest")
    named = {f"p{q:02}": _rounded(float(cut), digits) for q, cut in zip(QUANTILES, cuts, strict=True)}
    mean = round(float(np.mean(values)), max(digits, 1))
    return {"mean": mean, **named, "most": _rounded(float(max(values)), digits)}


def _rounded(value: float, digits: int) -> float:
    return round(value, digits) if digits else int(value)


def _length_histogram(en: Sequence[float], zh: Sequence[float]) -> list[dict[str, Any]]:
    """Share of texts of each language by length; `characters` is the least of its bin."""
    import numpy as np

    edges = [*LENGTH_EDGES, np.inf]
    counted = {name: np.histogram(values, edges)[0] for name, values in (("en", en), ("zh", zh))}
    total = max(1, len(en))
    return [
        {"characters": least, **{name: round(int(counts[i]) / total, 5) for name, counts in counted.items()}}
        for i, least in enumerate(LENGTH_EDGES)
    ]


def _histogram(values: Sequence[float], step: float, end: float, name: str) -> list[dict[str, Any]]:
    """How many values in each step, named by its middle; the last holds whatever lies beyond the end, too."""
    import numpy as np

    bins = round(end / step)
    inside = np.clip(np.asarray(values, dtype=np.float64), 0, end - step / 2)
    counts, _ = np.histogram(inside, bins, (0, end))
    return [{name: round((i + 0.5) * step, 4), "pairs": int(count)} for i, count in enumerate(counts)]


def _split(rows: Iterable[Row]) -> dict[str, Any]:
    kinds: Counter[str] = Counter()
    pages: set[str] = set()
    en = zh = 0
    for row in rows:
        kinds[row["kind"]] += 1
        pages.add(row["page"])
        en += len(row["en"])
        zh += len(row["zh"])
    return {
        "rows": kinds.total(),
        "pages": len(pages),
        "characters_en": en,
        "characters_zh": zh,
        "by_kind": dict(sorted(kinds.items())),
    }


def _sections(pages: Iterable[tuple[str, str]], pairs_by_page: Mapping[str, int]) -> list[dict[str, Any]]:
    """Pages and pairs of each top folder, most pairs first; the small ones together as the last."""
    paths: dict[str, set[str]] = {"en": set(), "zh": set()}
    for lang, path in pages:
        paths[lang].add(path)
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for path in paths["en"] | paths["zh"] | set(pairs_by_page):
        line = table[top_folder(path)]
        line["english"] += path in paths["en"]
        line["chinese"] += path in paths["zh"]
        line["both"] += path in paths["en"] and path in paths["zh"]
        line["pairs"] += pairs_by_page.get(path, 0)
    ordered = sorted(table.items(), key=lambda item: (-item[1]["pairs"], item[0]))
    others = sum((line for _, line in ordered[SECTIONS:]), Counter[str]())
    named = ordered[:SECTIONS] + ([(f"({len(ordered) - SECTIONS} others)", others)] if len(ordered) > SECTIONS else [])
    return [
        {"section": name, **{key: line[key] for key in ("english", "chinese", "both", "pairs")}} for name, line in named
    ]
