"""Markdown tables for people, whose cells show any text literally.

markdown_table(("page", "rows"), [(literal("a|b.md"), "12")])
# | page | rows |
# |---|---|
# | a\\|b.md | 12 |
"""

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table without its last newline; cells are Markdown (`literal` makes any text one)."""
    lines = ["| " + " | ".join(cells) + " |" for cells in [header, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def literal(text: str, most: int = 0) -> str:
    """Text as one Markdown cell that shows it literally: no markup, no HTML, no line or cell ends.

    With `most` a longer text is cut and ends in an ellipsis.
    """
    if most and len(text) > most:
        text = text[: most - 1] + "…"
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("\\", "\\\\")
    for mark in "|*_`[]~#":
        escaped = escaped.replace(mark, "\\" + mark)
    return "<br>".join(escaped.splitlines())
