"""Markup taken out and put back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctune.placeholders import LIMIT, changed, protect, restore

LINKS = {"/docs/": "/zh-cn/docs/"}
CASES = [
    pytest.param("Run `kubectl get`.", "Run ⟦1⟧.", "运行 ⟦1⟧。", "运行 `kubectl get`。", id="inline code"),
    pytest.param("``a `b` c`` ends", "⟦1⟧ ends", "⟦1⟧ 结束", "``a `b` c`` 结束", id="code with backticks in it"),
    pytest.param(
        "See [Pods](/docs/pods/#x).",
        "See [Pods]⟦1⟧.",
        "参阅 [Pod]⟦1⟧。",
        "参阅 [Pod](/zh-cn/docs/pods/#x)。",
        id="link moves to the target language",
    ),
    pytest.param(
        "See [it](https://example.com/a).",
        "See [it]⟦1⟧.",
        "见[它]⟦1⟧。",
        "见[它](https://example.com/a)。",
        id="outside link stays",
    ),
    pytest.param(
        "Open https://example.com/a, then",
        "Open ⟦1⟧, then",
        "打开 ⟦1⟧，然后",
        "打开 https://example.com/a，然后",
        id="bare URL without its comma",
    ),
    pytest.param(
        'A {{< glossary_tooltip term_id="node" >}} fails',
        "A ⟦1⟧node⟦2⟧ fails",
        "一个⟦1⟧节点⟦2⟧失效",
        '一个{{< glossary_tooltip text="节点" term_id="node" >}}失效',
        id="tooltip without text gets one",
    ),
    pytest.param(
        '{{< glossary_tooltip text="Pods" term_id="pod" >}} run',
        "⟦1⟧Pods⟦2⟧ run",
        "⟦1⟧Pod⟦2⟧ 运行",
        '{{< glossary_tooltip text="Pod" term_id="pod" >}} 运行',
        id="tooltip text is translated",
    ),
    pytest.param(
        '{{< glossary_tooltip text="ready" term_id="ready" >}}',
        "⟦1⟧ready⟦2⟧",
        '⟦1⟧"就绪"或"可用"⟦2⟧',
        '{{< glossary_tooltip text="“就绪”或“可用”" term_id="ready" >}}',
        id="quotation marks in a translated tooltip leave the shortcode whole",
    ),
    pytest.param(
        '{{< glossary_tooltip text="“就绪”状态" term_id="ready" >}}',
        "⟦1⟧“就绪”状态⟦2⟧",
        "⟦1⟧“可用”⟦2⟧",
        '{{< glossary_tooltip text="“可用”" term_id="ready" >}}',
        id="quotation marks of the words are no quotation marks of the shortcode",
    ),
    pytest.param(
        "Since {{< skew currentVersion >}}<br/>",
        "Since ⟦1⟧⟦2⟧",
        "自 ⟦1⟧⟦2⟧",
        "自 {{< skew currentVersion >}}<br/>",
        id="shortcode and tag",
    ),
    pytest.param(
        "`a` and `b`, then `a`",
        "⟦1⟧ and ⟦2⟧, then ⟦1⟧",
        "先 ⟦2⟧ 后 ⟦1⟧",
        "先 `b` 后 `a`",
        id="equal spans share a number, order may change",
    ),
    pytest.param("plain", "plain", "朴素 ⟦7⟧", "朴素 ", id="an invented number vanishes"),
]


@pytest.mark.parametrize(("source", "protected", "answer", "restored"), CASES)
def test_protect_and_restore(source, protected, answer, restored):
    text, spans = protect(source)
    assert text == protected
    assert restore(answer, spans, LINKS) == restored


@pytest.mark.parametrize("start", [1, 40], ids=["from 1", "from 40"])
def test_a_target_takes_the_source_s_numbers(start):
    source = "Use `a` on [Pods](/docs/pods/) and `b`."
    text, spans = protect(source, start=start)
    target, same = protect("在 [Pod](/zh-cn/docs/pods/) 上使用 `b` 和 `c`。", known=spans, start=start)
    assert same == spans
    assert target == f"在 [Pod]⟦{start + 1}⟧ 上使用 ⟦{start + 2}⟧ 和 `c`。"
    assert restore(target, spans, LINKS, start) == "在 [Pod](/zh-cn/docs/pods/) 上使用 `b` 和 `c`。"
    assert changed(text, target) == {f"⟦{start}⟧": -1}


@pytest.mark.parametrize("folder", ["zh-cn", "zh-CN", "zh_cn", "zh-hans", "zh", "cn", "en-us"])
def test_a_link_into_a_language_is_the_source_s(folder):
    _, spans = protect("See [Pods](/docs/pods/).")
    assert protect(f"参阅 [Pod](/{folder}/docs/pods/)。", known=spans)[0] == "参阅 [Pod]⟦1⟧。"


def test_numbers_run_out_without_loss():
    source = " ".join(f"`x{n}`" for n in range(LIMIT + 6))
    text, spans = protect(source)
    assert len(spans) == LIMIT and text.endswith(f"⟦{LIMIT}⟧ `x64` `x65` `x66` `x67` `x68` `x69`")
    assert restore(text, spans) == source


def test_a_lost_and_a_doubled_placeholder_are_seen():
    assert changed("⟦1⟧ ⟦2⟧ ⟦3⟧", "⟦1⟧ ⟦1⟧ ⟦3⟧") == {"⟦1⟧": 1, "⟦2⟧": -1}


PIECES = st.sampled_from(
    [
        "`code`",
        "``a`b``",
        "[text](/docs/x/)",
        "![图](/a.png)",
        "{{< note >}}",
        '{{< glossary_tooltip text="Pods" term_id="pod" >}}',
        '{{< glossary_tooltip term_id="node" >}}',
        "<br/>",
        "</td>",
        "https://example.com/a?b=c",
        "<!-- hi -->",
        "你好，",
        "a < b",
        "⟦9⟧",
        "`",
        "(x)",
        "[",
        "\n",
    ]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=12))
def test_restore_undoes_protect(pieces):
    source = " ".join(pieces)
    text, spans = protect(source)
    assert restore(text, spans) == source
