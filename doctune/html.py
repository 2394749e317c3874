"""Text runs of HTML inside Markdown: what stands between block tags, and whether it is a cell, an item or a heading.

    tags = OpenTags()
    source = "<td><p>Pod 的 <code>名称</code></p></td>"
    [source[a:b] for a, b in runs(source, 0, len(source), tags)]        # ["Pod 的 <code>名称</code>"]
    tags.kind                                                           # "" again after </td>

Regular expressions, as a passage is a fragment: its tags may open before it and close after it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_KINDS = {
    "td": "table_cell",
    "th": "table_cell",
    "li": "list_item",
    "dd": "paragraph",
    "dt": "paragraph",
    "caption": "paragraph",
}
_KINDS |= {f"h{level}": "heading" for level in range(1, 7)}
_SCOPES = frozenset(("table", "ul", "ol", "dl"))
_CLOSED_BY = {  # an open tag that the next one closes without a closing tag
    "td": ("td", "th"),
    "th": ("td", "th"),
    "tr": ("td", "th"),
    "li": ("li",),
    "dt": ("dt", "dd"),
    "dd": ("dt", "dd"),
}
BLOCK_TAGS = frozenset(
    (
        "table",
        "thead",
        "tbody",
        "tfoot",
        "tr",
        "td",
        "th",
        "caption",
        "colgroup",
        "col",
        "p",
        "div",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "blockquote",
        "section",
        "article",
        "header",
        "footer",
        "nav",
        "details",
        "summary",
        "figure",
        "figcaption",
        "form",
        "center",
        "main",
        "aside",
        "iframe",
    )
)
_INLINE_TAGS = frozenset(
    (
        "code",
        "a",
        "b",
        "i",
        "em",
        "strong",
        "tt",
        "span",
        "sup",
        "sub",
        "small",
        "kbd",
        "var",
        "font",
        "u",
        "big",
        "del",
        "s",
        "q",
        "cite",
        "abbr",
        "samp",
        "mark",
    )
)
# Possessive, so that thousands of stray backticks or brackets cost a scan and not its square.
_TAG = re.compile(
    r"(?P<ticks>(?<!`)`++)(?:[^`\n]++|\n(?!\s*\n)|(?!(?P=ticks)(?!`))`++)*+(?P=ticks)(?!`)"
    r"|<(?P<close>/?)(?P<name>[A-Za-z][A-Za-z0-9]*+)(?P<rest>(?:\s(?:\{\{<[^{}]*>\}\}|[^<>])*+|/)?)>"
)
_LEADING = re.compile(r"(?:\s|<br */?>|</[A-Za-z][^<>]*>|<a (?:name|id)=\"[^\"]*\">\s*</a>)+", re.I)
_TRAILING = re.compile(
    r"(?:\s|<br */?>|<(?:code|a|b|i|em|strong|tt|span|sup|sub|small|kbd|var|font|u)(?:\s[^<>]*)?>)+\Z", re.I
)


@dataclass
class OpenTags:
    """The open HTML elements that give their text a kind, at one place of a page."""

    stack: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """table_cell, list_item, heading, paragraph (in a definition list) or "" outside of all."""
        return _KINDS.get(self.stack[-1], "") if self.stack else ""

    def feed(self, name: str, closing: bool) -> None:
        if closing:
            if name in self.stack:
                del self.stack[len(self.stack) - 1 - self.stack[::-1].index(name) :]
            return
        while self.stack and self.stack[-1] in _CLOSED_BY.get(name, ()):
            self.stack.pop()
        if name in _KINDS or name in _SCOPES:
            self.stack.append(name)


def is_html(text: str) -> bool:
    """True when `text` holds a block tag, or closes an inline tag that it did not open: no plain paragraph."""
    opened: list[str] = []
    for match in _TAG.finditer(text):
        name = (match["name"] or "").lower()
        if name in BLOCK_TAGS:
            return True
        if name in _INLINE_TAGS and not (match["rest"] or "").endswith("/"):
            if not match["close"]:
                opened.append(name)
            elif name in opened:
                opened.remove(name)
            else:
                return True
    return False


def runs(source: str, start: int, end: int, tags: OpenTags) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each run of text between block tags in `source[start:end]`; `tags` is kept up to date.

    Inline tags stay inside a run when they are balanced; a closing one whose opening lies before the run ends it.
    """
    begin = start
    opened: list[str] = []
    for match in _TAG.finditer(source, start, end):
        name = (match["name"] or "").lower()
        closing = bool(match["close"])
        if name in BLOCK_TAGS:
            yield from _trimmed(source, begin, match.start())
            tags.feed(name, closing)
        elif name not in _INLINE_TAGS or (match["rest"] or "").endswith("/"):
            continue
        elif not closing:
            opened.append(name)
            continue
        elif name in opened:
            opened.remove(name)
            continue
        else:
            yield from _trimmed(source, begin, match.start())
        begin = match.end()
        opened = []
    yield from _trimmed(source, begin, end)


def _trimmed(source: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    if head := _LEADING.match(source, start, end):
        start = head.end()
    if start < end and (tail := _TRAILING.search(source[start:end])):
        end = start + tail.start()
    if start < end:
        yield start, end
