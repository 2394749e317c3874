"""The site's own glossary as a task of its own: a term is asked, its rendering answered.

    terms([{"page": "reference/glossary/taint.md", "kind": "title", "en": "Taint", "zh": "污点", ...}], params)
    # [{"page": "reference/glossary/taint.md", "kind": "term", "en": "Taint", "zh": "污点", "task": "term", "weight": 2.0, ...}]

A glossary page is about one term, which is its title. Terms are taken from rows that are in train already, so one of a test
or validation page, or one whose title these hold elsewhere, is never among them.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from doctune.extra.params import TERM_CHARS, ExtraParams
from doctune.files import hash_text

SOURCE = "the site's glossary"  # no name of a source in extra.sources: those are slugs
_ENDS = (".", "!", "?", "。", "！", "？")

Row = dict[str, Any]


def terms(train: Iterable[Row], params: ExtraParams) -> list[Row]:
    """An extra row for each train page of `params.glossary` whose title is in train; descriptions are no terms."""
    found: dict[str, Row] = {}
    for row in sorted(train, key=lambda row: (row["page"], row.get("zh_lines") or [], row["id"])):
        if row["kind"] == "title" and any(fnmatchcase(row["page"], glob) for glob in params.glossary) and _is_term(row):
            found.setdefault(row["page"], row)
    return [
        {
            **row,
            "id": hash_text("term", row["id"])[:20],
            "kind": "term",
            "task": "term",
            "weight": params.glossary_weight,
            "synthetic": False,
            "source": SOURCE,
        }
        for row in found.values()
    ]


def _is_term(row: Row) -> bool:
    return all(len(row[side]) <= TERM_CHARS and not row[side].rstrip().endswith(_ENDS) for side in ("en", "zh"))
