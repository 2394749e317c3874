"""Whole Markdown pages: the rules on their prose, findings with the page's own lines and columns.

    findings = lint_page("---\\ntitle: 您好\\n---\\n\\n```\\n您\\n```\\n")        # one, in the title
    place("...", findings[0].start)                                           # (2, 8): line and column, from 1

Prose is what doctune.markdown calls so, and the titles and descriptions of the front matter. Lines may end as on any
system, and a mended page's still do.
"""

import re
from bisect import bisect_left
from dataclasses import replace

from doctune.lint.rules import Finding, lint, mend
from doctune.markdown import TEXT_KEYS, TEXT_KINDS, Document

_TEXT_KEY = re.compile(rf"^(?:{'|'.join(TEXT_KEYS)}):[ \t]*(?P<value>[^\n>|].*)$", re.M)
_LINE_END = re.compile(r"\r\n?|\n")
_TURNS = 4  # fixes that overlapped another one come in the next turn


def lint_page(source: str) -> list[Finding]:
    """Findings with offsets into `source`, in order."""
    page = Document(source)
    out: list[Finding] = []
    for block in page.blocks():
        if block.kind in TEXT_KINDS:
            out += _moved(lint(page.source[block.start : block.end]), block.start)
        elif block.kind == "front_matter":
            for match in _TEXT_KEY.finditer(page.source, block.start, block.end):
                out += _moved(lint(match["value"]), match.start("value"))
    return _in_file(out, source)


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
    ends = [match.end() for match in _LINE_END.finditer(source, 0, offset)]
    return len(ends) + 1, offset - (ends[-1] if ends else 0) + 1


def _moved(findings: list[Finding], by: int) -> list[Finding]:
    return [replace(found, start=found.start + by, end=found.end + by) for found in findings]


def _in_file(findings: list[Finding], source: str) -> list[Finding]:
    """Findings of the page with the offsets that they have in its file, where a line may end in two characters."""
    long = [match.start() - number for number, match in enumerate(re.finditer("\r\n", source))]  # these, in the page
    return [
        replace(found, start=found.start + bisect_left(long, found.start), end=found.end + bisect_left(long, found.end))
        for found in findings
    ]
