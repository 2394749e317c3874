"""A page cut into spans that Markdown must not look into, and the prose between them.

    source = "<!-- hi -->\\n{{< note >}}\\n你好\\n"
    [(span.kind, source[span.start : span.end]) for span in cut(source, 0, len(source))]
    # [("comment", "<!-- hi -->"), ("shortcode", "{{< note >}}"), ("prose", "\\n你好\\n")]

CommonMark knows nothing of Hugo's front matter and shortcodes, nor of `:::` containers (Docusaurus, VitePress), and an
HTML comment in the middle of a list or table means something else to it than to a translator. So these are cut out
first; what is left is plain CommonMark.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Shortcodes that stand for words inside a sentence; any other one alone on its line is a block of its own.
INLINE_SHORTCODES = frozenset(
    (
        "glossary_tooltip",
        "skew",
        "param",
        "heading",
        "link",
        "ref",
        "relref",
        "api-reference",
        "release-branch",
        "latest-version",
        "latest-semver",
        "version-check",
        "page-api-reference",
        "example",
    )
)
# Shortcodes that wrap or stand for blocks: they end a paragraph even with text on the same line.
BLOCK_SHORTCODES = frozenset(
    (
        "note",
        "caution",
        "warning",
        "alert",
        "tabs",
        "tab",
        "table",
        "details",
        "comment",
        "toc",
        "feature-state",
        "mermaid",
        "highlight",
        "code_sample",
        "codenew",
        "include",
        "figure",
        "glossary_definition",
        "thirdparty-content",
        "tutorials",
    )
)
# Shortcodes whose content is not text to translate; they are cut out with it.
OPAQUE_SHORTCODES = frozenset(("mermaid", "highlight", "comment", "code"))


@dataclass(frozen=True)
class Span:
    """`source[start:end]` (offsets in characters); kind is front_matter, comment, code, shortcode or prose."""

    kind: str
    start: int
    end: int


_FRONT_MATTER = re.compile(r"\ufeff?---[ \t]*\n(.*?)(?:^---[ \t]*(?:\n|\Z))", re.S | re.M)
_STOP = re.compile(
    r"(?P<fence>^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(?P<mark>`{3,}(?=[^`\n]*$)|~{3,}))"
    r"|(?P<container>^[ \t>]*:{3,}[^:\n]*$)"
    r"|(?P<comment><!--)"
    r"|(?P<ticks>`+)"
    r"|(?P<shortcode>\{\{[<%]\s*+(?P<closing>/?)\s*+(?P<name>[\w-]++)(?:\"[^\"]*\"|`[^`]*`|[^\"`{}])*?[%>]\}\})"
    r"|(?P<raw><(?P<tag>pre|script|style)\b)",
    re.M | re.I,
)
_CODE_LIMIT = re.compile(r"\n[ \t]*(?:\n|<!--)")


def front_matter(source: str) -> Span | None:
    """The block between `---` lines at the very top of a page, if there is one."""
    match = _FRONT_MATTER.match(source)
    return Span("front_matter", match.start(), match.end()) if match else None


def cut(source: str, start: int, end: int) -> list[Span]:
    """Spans of `source[start:end]` in order; what lies between two of them is white space only."""
    spans: list[Span] = []
    prose = start
    for span in _opaque(source, start, end):
        _add_prose(spans, source, prose, span.start)
        spans.append(span)
        prose = span.end
    _add_prose(spans, source, prose, end)
    return spans


def _add_prose(spans: list[Span], source: str, start: int, end: int) -> None:
    if start < end and not source[start:end].isspace():
        spans.append(Span("prose", start, end))


def _opaque(source: str, start: int, end: int) -> Iterator[Span]:
    at = start
    while match := _STOP.search(source, at, end):
        at = match.end()
        if match["comment"]:
            closing = source.find("-->", at, end)
            at = end if closing < 0 else closing + 3
            yield Span("comment", match.start(), at)
        elif match["container"]:
            yield Span(
                "shortcode", match.start() + len(match["container"]) - len(match["container"].lstrip(" \t>")), at
            )
        elif match["fence"]:
            at = _fence_end(source, match, end)
            yield Span("code", match.start("mark"), at)
        elif match["ticks"]:
            at = _code_end(source, match, end)
        elif match["raw"]:
            close = re.compile(f"</{match['tag']}[^>]*>", re.I).search(source, at, end)
            at = close.end() if close else end
            yield Span("code", match.start(), at)
        elif _is_block(source, match, start, end):
            if match["name"] in OPAQUE_SHORTCODES and not match["closing"]:
                close = re.compile(r"\{\{[<%]\s*/\s*" + match["name"] + r"\s*[%>]\}\}").search(source, at, end)
                at = close.end() if close else at
            yield Span("shortcode", match.start(), at)


def _fence_end(source: str, match: re.Match[str], end: int) -> int:
    mark = match["mark"]
    close = re.compile(rf"^[ \t>]*{re.escape(mark[0])}{{{len(mark)},}}[ \t]*$", re.M).search(source, match.end(), end)
    return close.end() if close else end


def _code_end(source: str, match: re.Match[str], end: int) -> int:
    """End of an inline code span, or of the backticks alone when no run as long closes it in the same paragraph."""
    ticks = match["ticks"]
    limit = _CODE_LIMIT.search(source, match.end(), end)
    close = re.compile(rf"(?<!`){ticks}(?!`)").search(source, match.end(), limit.start() if limit else end)
    return close.end() if close else match.end()


def _is_block(source: str, match: re.Match[str], start: int, end: int) -> bool:
    name = match["name"]
    if name in BLOCK_SHORTCODES:
        return True
    if name in INLINE_SHORTCODES:
        return False
    line_start = max(source.rfind("\n", start, match.start()) + 1, start)
    line_end = source.find("\n", match.end(), end)
    after = source[match.end() : end if line_end < 0 else line_end].strip()
    return not source[line_start : match.start()].strip() and (not after or after.startswith("{{"))
