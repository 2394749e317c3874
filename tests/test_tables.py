"""Markdown tables whose cells show any text literally."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from doctune.tables import literal, markdown_table


@pytest.mark.parametrize(
    ("text", "most", "cell"),
    [
        pytest.param("甲|乙", 0, "甲\\|乙", id="pipe"),
        pytest.param("<b>甲</b> & `x`", 0, "&lt;b>甲&lt;/b> &amp; \\`x\\`", id="html-and-code"),
        pytest.param("甲\n乙", 0, "甲<br>乙", id="lines"),
        pytest.param("一二三四五", 4, "一二三…", id="cut"),
        pytest.param("一二三四", 4, "一二三四", id="just-fits"),
        pytest.param("", 4, "", id="empty"),
    ],
)
def test_literal(text: str, most: int, cell: str) -> None:
    assert literal(text, most) == cell


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), min_size=1, max_size=4))
def test_no_text_breaks_a_table(rows: list[tuple[str, str]]) -> None:
    html = (
        MarkdownIt("commonmark")
        .enable("table")
        .render(markdown_table(("left", "right"), [tuple(map(literal, row)) for row in rows]))
    )
    assert html.count("<tr>") == len(rows) + 1 and html.count("<td>") == 2 * len(rows)
