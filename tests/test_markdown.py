"""Pages as blocks: kinds, text, lines, and the source back character for character."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctune import prose
from doctune.html import OpenTags
from doctune.markdown import Document

PAGE = """\
---
title: 探针
---
<!--
title: Probes
-->
<!-- overview -->

探针会定期
检查容器。

## 类型   {#types}

1. 存活探针
   - 失败时*重启*
   - 成功时什么都不做

   还有一段。
2. 就绪探针

> 引用的话

| 字段 | 含义 |
|------|------|
| `path` | 路径 \\| 文件 |

```yaml
# <!-- 不是注释 -->
kind: Pod
```

{{< note >}}
别忘了。
{{< /note >}}

<table>
  <tr><th>名称</th>
  <td><p>第一个<b>值</b></p></td></tr>
</table>
"""


def kinds(source: str) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in Document(source).blocks()]


def test_a_page_of_everything() -> None:
    got = [(b.kind, b.text if b.kind != "code" else "", b.first, b.last) for b in Document(PAGE).blocks()]
    assert got == [
        ("front_matter", "---\ntitle: 探针\n---\n", 1, 3),
        ("comment", "\ntitle: Probes\n", 4, 6),
        ("comment", " overview ", 7, 7),
        ("paragraph", "探针会定期\n检查容器。", 9, 10),
        ("heading", "类型", 12, 12),
        ("list_item", "存活探针", 14, 14),
        ("list_item", "失败时*重启*", 15, 15),
        ("list_item", "成功时什么都不做", 16, 16),
        ("paragraph", "还有一段。", 18, 18),
        ("list_item", "就绪探针", 19, 19),
        ("paragraph", "引用的话", 21, 21),
        ("table_cell", "字段", 23, 23),
        ("table_cell", "含义", 23, 23),
        ("table_cell", "`path`", 25, 25),
        ("table_cell", "路径 | 文件", 25, 25),
        ("code", "", 27, 30),
        ("shortcode", "{{< note >}}", 32, 32),
        ("paragraph", "别忘了。", 33, 33),
        ("shortcode", "{{< /note >}}", 34, 34),
        ("table_cell", "名称", 37, 37),
        ("table_cell", "第一个<b>值</b>", 38, 38),
    ]


@pytest.mark.parametrize(
    ("source", "want"),
    [
        pytest.param("## 标题 {#a-b}\n", [("heading", "标题")], id="anchor"),
        pytest.param("##  Pod 生命期   {#pod-lifetime}\n", [("heading", "Pod 生命期")], id="anchor-loose-spacing"),
        pytest.param("## 运行 Job {run-the-job}\n", [("heading", "运行 Job")], id="anchor-without-hash"),
        pytest.param(
            '## {{% heading "steps" %}}\n', [("heading", '{{% heading "steps" %}}')], id="heading-shortcode-stays"
        ),
        pytest.param("##标题\n", [("heading", "标题")], id="heading-without-space"),
        pytest.param("标题\n----\n正文\n", [("heading", "标题"), ("paragraph", "正文")], id="underlined-heading"),
        pytest.param(
            "`甲`\n: 解释\n  续行\n", [("paragraph", "`甲`"), ("paragraph", "解释\n续行")], id="definition-list"
        ),
        pytest.param("| 甲 | 乙 |\n| 丙 | 丁 |\n", [("table_cell", c) for c in "甲乙丙丁"], id="rows-without-header"),
        pytest.param(
            "      深处的文字\n      第二行\n", [("paragraph", "深处的文字\n第二行")], id="indented-is-no-code"
        ),
        pytest.param(
            "* 甲\n\n  ```\n  x\n  ```\n\n* 乙\n",
            [("list_item", "甲"), ("code", "```\n  x\n  ```"), ("list_item", "乙")],
            id="code-in-list",
        ),
        pytest.param("看 `<!-- 这个 -->` 吧\n", [("paragraph", "看 `<!-- 这个 -->` 吧")], id="comment-in-code-span"),
        pytest.param(
            '用{{< glossary_tooltip text="节点" term_id="node" >}}\n吧\n',
            [("paragraph", '用{{< glossary_tooltip text="节点" term_id="node" >}}\n吧')],
            id="inline-shortcode",
        ),
        pytest.param(
            '甲\n{{< feature-state state="beta" >}}\n乙\n',
            [("paragraph", "甲"), ("shortcode", '{{< feature-state state="beta" >}}'), ("paragraph", "乙")],
            id="block-shortcode-splits",
        ),
        pytest.param(
            "{{< note >}}甲{{< /note >}}\n",
            [("shortcode", "{{< note >}}"), ("paragraph", "甲"), ("shortcode", "{{< /note >}}")],
            id="note-on-one-line",
        ),
        pytest.param(
            "{{< mermaid >}}\ngraph LR; 甲-->乙\n{{< /mermaid >}}\n丙\n",
            [("shortcode", "{{< mermaid >}}\ngraph LR; 甲-->乙\n{{< /mermaid >}}"), ("paragraph", "丙")],
            id="mermaid-is-opaque",
        ),
        pytest.param(
            "<ul><li>甲</li><li>乙<br/></li></ul>\n", [("list_item", "甲"), ("list_item", "乙")], id="html-list"
        ),
        pytest.param("<h3>甲</h3>\n<p>乙</p>\n", [("heading", "甲"), ("paragraph", "乙")], id="html-heading"),
        pytest.param(
            "<td>\n\n段落\n\n</td>\n\n后面\n", [("table_cell", "段落"), ("paragraph", "后面")], id="markdown-in-cell"
        ),
        pytest.param(
            "说明 <code>x</code> 吧</p>\n尾\n",
            [("paragraph", "说明 <code>x</code> 吧"), ("paragraph", "尾")],
            id="stray-closing-tag",
        ),
        pytest.param("<pre>\n甲\n</pre>\n乙\n", [("code", "<pre>\n甲\n</pre>"), ("paragraph", "乙")], id="pre"),
        pytest.param("```\n没有结束\n", [("code", "```\n没有结束\n")], id="unclosed-fence"),
        pytest.param(
            "甲\n<!-- 没有结束\n乙\n", [("paragraph", "甲"), ("comment", " 没有结束\n乙\n")], id="unclosed-comment"
        ),
        pytest.param("---\n甲: 乙\n", [("paragraph", "甲: 乙")], id="unclosed-front-matter"),
        pytest.param(
            ":::tip 提示\n先备份。\n:::\n后面\n",
            [("shortcode", ":::tip 提示"), ("paragraph", "先备份。"), ("shortcode", ":::"), ("paragraph", "后面")],
            id="container",
        ),
        pytest.param("", [], id="empty"),
    ],
)
def test_blocks(source: str, want: list[tuple[str, str]]) -> None:
    assert kinds(source) == want


@pytest.mark.parametrize("end", [pytest.param("\r\n", id="windows"), pytest.param("\r", id="returns")])
@pytest.mark.parametrize(
    "source",
    [
        pytest.param(PAGE, id="a-page-of-everything"),
        pytest.param("# 甲\n乙", id="last-line-without-an-end"),
        pytest.param("甲 \n乙  \n丙\n", id="spaces-before-the-end"),
        pytest.param("\n\n", id="ends-alone"),
        pytest.param("- 甲\n\n      乙\n\n~~~\n丙\n~~~  \n丁\n", id="fence-with-spaces-behind-it"),
    ],
)
def test_line_ends_are_those_of_any_system(source: str, end: str) -> None:
    assert Document(source.replace("\n", end)).blocks() == Document(source).blocks()


def test_line_ends_may_differ_within_a_page() -> None:
    assert [(b.text, b.first) for b in Document("# 甲\r乙\r\r\n丙\n").blocks()] == [("甲", 1), ("乙", 2), ("丙", 4)]


def test_headings_know_level_and_anchor() -> None:
    block = Document("### 标题 {#the-anchor}\n").blocks()[0]
    assert (block.level, block.anchor) == (3, "the-anchor")
    block = Document("## 状态提升 {/*lifting-state-up*/}\n").blocks()[0]
    assert (block.text, block.anchor) == ("状态提升", "lifting-state-up")


@pytest.mark.parametrize(
    ("source", "context"),
    [
        pytest.param("- <!-- x -->\n", "list_item", id="item"),
        pytest.param("   12. <!-- x -->\n", "list_item", id="number"),
        pytest.param("## <!-- x -->\n", "heading", id="heading"),
        pytest.param("| <!-- x -->\n", "table_cell", id="row"),
        pytest.param("<table><td>\n<p>\n<!-- x -->\n", "table_cell", id="html-cell"),
        pytest.param("<td>甲</td>\n\n<!-- x -->\n", "paragraph", id="after-a-cell"),
        pytest.param("<ul><li>甲\n\n## 标题\n\n<!-- x -->\n", "paragraph", id="unclosed-item-ends-at-heading"),
    ],
)
def test_context_of_a_comment(source: str, context: str) -> None:
    assert next(b for b in Document(source).blocks() if b.kind == "comment").context == context


def test_inside_a_comment_lines_are_those_of_the_page() -> None:
    page = Document("甲\n\n  <!--\n  ## Title {#t}\n\n  - one\n    two\n  -->\n")
    comment = page.blocks()[1]
    assert [(b.kind, b.text, b.first, b.last) for b in page.inside(comment)] == [
        ("heading", "Title", 4, 4),
        ("list_item", "one\ntwo", 6, 7),
    ]


PARTS = st.sampled_from(
    [
        "<!--",
        "-->",
        "---\n",
        "```\n",
        "`",
        "{{< note >}}",
        "{{% x",
        "%}}",
        "<td>",
        "</td>",
        "<li>",
        "</p>",
        "<code>",
        "</b>",
        "| a | 乙 |\n",
    ]
    + [
        "|---|---|\n",
        "- ",
        "1. ",
        "## ",
        "> ",
        ": ",
        "\n",
        "\n\n",
        "    ",
        "\t",
        "甲乙",
        "text ",
        "{#a}",
        "\r\n",
        "\r",
        "\\",
        '<a href="x',
        "\ufeff",
        "\x00",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PARTS, max_size=30).map("".join))
def test_any_source_is_the_blocks_and_what_lies_between(source: str) -> None:
    page = Document(source)
    blocks = page.blocks()
    assert "".join(text for text, _ in page.pieces(blocks)) == page.source
    assert all(a.end <= b.start and a.first <= b.first for a, b in itertools.pairwise(blocks))
    assert all(0 <= b.start <= b.end <= len(page.source) and b.first <= b.last for b in blocks)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["甲乙", "text", "(x)", ", ", "。", "\n", "\n\n", "  ", "`c`", "**b**", "&amp;"]), max_size=20
    ).map("".join)
)
def test_plain_paragraphs_read_the_same_with_and_without_the_parser(source: str) -> None:
    quick = list(prose.leaves(source, 0, len(source), OpenTags()))
    lines = prose._dedented(source, 0, len(source))
    text = "\n".join(source[a:b] for a, b in lines)
    assert quick == list(prose._structured(source, text, lines, OpenTags()))
