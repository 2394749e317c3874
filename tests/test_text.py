"""Joining wrapped lines, one way to write a character, what a reader sees, the key by which duplicates are equal."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctune.text import (
    CODE,
    LOCALE_FOLDER,
    count_cjk,
    flatten,
    has_cjk,
    letters,
    match_key,
    normalise,
    top_folder,
    visible,
    words,
)

GLOSSARY = '{{< glossary_tooltip text="节点" term_id="node" >}}'


@pytest.mark.parametrize(
    ("text", "lang", "want"),
    [
        pytest.param("A Pod\nruns here.", "en", "A Pod runs here.", id="english-space"),
        pytest.param("  A Pod\n\t runs here.  \n", "en", "A Pod runs here.", id="english-indented"),
        pytest.param("调度器会挑选\n一个节点。", "zh", "调度器会挑选一个节点。", id="cjk-cjk-nothing"),
        pytest.param("先检查名称，\n再创建 Pod。", "zh", "先检查名称，再创建 Pod。", id="wide-comma-cjk-nothing"),
        pytest.param("先检查名称，\nPod 才会启动。", "zh", "先检查名称，Pod 才会启动。", id="wide-comma-latin-nothing"),
        pytest.param("它会重启\nPod 三次。", "zh", "它会重启 Pod 三次。", id="cjk-latin-space"),
        pytest.param("它会重启 Pod\n三次。", "zh", "它会重启 Pod 三次。", id="latin-cjk-space"),
        pytest.param("至少需要\n3 个副本。", "zh", "至少需要 3 个副本。", id="cjk-digit-space"),
        pytest.param("运行\n`kubectl` 命令", "zh", "运行 `kubectl` 命令", id="cjk-backtick-space"),
        pytest.param("运行 `kubectl`\n命令", "zh", "运行 `kubectl` 命令", id="backtick-cjk-space"),
        pytest.param("使用 API\nServer 对象", "zh", "使用 API Server 对象", id="latin-latin-space"),
        pytest.param("参阅\n[调度](/a/)一节", "zh", "参阅[调度](/a/)一节", id="cjk-before-chinese-link"),
        pytest.param("参阅\n[API](/a/) 一节", "zh", "参阅 [API](/a/) 一节", id="cjk-before-latin-link"),
        pytest.param("参阅[调度](/a/)\n一节", "zh", "参阅[调度](/a/)一节", id="chinese-link-before-cjk"),
        pytest.param("这是**重要\n内容**", "zh", "这是**重要内容**", id="inside-emphasis"),
        pytest.param("这很**重要**\n也很难", "zh", "这很**重要**也很难", id="after-emphasis"),
        pytest.param(f"运行在\n{GLOSSARY}\n之上", "zh", f"运行在{GLOSSARY}之上", id="glossary-with-chinese-text"),
        pytest.param("（见\n下文）", "zh", "（见下文）", id="brackets"),
        pytest.param("- 甲\n- 乙\n  续行", "zh", "- 甲\n- 乙续行", id="list-items-stay-lines"),
        pytest.param("1. First\n2. Second\nline", "en", "1. First\n2. Second line", id="numbered-items-stay-lines"),
        pytest.param("Released in\n2024. It is old.", "en", "Released in 2024. It is old.", id="a-year-is-no-item"),
        pytest.param(
            "| 名称 | 值 |\n|---|---|\n| 甲 | 乙 |", "zh", "| 名称 | 值 |\n|---|---|\n| 甲 | 乙 |", id="table"
        ),
        pytest.param("one\\\ntwo", "en", "one\\\ntwo", id="backslash-break"),
        pytest.param("甲<br/>\n乙", "zh", "甲<br/>\n乙", id="br-break"),
        pytest.param("由内核完成。  \n这很快。", "zh", "由内核完成。这很快。", id="two-spaces-are-no-break"),
        pytest.param("甲\n\n乙", "zh", "甲乙", id="blank-line"),
        pytest.param("A Pod\r\nruns here.\r\n", "en", "A Pod runs here.", id="windows-lines"),
        pytest.param("调度器会挑选\r一个节点。\r", "zh", "调度器会挑选一个节点。", id="lines-ended-by-returns"),
        pytest.param(" \n\t\n", "zh", "", id="white-space-only"),
        pytest.param("", "en", "", id="empty"),
    ],
)
def test_flatten(text: str, lang: str, want: str) -> None:
    got = flatten(text, lang)  # type: ignore[arg-type]
    assert got == want
    assert flatten(got, lang) == got, "flattening twice changes nothing more"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param("看 [调度](/a/b/) 和 ![图](x.png)", "看 调度 和 图", id="links"),
        pytest.param(f"在{GLOSSARY}上", "在节点上", id="glossary-text"),
        pytest.param('{{< glossary_tooltip term_id="node" >}}', "node", id="glossary-term"),
        pytest.param('<a href="{{< ref "/x#Y" >}}">甲</a>', "甲", id="tag-holding-a-shortcode"),
        pytest.param("`<Pod>`", "``", id="tags-are-gone-even-in-code"),
        pytest.param("1 < 2", "1 < 2", id="no-tag"),
    ],
)
def test_visible(text: str, want: str) -> None:
    assert visible(text) == want


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        pytest.param(
            "Use **`kubectl`** to\nlist [Pods](/a/).", "use kubectl to list pods", True, id="markup-case-wrapping"
        ),
        pytest.param("创建 **Pod**。", "创建Pod", True, id="chinese-spacing"),
        pytest.param("ＡＰＩ（甲）", "api(甲)", True, id="width"),
        pytest.param("Delete the Pod", "Delete the Job", False, id="other-word"),
        pytest.param("1.29", "1.28", False, id="other-number"),
        pytest.param("---", "***", False, id="marks-only"),
    ],
)
def test_match_key(one: str, two: str, same: bool) -> None:
    assert (match_key(one) == match_key(two)) is same
    assert match_key(one)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param("Use **`kubectl`** to\nlist [Pods](/a/).", ("use", "kubectl", "to", "list", "pods"), id="english"),
        pytest.param("创建 **Pod**，再等。", ("创", "建", "pod", "再", "等"), id="chinese-by-character"),
        pytest.param("kube_proxy-v1.29", ("kube", "proxy", "v1", "29"), id="marks-part-words"),
        pytest.param(f"在{GLOSSARY}上", ("在", "节", "点", "上"), id="glossary"),
        pytest.param("－ ＡＰＩ", ("api",), id="width"),
        pytest.param("- - -", ("---",), id="marks-only"),
        pytest.param("", ("",), id="empty"),
    ],
)
def test_words(text: str, want: tuple[str, ...]) -> None:
    assert words(text) == want


@settings(deadline=None)
@given(st.text())
def test_words_joined_are_the_key(text: str) -> None:
    assert "".join(words(text)) == match_key(text)


def test_letters_keep_those_of_markup() -> None:
    assert letters("**创建** [Pod](/a-1/)：\n> ＯＫ") == "创建poda1ok"


def test_cjk_counts_characters_not_punctuation() -> None:
    assert has_cjk("一 Pod") and not has_cjk("Pod，（）。") and not has_cjk("")
    assert count_cjk("三个 Pod，两个 Job。") == 4


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param("重启后会保留⼀份⽇志", "重启后会保留一份日志", id="kangxi-radicals"),
        pytest.param("⻓度与⻅证", "长度与见证", id="radicals-that-nfkc-leaves"),
        pytest.param("容\ufa38的运\ufa08记录", "容器的运行记录", id="compatibility-ideographs"),
        pytest.param("节\u200b\u200b点\ufeff与\u00ad卷\u2060。", "节点与卷。", id="zero-width-bom-soft-hyphen"),
        pytest.param("\u202a节点\u202c", "节点", id="bidi-marks"),
        pytest.param("最多 ５ 个 ＰＯＤ，版本 ｖ１", "最多 5 个 POD，版本 v1", id="full-width-letters-and-digits"),
        pytest.param("ﾃｽﾄ｡｢完成｣､再见", "テスト。「完成」、再见", id="half-width-kana-and-marks"),
        pytest.param("ﬂoat 与 ﬁle", "float 与 file", id="ligatures"),
        pytest.param("创建\u00a0Pod\u3000之后\u2009再看\u2028下文", "创建 Pod 之后 再看 下文", id="exotic-spaces"),
        pytest.param("cafe\u0301 节点", "café 节点", id="composed"),
        pytest.param("卷\x07已满\x7f", "卷已满", id="control-characters"),
        pytest.param("删\ufe00除", "删除", id="variation-selector-behind-chinese"),
        pytest.param("甲\u200d乙", "甲乙", id="joiner-between-chinese"),
        pytest.param("🧑\u200d💻 与 ⚠\ufe0f", "🧑\u200d💻 与 ⚠\ufe0f", id="emoji-keep-theirs"),
        pytest.param(
            "（甲，乙）：“丙”；丁！戊？……《己》～％", "（甲，乙）：“丙”；丁！戊？……《己》～％", id="chinese-punctuation"
        ),
        pytest.param("在 ⟦12⟧ 上运行 ⟦3⟧", "在 ⟦12⟧ 上运行 ⟦3⟧", id="placeholders"),
        pytest.param("运行 `ＡＢ\u200b` 与 ``⼀`` 再１次", "运行 `ＡＢ\u200b` 与 ``⼀`` 再1次", id="code-stays"),
        pytest.param("<code>ＡＢ</code>１", "<code>ＡＢ</code>1", id="html-code-stays"),
        pytest.param("见[第１节](/a/#第１节)", "见[第1节](/a/#第１节)", id="link-text-but-not-its-target"),
        pytest.param(
            "见 https://example.com/第１节，共１节", "见 https://example.com/第１节，共1节", id="address-stays"
        ),
        pytest.param("甲\n乙", "甲\n乙", id="lines-stay"),
        pytest.param("", "", id="empty"),
    ],
)
def test_normalise(text: str, want: str) -> None:
    assert normalise(text) == want
    assert normalise(want) == want


ODD = "`<>()[]/aＡ１⼀⻓器\u200b\u200d\u00ad\ufeff\u00a0\u3000\u0301ｶﾞ｡ﬁ👩💻\ufe0f\u2028 \n甲，"


@given(st.one_of(st.text(), st.text(alphabet=ODD, max_size=40)))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert flatten(once, "zh") == flatten(text, "zh"), "flattening Chinese normalises it"


@given(st.text(alphabet=ODD, max_size=40))
def test_normalised_prose_is_composed_and_its_code_is_in_the_text(text: str) -> None:
    once = normalise(text)
    prose = CODE.sub(" ", once)
    if "(" not in prose and "<" not in prose:  # targets and tags stay, too
        assert unicodedata.is_normalized("NFC", prose) and not set(prose) & set(
            "Ａ１⼀⻓\u200b\u00ad\ufeff\u00a0\u3000｡ﬁ"
        )


def test_normalise_leaves_what_it_need_not_touch_the_very_same() -> None:
    text = "将 `replicas` 设置为 3，然后运行 [kubectl](/docs/kubectl/)。"
    assert normalise(text) is text


def test_match_key_reads_radicals_and_hidden_marks_as_people_do() -> None:
    assert match_key("⻓\u200b度为⼀") == match_key("长度为一")


@pytest.mark.parametrize(
    ("path", "want"),
    [
        pytest.param("/zh-cn/docs/节点/", "/docs/节点/", id="region"),
        pytest.param("/docs/zh_CN/latest", "/docs/latest", id="below-another-folder"),
        pytest.param("/en-US/guide", "/guide", id="english"),
        pytest.param("/cn/guide", "/guide", id="country-alone"),
        pytest.param("/guide/zh-Hans", "/guide", id="at-the-end"),
        pytest.param("/zh-tw/guide", "/zh-tw/guide", id="traditional-is-another-language"),
        pytest.param("/end/entry/cnn", "/end/entry/cnn", id="words-that-begin-so"),
    ],
)
def test_the_language_of_an_address(path: str, want: str) -> None:
    assert LOCALE_FOLDER.sub("", path) == want


@pytest.mark.parametrize(
    ("page", "want"),
    [
        pytest.param("tasks/run/job.md", "tasks", id="in-folders"),
        pytest.param("_index.md", "(root)", id="in-none"),
    ],
)
def test_top_folder(page: str, want: str) -> None:
    assert top_folder(page) == want
