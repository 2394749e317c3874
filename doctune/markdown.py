"""A page as blocks: what each is, its text without block syntax, and where it stands in the source.

    page = Document("## 调度 {#scheduling}\\n\\n- 绑定到*节点*\\n- 运行\\n")
    [(b.kind, b.text, b.first) for b in page.blocks()]
    # [("heading", "调度", 1), ("list_item", "绑定到*节点*", 3), ("list_item", "运行", 4)]

Hugo's front matter, comments and shortcodes are cut out first (doctune.spans); the prose between them is CommonMark
with HTML in it (doctune.prose, by markdown-it-py). Blocks never overlap and keep their order, so the
page is the blocks' source joined with what lies between them (`Document.pieces`), character for character.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from doctune.html import OpenTags
from doctune.prose import leaves
from doctune.spans import Span, cut, front_matter

TEXT_KINDS = frozenset(("heading", "paragraph", "list_item", "table_cell"))
TEXT_KEYS = ("title", "linkTitle", "description", "short_description")  # of front matter, whose values people read


@dataclass(frozen=True)
class Block:
    """One block. kind: heading, paragraph, list_item, table_cell, code, shortcode, comment or front_matter.

    text is raw inline Markdown (lines kept) without block syntax: no `## `, `- `, `> `, pipes, `{#anchor}`; for a
    comment its inside, for the rest the source. start and end are character offsets of its source, first and last its
    1-based lines. level is a heading's level or how deep in lists the text stands (1 is outermost). context, of a
    comment, is what kind a paragraph is at this place: table_cell inside `<td>`, list_item right after `- ` and so on.
    """

    kind: str
    text: str
    start: int
    end: int
    first: int
    last: int
    level: int = 0
    anchor: str = ""
    context: str = "paragraph"


_MARKER = re.compile(r"^[ \t>]*(?:(?P<item>[-*+]|\d{1,9}[.)])|(?P<heading>#{1,6})|(?P<cell>\|.*))[ \t]*$")


class Document:
    """A page's source with its line table; parsing never fails, whatever the source.

    Lines of `source` end in a line feed alone, whatever ended them: CommonMark takes `\\r\\n` and `\\r`, too.
    Every offset is one into it.
    """

    def __init__(self, source: str) -> None:
        self.source = source.replace("\r\n", "\n").replace("\r", "\n")
        self._starts = [0, *(m.end() for m in re.finditer("\n", self.source))]

    def line(self, offset: int) -> int:
        """1-based line of a character offset."""
        return bisect_right(self._starts, offset)

    def blocks(self) -> list[Block]:
        """All blocks of the page, front matter and comments among them."""
        top = front_matter(self.source)
        out = [self._block("front_matter", self.source[top.start : top.end], top.start, top.end)] if top else []
        return out + self.parse(top.end if top else 0, len(self.source))

    def inside(self, comment: Block) -> list[Block]:
        """Blocks of a comment's inside, parsed as the Markdown it hides; positions are those of the page."""
        start, end = self._within(comment.start, comment.end)
        return self.parse(start, end, comment.context)

    def without_comments(self, blocks: list[Block]) -> "Document":
        """The page with its comments turned to white space, so that every offset and line stays."""
        return Document(
            "".join(
                re.sub(r"[^\n]", " ", part) if block is not None and block.kind == "comment" else part
                for part, block in self.pieces(blocks)
            )
        )

    def pieces(self, blocks: list[Block]) -> Iterator[tuple[str, Block | None]]:
        """The whole source in order: each block's, and what lies between (with None)."""
        at = 0
        for block in blocks:
            if at < block.start:
                yield self.source[at : block.start], None
            yield self.source[block.start : block.end], block
            at = block.end
        if at < len(self.source):
            yield self.source[at:], None

    def parse(self, start: int, end: int, context: str = "paragraph") -> list[Block]:
        """Blocks of `source[start:end]`; `context` is the kind of a paragraph there."""
        out: list[Block] = []
        tags = OpenTags()
        opening = context if context == "list_item" else ""  # only the first paragraph after `- ` is the item
        base = "paragraph" if context == "list_item" else context
        for span in cut(self.source, start, end):
            here = tags.kind or base
            if span.kind != "prose":
                found = opening or self._marker(span, start) or here
                if span.kind == "comment":
                    out.append(self._comment(span, found))
                    opening = found if found != here else ""
                else:
                    out.append(self._block(span.kind, self.source[span.start : span.end], span.start, span.end))
                continue
            for leaf in leaves(self.source, span.start, span.end, tags, in_row=opening == "table_cell"):
                kind = (opening or tags.kind or base) if leaf.kind == "paragraph" else leaf.kind
                if leaf.kind == "heading":
                    tags.stack.clear()  # a forgotten </li> ends here at the latest
                opening = ""
                begin = max(leaf.start, out[-1].end if out else start)
                out.append(self._block(kind, leaf.text, begin, max(leaf.end, begin), leaf.level, leaf.anchor))
        return out

    def _block(
        self, kind: str, text: str, start: int, end: int, level: int = 0, anchor: str = "", context: str = "paragraph"
    ) -> Block:
        return Block(kind, text, start, end, self.line(start), self.line(max(start, end - 1)), level, anchor, context)

    def _comment(self, span: Span, context: str) -> Block:
        start, end = self._within(span.start, span.end)
        return self._block("comment", self.source[start:end], span.start, span.end, context=context)

    def _within(self, start: int, end: int) -> tuple[int, int]:
        """A comment's inside; `<!---` and `--->` are written too, and a comment may lack its end."""
        stop = end - 3 if self.source.endswith("-->", start + 4, end) else end
        start += 4
        while start < stop and self.source[start] == "-":
            start += 1
        while stop > start and self.source[stop - 1] == "-":
            stop -= 1
        return start, stop

    def _marker(self, span: Span, start: int) -> str:
        """The kind that block syntax before `span` on its line gives to what follows: list_item after `- `, say."""
        line_start = max(self._starts[self.line(span.start) - 1], start)
        match = _MARKER.match(self.source[line_start : span.start]) if line_start < span.start else None
        if not match:
            return ""
        return "list_item" if match["item"] else "heading" if match["heading"] else "table_cell"
