"""What changed since an older revision: wrapping, markup and moves are no change, a word of either language is."""

import pytest

from doctune.since import changed

OLD_EN = "# Nodes\n\nA node runs your containers.\nIt needs a container runtime.\n\nEvery node has a *name*.\n"
OLD_ZH = """---
title: 节点
# description: Machines that run Pods.
description: 运行 Pod 的机器。
---
<!--
A node runs your
containers, and reports how it fares.
-->
节点负责运行你的容器，
并上报自己的状况。

<!-- It needs a [container runtime](/old/). -->
> 它需要一个[容器运行时](/zh-cn/old/)。

1. <!-- Name it. -->为它命名。
   它的名称不能重复。

| <!-- Key -->键名说明文字 | <!-- Value of it -->对应的取值说明 |
"""
OLD = [
    {"lang": "en", "path": "nodes.md", "text": OLD_EN},
    {"lang": "zh", "path": "nodes.md", "text": OLD_ZH},
    {"lang": "en", "path": "only-english.md", "text": "Nobody translated this page yet.\n"},
]


def is_changed(en: str, zh: str, page: str = "nodes.md") -> bool:
    return changed([{"id": "1", "page": page, "en": en, "zh": zh}], OLD) == {"1"}


@pytest.mark.parametrize(
    ("en", "zh", "want"),
    [
        pytest.param(
            "A node runs your containers,\nand reports how it fares.",
            "节点负责运行\n你的容器，并上报自己的状况。",
            False,
            id="wrapped-elsewhere",
        ),
        pytest.param(
            "It needs a [container runtime](/new/#x).",
            "它需要一个[容器运行时](/zh-cn/new/#x)。",
            False,
            id="a-link-moved",
        ),
        pytest.param("It needs a container runtime.", "它需要一个**容器运行时**。", False, id="other-markup"),
        pytest.param("Every node has a *name*.", "它的名称不能重复。", False, id="english-on-the-english-page"),
        pytest.param("Machines that run Pods.", "运行 Pod 的机器。", False, id="front-matter"),
        pytest.param("Value of it", "对应的取值说明", False, id="table-cell"),
        pytest.param("Name it.", "为它命名。\n它的名称不能重复。", False, id="a-longer-passage"),
        pytest.param("It needs a container runtime.", "它需要容器运行时。", True, id="chinese-changed"),
        pytest.param("It needs one container runtime.", "它需要一个容器运行时。", True, id="english-changed"),
        pytest.param("It needs 2 runtimes.", "它需要 2 个运行时。", True, id="both-new"),
        pytest.param("节点负责运行你的容器", "A node runs your containers", True, id="sides-swapped"),
    ],
)
def test_a_passage(en: str, zh: str, want: bool) -> None:
    assert is_changed(en, zh) is want


def test_a_page_that_moved_holds_nothing_new() -> None:
    assert not is_changed("It needs a container runtime.", "它需要一个容器运行时。", page="concepts/nodes.md")
    assert not is_changed("Key", "键名", page="concepts/nodes.md"), "found whole, though shorter than most"
    assert is_changed("It needs a container runtime.", "它必须有一个容器运行时。", page="concepts/nodes.md")
    assert is_changed("Nobody translated this page yet.", "还没有人翻译这个页面。", page="only-english.md")


def test_both_texts_must_have_stood_on_one_page() -> None:
    other = {"lang": "zh", "path": "pods.md", "text": "<!--\nA Pod holds containers.\n-->\n一个 Pod 中有若干容器。\n"}
    pair = {"id": "1", "page": "new.md", "en": "A Pod holds containers.", "zh": "它需要一个容器运行时。"}
    assert changed([pair], [*OLD, other]) == {"1"}
    assert changed([pair | {"zh": "一个 Pod 中有若干容器。"}], [*OLD, other]) == set()


def test_without_old_pages_all_is_new() -> None:
    pairs = [{"id": str(n), "page": "nodes.md", "en": "Stop.", "zh": "停止。"} for n in range(3)]
    assert changed(pairs, []) == {"0", "1", "2"}
