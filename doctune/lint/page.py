"""Whole Markdown pages: the rules on their prose, findings with the page's own lines and columns.

    findings = lint_page("---\\ntitle: 您好\\n---\\n\\n```\\n您\\n```\\n")        # one, in the title
    place("...", findings[0].start)                                           # (2, 8): line and column, from 1

Prose is what doctune.markdown calls so, and the title and description of the front matter.
"""

import re
from dataclasses import replace

from doctune.lint.rules import Finding, lint, mend
from doctune.markdown import TEXT_KINDS, Document

_TEXT_KEY = re.compile(r"^(?:title|linkTitle|description):[ \t]*(?P<value>[^\n>|].*)$", re.M)
_TURNS = 4  # fixes that overlapped another one come in the next turn


def lint_page(source: str) -> list[Finding]:
    """Findings with offsets into `source`, in order."""
    out: list[Finding] = []
    for block in Document(source).blocks():
        if block.kind in TEXT_KINDS:
            out += _moved(lint(source[block.start : block.end]), block.start)
        elif block.kind == "front_matter":
            for match in _TEXT_KEY.finditer(source, block.start, block.end):
                out += _moved(lint(match["value"]), match.start("value"))
    return out


def fix_page(source: str) -> str:
    """The page with every finding mended that can be, so that none of those is found again."""
    for _ in range(_TURNS):
        mended = mend(source, lint_page(source))
        if mended == source:
            break
        source = mended
    return source


def place(source: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, both from 1."""
    return source.count("\n", 0, offset) + 1, offset - source.rfind("\n", 0, offset)


def _moved(findings: list[Finding], by: int) -> list[Finding]:
    return [replace(found, start=found.start + by, end=found.end + by) for found in findings]
