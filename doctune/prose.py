"""Plain CommonMark, with HTML in it, as leaves: the smallest blocks that hold text, each with where it stands.

    source = "- 绑定到*节点*\\n- 运行\\n"
    [(leaf.kind, leaf.text) for leaf in leaves(source, 0, len(source), OpenTags())]
    # [("list_item", "绑定到*节点*"), ("list_item", "运行")]

Structure is markdown-it-py's; its inline rules stay off, as text is kept raw. On top of CommonMark: tables (also rows
that lost their header to a comment), definition lists, `{#anchor}` and HTML cut into runs of text (doctune.html).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from doctune.html import OpenTags, is_html, runs

if TYPE_CHECKING:
    from markdown_it import MarkdownIt


@dataclass(frozen=True)
class Leaf:
    """A heading, paragraph, list_item (its first paragraph) or table_cell: raw text, and its source's offsets.

    level is a heading's, or how deep in lists the text stands; anchor is what `{#...}` after a heading says.
    """

    kind: str
    text: str
    start: int
    end: int
    level: int = 0
    anchor: str = ""


_ANCHOR = re.compile(  # `{running-the-job}`, its # forgotten, and the `{/*anchor*/}` of MDX, too
    r"\s*(?<!\{)\{(?:[#.:]|/\*(?=[^{}*]*\*/\})|(?=[a-z]\w*-[\w-]*\}))([^{}<>%*]*)(?:\*/)?\}\s*$"
)
_LOOSE_HEADING = re.compile(r"(#{2,6})(?=[^\s#\d])")
_LONE_MARKER = re.compile(r"\n[ \t>]*(?:[-*+]|\d{1,9}[.)]|#{1,6})[ \t]*\Z")
_STRUCTURE = re.compile(r"^[ \t]*(?:[-#>*+<|:=~`_]|\d{1,9}[.)])|\|", re.M)  # what may make lines more than paragraphs
_ROW = re.compile(r"\|.*\|[ \t]*$")


@lru_cache(maxsize=1)
def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    # Block structure only: inline content is kept raw, which also halves the time.
    return MarkdownIt("commonmark").enable("table").disable(["inline", "text_join", "code"], True).disable("reference")


def leaves(source: str, start: int, end: int, tags: OpenTags, in_row: bool = False) -> Iterator[Leaf]:
    """Leaves of `source[start:end]` in order. `tags` holds the open HTML elements there and is kept up to date.

    With in_row the text begins inside a table row, up to whose end it is cells.
    """
    if in_row:
        stop = source.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield from _cells(source, start, stop)
        start = stop
    if end < len(source) and source[end] != "\n" and (marker := _LONE_MARKER.search(source, start, end)):
        end = marker.start()  # of the item whose text begins after a comment; it would underline a heading
    lines = _dedented(source, start, end)
    text = "\n".join(source[a:b] for a, b in lines)
    if _STRUCTURE.search(text):
        yield from _structured(source, text, lines, tags)
        return
    for first, last in _paragraphs(lines):  # nothing but paragraphs: most passages, and no work for a parser
        a, b = _trim(source, lines[first][0], lines[last][1])
        content = "\n".join(source[x:y] for x, y in lines[first : last + 1]).strip()
        yield from _inline(source, content, "paragraph", 0, a, b, tags)


def _structured(source: str, text: str, lines: list[tuple[int, int]], tags: OpenTags) -> Iterator[Leaf]:
    parents: list[str] = []
    fresh = False  # the next paragraph is the first one of its list item
    cells = (-1, -1)  # the table row at hand (its first line), and where its last cell ended
    tokens = _markdown().parse(text)
    for index, token in enumerate(tokens):
        if token.type == "list_item_open":
            fresh = True
        if token.nesting == 1:
            parents.append(token.type)
        elif token.nesting == -1:
            parents.pop()
        elif token.type == "html_block" and token.map:
            yield from _html(
                source, lines[token.map[0]][0], lines[min(token.map[1], len(lines)) - 1][1], "paragraph", 0, tags
            )
        elif token.type == "inline" and token.map and token.content:
            start, end = lines[token.map[0]][0], lines[min(token.map[1], len(lines)) - 1][1]
            if parents[-1] in ("td_open", "th_open"):
                at = cells[1] if cells[0] == token.map[0] else start
                found = source.find(token.content, at, end)
                if found >= 0:  # not when a cell holds an escaped pipe, which the parser takes away
                    at, end = found, found + len(token.content)
                cells = token.map[0], end if found >= 0 else at
                yield Leaf("table_cell", token.content, at, cells[1] if found >= 0 else at)
                continue
            kind = "heading" if parents[-1] == "heading_open" else "list_item" if fresh else "paragraph"
            level = int(tokens[index - 1].tag[1:]) if kind == "heading" else parents.count("list_item_open")
            fresh = False
            yield from _inline(source, token.content, kind, level, *_trim(source, start, end), tags)


def _inline(source: str, content: str, kind: str, level: int, start: int, end: int, tags: OpenTags) -> Iterator[Leaf]:
    """The block or blocks of one leaf, whose source with block syntax before it is `source[start:end]`."""
    found = source.find(content.split("\n", 1)[0].strip(), start, end)
    start = found if found >= 0 else start
    if "<" in content and is_html(content):
        yield from _html(source, start, end, kind, level, tags)
    elif content.startswith("|") and all(_ROW.match(line.strip()) for line in content.split("\n")):
        yield from _cells(source, start, end)
    elif kind == "paragraph" and (loose := _LOOSE_HEADING.match(content)) and "\n" not in content:
        yield _heading(content[loose.end() :], start, end, len(loose[1]))
    elif kind == "heading":
        yield _heading(content, start, end, level)
    elif "\n:" in content:
        yield from _definitions(source, content, start, end, kind, level)
    else:
        yield Leaf(kind, _unindented(content), start, end, level)


def _heading(content: str, start: int, end: int, level: int) -> Leaf:
    anchor = _ANCHOR.search(content)
    text = content[: anchor.start()] if anchor else content
    return Leaf("heading", text.strip(), start, end, level, anchor[1].strip() if anchor else "")


def _html(source: str, start: int, end: int, kind: str, level: int, tags: OpenTags) -> Iterator[Leaf]:
    for a, b in runs(source, start, end, tags):
        yield Leaf(kind, _unindented(source[a:b]), a, b, level)
        kind, level = "paragraph", 0


def _cells(source: str, start: int, end: int) -> Iterator[Leaf]:
    """Cells of table rows that stand without the row of dashes."""
    at = start
    for stop in [*(m.start() for m in re.finditer(r"(?<!\\)\||\n", source[start:end])), end - start]:
        raw = source[at : start + stop]
        if raw.strip() and not re.fullmatch(r"\s*:?-+:?\s*", raw):
            left = at + len(raw) - len(raw.lstrip())
            yield Leaf("table_cell", raw.strip(), left, left + len(raw.strip()))
        at = start + stop + 1


def _definitions(source: str, content: str, start: int, end: int, kind: str, level: int) -> Iterator[Leaf]:
    """A definition list (`term`, then lines that begin with `: `), which CommonMark reads as one paragraph."""
    parts = re.split(r"\n[ \t]*:[ \t]+", content)
    at = start
    for number, part in enumerate(parts):
        stop = end if number == len(parts) - 1 else at
        if stop == at:
            opening = re.compile(r"\n[ \t>]*:[ \t]+").search(source, at, end)
            stop = opening.start() if opening else end
        yield Leaf(kind, _unindented(part), at, stop, level)
        at = opening.end() if number < len(parts) - 1 and opening else stop
        kind = "paragraph"


def _dedented(source: str, start: int, end: int) -> list[tuple[int, int]]:
    """(start, end) of each line of `source[start:end]` without the indentation of its first line.

    So a passage deep inside a list reads like one at the margin; lines that are indented less lose what they have.
    """
    lines: list[tuple[int, int]] = []
    base = -1
    at = start
    partial = start > 0 and source[start - 1] != "\n"
    while at <= end:
        stop = source.find("\n", at, end)
        stop = end if stop < 0 else stop
        text = source[at:stop]
        indent = len(text) - len(text.lstrip(" \t"))
        if partial and not lines:
            at += indent  # the rest of a line
        elif indent == len(text):
            at = stop  # a line of white space is an empty one
        else:
            base = indent if base < 0 else base
            at += min(indent, base)
        lines.append((at, stop))
        at = stop + 1
    return lines


def _paragraphs(lines: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """(first, last) index of each run of lines that are not empty."""
    first = -1
    for number, (start, end) in enumerate(lines):
        if start == end:
            if first >= 0:
                yield first, number - 1
            first = -1
        elif first < 0:
            first = number
    if first >= 0:
        yield first, len(lines) - 1


def _trim(source: str, start: int, end: int) -> tuple[int, int]:
    while end > start and source[end - 1].isspace():
        end -= 1
    return start, end


def _unindented(text: str) -> str:
    return "\n".join(line.strip(" \t") for line in text.split("\n")) if "\n" in text else text.strip()
