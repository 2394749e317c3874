"""The data card as Markdown, in the manner of the Hugging Face Hub: metadata on top, then what a user should know.

---
license: cc-by-4.0
language: [en, zh]
task_categories: [translation]
---
# kubernetes: English and Simplified Chinese documentation
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from doctune.tables import literal, markdown_table

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_ABOUT_SOURCE = ("source", "url", "tree", "ref", "revision")  # in this order, then whatever else the crawl says
_SAID_APART = ("name", "licence", "attribution")


def card_markdown(facts: Mapping[str, Any]) -> str:
    source = facts["source"]
    parts = [
        *_metadata(source, facts["pairs"]["total"]),
        f"# {source.get('name', 'corpus')}: English and Simplified Chinese documentation",
        "",
        f"{facts['pairs']['total']:,} pairs of text blocks ({facts['pairs']['distinct']:,} distinct) from "
        f"{facts['pages']['with_pairs']:,} pages of one documentation site, for training and judging a translator of that "
        "site. A pair is an English block and the Chinese one that people published as its translation.",
        "",
        "## Source",
        "",
        *_source(source),
        "",
        "## What is in it",
        "",
        "Each row has `id`, `en` and `zh` (Markdown as on the page), `page`, `en_lines`, `zh_lines`, `section`, `kind`, "
        "`method` (how the two were found) and `score` (how sure the alignment is, from 0 to 1).",
        "",
        _kinds(facts["pairs"]["by_kind_and_method"]),
        "",
        "![Pairs by kind and method](kinds.png)",
        "",
        f"{facts['pairs']['repeats']:.1%} of the pairs repeat another one (letters and digits alike); the most frequent "
        f"stands in {facts['pairs']['most_frequent']:,} places. There are {facts['pairs']['distinct_sources']:,} distinct "
        "English texts.",
        "",
        "### Lengths",
        "",
        "Characters of a text on one line, and Chinese characters for one English one.",
        "",
        _quantiles(
            "",
            {
                "English": facts["lengths"]["en"],
                "Chinese": facts["lengths"]["zh"],
                "ratio": facts["lengths"]["zh_per_en"],
            },
        ),
        "",
        "![Lengths](lengths.png)",
        "![Length ratio](ratio.png)",
        "",
        "### Scores",
        "",
        _quantiles("method", facts["scores"]),
        "",
        "![Scores](scores.png)",
        "",
        "## What was left out",
        "",
        *_stages(facts),
        "",
        _counts(("reason", "blocks"), facts["dropped"]),
        "",
        "![Left out](dropped.png)",
        "",
        *_masked(facts["masked"]),
        "",
        "## Splits",
        "",
        _splits(facts["splits"]),
        "",
        "A page is in one split only. Removed to keep the splits apart and free of repeats:",
        "",
        _counts(("reason", "rows"), facts["removed"]),
        "",
        "Leakage, counted by other code than the splitter's (all but `rows` should be 0):",
        "",
        *_leakage(facts["leakage"]),
        "",
        "## Consistency of the translation",
        "",
        _consistency(facts["renderings"]),
        "",
        "## Sections of the site",
        "",
        _sections(facts["sections"]),
        "",
        "## Limits",
        "",
        "- The Chinese is what people published: it has their mistakes, and where a page is out of date the pair is, too.",
        "- Titles, headings and table cells are short and repeat; a score over all kinds is not a score of running text.",
        "- It is the language of one site. A model tuned on it is at its best there and on the site's next version.",
    ]
    return "\n".join(parts) + "\n"


def _metadata(source: Mapping[str, str], total: int) -> list[str]:
    size = next((name for most, name in _SIZES if total < most), "n>1M")
    return [
        "---",
        f"license: {json.dumps(source.get('licence', '').lower() or 'unknown')}",
        "language: [en, zh]",
        "task_categories: [translation]",
        f"size_categories: [{json.dumps(size)}]",
        f"pretty_name: {json.dumps(source.get('name', 'corpus'), ensure_ascii=False)}",
        "---",
        "",
    ]


def _source(source: Mapping[str, str]) -> list[str]:
    licence, attribution = source.get("licence"), source.get("attribution")
    about = [key for key in _ABOUT_SOURCE if key in source]
    about += [key for key in source if key not in (*_ABOUT_SOURCE, *_SAID_APART)]
    lines = [f"- {key}: {literal(source[key])}" for key in about if source[key]]
    lines.append(
        f"- licence of the pages: {literal(licence) if licence else 'not stated (`crawl.licence` in params.yaml)'}"
    )
    if attribution:
        lines.append(f"- attribution: {literal(attribution)}")
    if licence and licence.upper().startswith("CC-BY"):
        lines.append("- changes: pages were cut into blocks and paired; personal data was masked")
    return lines


def _kinds(rows: Sequence[Mapping[str, Any]]) -> str:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    counts = {(row["kind"], row["method"]): row["pairs"] for row in rows}
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    lines = [[*_cells(kind, (counts.get((kind, method), 0) for method in methods))] for kind in kinds]
    lines.append(_cells("all", (sum(counts.get((kind, method), 0) for kind in kinds) for method in methods)))
    return markdown_table(("kind", *map(literal, methods)), lines)


def _cells(name: str, numbers: Iterable[float]) -> list[str]:
    return [literal(name), *(f"{number:,}" for number in numbers)]


def _quantiles(name: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    header = list(next(iter(rows.values()), {}))
    return markdown_table((name, *header), [_cells(key, values.values()) for key, values in rows.items()])


def _stages(facts: Mapping[str, Any]) -> list[str]:
    pages, blocks = facts["pages"], facts["blocks"]
    steps = [
        ("English pages", pages["english"]),
        ("Chinese pages", pages["chinese"]),
        ("pages on both sides", pages["both"]),
        ("pages with pairs", pages["with_pairs"]),
        *((name.replace("_", " "), count) for name, count in blocks.items()),
        ("left out, all reasons", sum(facts["dropped"].values())),
        ("pairs", facts["pairs"]["total"]),
    ]
    return [markdown_table(("seen", "count"), [_cells(name, [count]) for name, count in steps])]


def _masked(masked: Mapping[str, int]) -> list[str]:
    if not masked:
        return ["Personal data: none was found. Pairs with keys or tokens of services are left out (reason `secret`)."]
    found = ", ".join(f"{count:,} {literal(kind)}" for kind, count in masked.items())
    return [f"Personal data: replaced on both sides of a pair ({found}); pairs with keys or tokens are left out."]


def _counts(header: tuple[str, str], counts: Mapping[str, Any]) -> str:
    rows = [_cells(name, [count]) for name, count in _flat(counts) if count]
    return markdown_table(header, rows) if rows else "Nothing."


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Numbers of nested mappings, named by their path; what is no number is left out."""
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((f"{prefix}{name}", value))
    return found


def _splits(splits: Mapping[str, Mapping[str, Any]]) -> str:
    kinds = sorted({kind for split in splits.values() for kind in split["by_kind"]})
    header = ("split", "rows", "pages", "English characters", "Chinese characters", *kinds)
    rows = [
        _cells(
            name,
            [
                *(split[key] for key in ("rows", "pages", "characters_en", "characters_zh")),
                *(split["by_kind"].get(kind, 0) for kind in kinds),
            ],
        )
        for name, split in splits.items()
    ]
    return markdown_table(header, rows)


def _leakage(leakage: Mapping[str, Any]) -> list[str]:
    """A line for each pair of splits; figures that stand alone are listed below."""
    nested = {name: dict(_flat(value)) for name, value in leakage.items() if isinstance(value, Mapping)}
    alone = _flat({name: value for name, value in leakage.items() if not isinstance(value, Mapping)})
    header = list(dict.fromkeys(key for values in nested.values() for key in values))
    parts = []
    if nested:
        rows = [[literal(name), *(f"{v[key]:,}" if key in v else "" for key in header)] for name, v in nested.items()]
        parts.append(markdown_table(("", *map(literal, header)), rows))
    parts += ["", *(f"- {literal(name)}: {value:,}" for name, value in alone)] if alone else []
    return parts or ["Not counted."]


def _consistency(counts: Mapping[str, int]) -> str:
    if not counts["strings"]:
        return "No English text has more than one Chinese rendering."
    return (
        f"{counts['strings']:,} English texts have more than one Chinese rendering, in {counts['places']:,} places: "
        f"{counts['differ_in_wording']:,} differ in wording, {counts['differ_in_marks']:,} in spacing, punctuation or markup only. "
        "The list, for the people who keep the translation consistent, is in `renderings.md` beside this folder."
    )


def _sections(rows: Sequence[Mapping[str, Any]]) -> str:
    keys = ("english", "chinese", "both", "pairs")
    header = ("folder", "English pages", "Chinese pages", "on both sides", "pairs")
    return markdown_table(header, [_cells(row["section"], [row[key] for key in keys]) for row in rows])
