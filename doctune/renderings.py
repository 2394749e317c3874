"""English strings that a site renders in more than one way in Chinese, for the people who keep it consistent.

    renderings([{"en": "Options", "zh": "选项", "page": "a.md", "zh_lines": [3, 3]}, ...])[0]
    # {"en": "Options", "count": 128, "spread": 1.9, "differ": "wording",
    #  "renderings": [{"zh": "选项", "count": 90, "places": ["a.md:3", ...]}, {"zh": "参数选项", "count": 38, ...}]}

The spread is how many renderings are in use, in effect: 1 when nearly all places agree, 2 when two share them equally
(the exponential of the entropy of their shares). It counts wordings; where spacing, punctuation or markup alone differ
it is 1 and the entry says so: `differ` is "marks".
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from doctune.tables import literal, markdown_table
from doctune.text import flatten, match_key

_LISTED = 100  # strings in the Markdown table, of those that differ in wording
_LISTED_MARKS = 25
_SHOWN = 5  # renderings of a string
_LONGEST = 160  # characters of a text


def renderings(pairs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The English strings of `pairs` (as in pairs.jsonl) that have several renderings, widest spread first.

    Strings are told apart by their text on one line, Chinese normalised; places are `page:line` of the Chinese.
    """
    seen: dict[str, dict[str, list[str]]] = {}
    for pair in pairs:
        places = seen.setdefault(flatten(pair["en"], "en"), {}).setdefault(flatten(pair["zh"], "zh"), [])
        places.append(f"{pair['page']}:{pair['zh_lines'][0]}")
    found = [_entry(en, places) for en, places in seen.items() if len(places) > 1]
    return sorted(found, key=lambda entry: (-entry["spread"], -entry["count"], entry["en"]))


def _entry(en: str, places: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    wordings: Counter[str] = Counter()
    for zh, where in places.items():
        wordings[match_key(zh)] += len(where)
    ordered = sorted(places.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        "en": en,
        "count": wordings.total(),
        "spread": _spread(wordings.values()),
        "differ": "wording" if len(wordings) > 1 else "marks",
        "renderings": [{"zh": zh, "count": len(where), "places": list(where)} for zh, where in ordered],
    }


def _spread(counts: Iterable[int]) -> float:
    counts = list(counts)
    total = sum(counts)
    return round(math.exp(-sum(n / total * math.log(n / total) for n in counts)), 2)


def count(found: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many strings differ, in what, and in how many places they stand."""
    differ = Counter(entry["differ"] for entry in found)
    return {
        "strings": len(found),
        "differ_in_wording": differ["wording"],
        "differ_in_marks": differ["marks"],
        "places": sum(entry["count"] for entry in found),
    }


def markdown(found: Sequence[Mapping[str, Any]]) -> str:
    """The top of the list for reading; renderings.jsonl beside it has all of them with all places."""
    counts = count(found)
    wording = [entry for entry in found if entry["differ"] == "wording"]
    marks = [entry for entry in found if entry["differ"] == "marks"]
    parts = [
        "# English with more than one Chinese rendering",
        "",
        f"{counts['strings']:,} English strings have several Chinese renderings, in {counts['places']:,} places: "
        f"{counts['differ_in_wording']:,} differ in wording, {counts['differ_in_marks']:,} only in spacing, punctuation or markup. "
        "Spread says how many renderings are in use, in effect: 1 when nearly all places agree, 2 when two share them equally. "
        "All of them with all places: `renderings.jsonl`.",
        "",
        f"## Wording: the {min(len(wording), _LISTED):,} with the widest spread",
        "",
        _table(wording[:_LISTED]) if wording else "None.",
        "",
        f"## Spacing, punctuation, markup: the {min(len(marks), _LISTED_MARKS):,} most frequent",
        "",
        _table(marks[:_LISTED_MARKS]) if marks else "None.",
    ]
    return "\n".join(parts) + "\n"


def _table(entries: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for entry in entries:
        shown = [
            f"{literal(item['zh'], _LONGEST)} ({item['count']:,}: {literal(item['places'][0])})"
            for item in entry["renderings"][:_SHOWN]
        ]
        left = len(entry["renderings"]) - len(shown)
        shown += [f"and {left:,} more"] if left else []
        rows.append((f"{entry['spread']:.2f}", literal(entry["en"], _LONGEST), "<br>".join(shown)))
    return markdown_table(("spread", "English", "Chinese (places: the first)"), rows)
