"""Pairs from comments: every trap as a small page of our own, cleaning, the report, and the stage."""

import json
from pathlib import Path

import pytest

from doctune.alignment.corpus import align_pages
from doctune.alignment.likeness import items, likeness
from doctune.alignment.page import align_page
from doctune.alignment.params import AlignParams
from doctune.errors import DoctuneError
from doctune.markdown import Document
from doctune.section import validate

PARAMS = AlignParams(sentences=False, min_score=0.8, max_chars=1200, min_ratio=0.2, max_ratio=1.8, max_latin=0.75)


def pairs(source: str) -> list[tuple[str, str, str]]:
    return [(p["kind"], p["en"], p["zh"]) for p in align_page("a.md", source, None, PARAMS)[0]]


def dropped(source: str) -> dict[str, int]:
    return dict(align_page("a.md", source, None, PARAMS)[1].dropped)


SEVERAL_BLOCKS = """\
<!--
## Probes {#probes}

A probe asks a container how it is doing.

- Liveness probes restart it.
- Readiness probes stop its traffic.
-->
##  探针   {#probes}

探针会询问容器的状况。

- 存活探针会重启容器。
- 就绪探针会切断它的流量。
"""

HARD_WRAPPED = """\
<!--
The kubelet runs probes by itself, so they keep working
while the control plane is away.
-->
kubelet 自行执行探针，
因此即使控制平面不可用，
探针依然有效。
"""

CODE_FOLLOWS = """\
<!--
Apply the manifest and wait a minute:
-->
应用这个清单并等待一分钟：

```shell
kubectl apply -f probe.yaml   # 这行注释不是译文
```

{{% code_sample file="probe.yaml" %}}

<!--
The Pod is ready now.
-->
Pod 现在已经就绪。
"""

SECTION_MARKERS = """\
<!-- overview -->

<!--
Start here if you have never written a probe.
-->
如果你从未编写过探针，请从这里开始。

<!-- body -->

<!--
## First steps
-->
## 第一步
"""

NOTE = """\
<!--
Probes cost CPU time on every node.
-->
{{< note >}}
探针会占用每个节点的 CPU 时间。
{{< /note >}}
"""

NOTE_INSIDE = """\
{{< caution >}}
<!--
A wrong probe can restart a healthy container.
-->
错误的探针可能会重启健康的容器。
{{< /caution >}}
"""

NOTE_ON_BOTH_SIDES = """\
<!--
Read this first.

{{< note >}}
Old clusters lack this field.
{{< /note >}}
-->
请先阅读本节。

{{< note >}}
旧集群没有这个字段。
{{< /note >}}
"""

ITEM_BY_ITEM = """\
<!--
1. Open the dashboard.
-->
1. 打开仪表盘。

<!--
1. Pick the namespace:
-->
2. 选择名字空间：

   ```shell
   kubectl get ns
   ```

   <!--
   The list is sorted by name.

   * Use the arrow keys.
   -->
   列表按名称排序。

   * 使用方向键。
"""

AFTER_THE_MARKER = """\
- <!-- Restart the agent. -->
  重启代理。
- <!--
  Check its log
  for errors.
  -->
  检查它的日志中
  有没有错误。
"""

HTML_TABLE = """\
<table>
<thead><tr><th><!--Field-->字段</th><th><!--Description-->描述</th></tr></thead>
<tbody>
<tr><td><code>period</code> <B><!--[Required]-->[必需]</B><br/>
<code>int32</code>
</td>
<td>
<!--
How often the probe runs, in seconds.
-->
<p>探针运行的间隔，单位为秒。</p>
</td></tr>
<tr><td colspan="2">--port int&nbsp;<!--Default:-->默认值：8080</td></tr>
</tbody>
</table>
"""

MARKDOWN_TABLE = """\
<!--
| Field  | Meaning         |
|--------|-----------------|
| `path` | where to ask    |
| `port` | the port number |
-->
| 字段   | 含义       |
|--------|------------|
| `path` | 询问的位置 |
| `port` | 端口号     |
"""

INLINE_CELLS = """\
| <!-- Field -->字段 | <!-- Meaning -->含义 |
|------|------|
| `a`  | <!-- the first letter -->第一个字母 |
"""

FRONT_MATTER = """\
---
title: 配置探针
linkTitle: "探针"
description: >-
  本页展示如何
  配置探针。
weight: 10
---
<!--
title: Configure Probes
linkTitle: "Probes"
description: >-
  This page shows how to
  configure probes.
weight: 10
-->
"""

HIDDEN_FRONT_MATTER = """\
---
# title: Configure Probes
title: 配置探针
---
"""

SAME_TITLE = """\
---
title: kubelet
---
<!--
title: kubelet
-->
"""

DEFINITIONS = """\
<!--
`Always`
: The container is restarted whatever its exit code.
-->
`Always`
: 无论退出码是什么，容器都会被重启。
"""

EXTRA_CHINESE = """\
<!--
The scheduler looks at `spec.nodeName` before all else.
-->
调度器首先查看 `spec.nodeName`。

下面这一段没有对应的英文，它谈的是别的事情，而且相当长，所以不会与上面的英文弄混。
"""

MERGED_CHINESE = """\
<!--
Delete the old Pod with `kubectl delete`.

Then watch the new one start with `kubectl get -w`.

Finally read `agent.log`.
-->
用 `kubectl delete` 删除旧的 Pod，再用 `kubectl get -w` 观察新的 Pod 启动。

最后查看 `agent.log`。
"""

LEFT_IN_ENGLISH = """\
<!--
* Ask in `#sig-docs` about the release team.
* kube-proxy
* Read the guide for [reviewers](/docs/reviewers/).
-->
* 在 `#sig-docs` 中询问有关发布团队的事情。
* kube-proxy
* 阅读给[评审者](/zh-cn/docs/reviewers/)的指南。
"""

COMMENT_AFTER_COMMENT = """\
<!--
### See the events
-->
<!--
Events are kept for one hour.
-->
### 查看事件

事件会保留一个小时。
"""

EXTRA_DASHES = """\
<!---
Three dashes open this one.
--->
这个注释以三个连字符开头。
"""


@pytest.mark.parametrize(
    ("source", "want"),
    [
        pytest.param(
            SEVERAL_BLOCKS,
            [
                ("heading", "Probes", "探针"),
                ("paragraph", "A probe asks a container how it is doing.", "探针会询问容器的状况。"),
                ("list_item", "Liveness probes restart it.", "存活探针会重启容器。"),
                ("list_item", "Readiness probes stop its traffic.", "就绪探针会切断它的流量。"),
            ],
            id="comment-of-several-blocks",
        ),
        pytest.param(
            HARD_WRAPPED,
            [
                (
                    "paragraph",
                    "The kubelet runs probes by itself, so they keep working\nwhile the control plane is away.",
                    "kubelet 自行执行探针，\n因此即使控制平面不可用，\n探针依然有效。",
                )
            ],
            id="hard-wrapped",
        ),
        pytest.param(
            CODE_FOLLOWS,
            [
                ("paragraph", "Apply the manifest and wait a minute:", "应用这个清单并等待一分钟："),
                ("paragraph", "The Pod is ready now.", "Pod 现在已经就绪。"),
            ],
            id="code-and-shortcode-follow",
        ),
        pytest.param(
            SECTION_MARKERS,
            [
                ("paragraph", "Start here if you have never written a probe.", "如果你从未编写过探针，请从这里开始。"),
                ("heading", "First steps", "第一步"),
            ],
            id="section-markers",
        ),
        pytest.param(
            NOTE,
            [("paragraph", "Probes cost CPU time on every node.", "探针会占用每个节点的 CPU 时间。")],
            id="moved-into-a-note",
        ),
        pytest.param(
            NOTE_INSIDE,
            [("paragraph", "A wrong probe can restart a healthy container.", "错误的探针可能会重启健康的容器。")],
            id="comment-inside-a-caution",
        ),
        pytest.param(
            NOTE_ON_BOTH_SIDES,
            [
                ("paragraph", "Read this first.", "请先阅读本节。"),
                ("paragraph", "Old clusters lack this field.", "旧集群没有这个字段。"),
            ],
            id="note-on-both-sides",
        ),
        pytest.param(
            ITEM_BY_ITEM,
            [
                ("list_item", "Open the dashboard.", "打开仪表盘。"),
                ("list_item", "Pick the namespace:", "选择名字空间："),
                ("paragraph", "The list is sorted by name.", "列表按名称排序。"),
                ("list_item", "Use the arrow keys.", "使用方向键。"),
            ],
            id="before-each-item-and-inside-one",
        ),
        pytest.param(
            AFTER_THE_MARKER,
            [
                ("list_item", "Restart the agent.", "重启代理。"),
                ("list_item", "Check its log\nfor errors.", "检查它的日志中\n有没有错误。"),
            ],
            id="after-the-list-marker",
        ),
        pytest.param(
            HTML_TABLE,
            [
                ("table_cell", "Field", "字段"),
                ("table_cell", "Description", "描述"),
                ("table_cell", "[Required]", "[必需]"),
                ("table_cell", "How often the probe runs, in seconds.", "探针运行的间隔，单位为秒。"),
            ],
            id="html-table",
        ),
        pytest.param(
            MARKDOWN_TABLE,
            [
                ("table_cell", "Field", "字段"),
                ("table_cell", "Meaning", "含义"),
                ("table_cell", "where to ask", "询问的位置"),
                ("table_cell", "the port number", "端口号"),
            ],
            id="markdown-table",
        ),
        pytest.param(
            INLINE_CELLS,
            [
                ("table_cell", "Field", "字段"),
                ("table_cell", "Meaning", "含义"),
                ("table_cell", "the first letter", "第一个字母"),
            ],
            id="comments-inside-table-cells",
        ),
        pytest.param(
            FRONT_MATTER,
            [
                ("title", "Configure Probes", "配置探针"),
                ("title", "Probes", "探针"),
                ("title", "This page shows how to configure probes.", "本页展示如何配置探针。"),
            ],
            id="front-matter-in-a-comment",
        ),
        pytest.param(
            HIDDEN_FRONT_MATTER, [("title", "Configure Probes", "配置探针")], id="front-matter-in-yaml-comments"
        ),
        pytest.param(SAME_TITLE, [], id="title-left-in-english"),
        pytest.param(
            DEFINITIONS,
            [("paragraph", "The container is restarted whatever its exit code.", "无论退出码是什么，容器都会被重启。")],
            id="definition-list",
        ),
        pytest.param(
            EXTRA_CHINESE,
            [
                (
                    "paragraph",
                    "The scheduler looks at `spec.nodeName` before all else.",
                    "调度器首先查看 `spec.nodeName`。",
                )
            ],
            id="chinese-without-english-after-it",
        ),
        pytest.param(
            MERGED_CHINESE,
            [
                (
                    "paragraph",
                    "Delete the old Pod with `kubectl delete`.\n\nThen watch the new one start with `kubectl get -w`.",
                    "用 `kubectl delete` 删除旧的 Pod，再用 `kubectl get -w` 观察新的 Pod 启动。",
                ),
                ("paragraph", "Finally read `agent.log`.", "最后查看 `agent.log`。"),
            ],
            id="two-blocks-translated-as-one",
        ),
        pytest.param(
            LEFT_IN_ENGLISH,
            [
                (
                    "list_item",
                    "Ask in `#sig-docs` about the release team.",
                    "在 `#sig-docs` 中询问有关发布团队的事情。",
                ),
                (
                    "list_item",
                    "Read the guide for [reviewers](/docs/reviewers/).",
                    "阅读给[评审者](/zh-cn/docs/reviewers/)的指南。",
                ),
            ],
            id="an-item-left-in-english",
        ),
        pytest.param(
            COMMENT_AFTER_COMMENT,
            [
                ("heading", "See the events", "查看事件"),
                ("paragraph", "Events are kept for one hour.", "事件会保留一个小时。"),
            ],
            id="two-comments-in-a-row",
        ),
        pytest.param(
            EXTRA_DASHES,
            [("paragraph", "Three dashes open this one.", "这个注释以三个连字符开头。")],
            id="three-dashes",
        ),
    ],
)
def test_traps(source: str, want: list[tuple[str, str, str]]) -> None:
    assert pairs(source) == want


@pytest.mark.parametrize(
    ("source", "want"),
    [
        pytest.param(
            "<!--\nNobody translated this.\n-->\n\n```\nx\n```\n", {"no_chinese_after_comment": 1}, id="no-chinese"
        ),
        pytest.param("<!--\nNever closed.\n\n甲乙丙。\n", {"unclosed_comment": 1}, id="unclosed"),
        pytest.param("<td><!--Default:-->默认值：8080</td>\n", {"inline_says_more": 1}, id="inline-with-a-value"),
        pytest.param("<td><!--Default:-->默认值：[]</td>\n", {"inline_says_more": 1}, id="inline-with-an-empty-list"),
        pytest.param("<!--\n## kubectl\n-->\n## kubectl {#k}\n", {"no_chinese_after_comment": 1}, id="same-heading"),
        pytest.param(
            "<!--\n- `--port`\n- A port.\n-->\n- `--port`\n- 一个端口。\n", {"untranslated": 1}, id="code-item"
        ),
        pytest.param(
            "<!--\nThe kubelet starts `nginx`.\n-->\n`helm`、`etcd` 与 `flannel` 都归另一个团队管理。\n",
            {"no_counterpart": 1},
            id="evidence-against",
        ),
    ],
)
def test_what_is_dropped_is_counted(source: str, want: dict[str, int]) -> None:
    assert dropped(source) == want


def test_personal_data_is_masked_and_counted() -> None:
    source = "<!--\nWrite to ann@harbour.cn or bo@harbour.cn.\n-->\n请写信至 ann@harbour.cn 或 bo@harbour.cn。\n"
    assert pairs(source) == [
        (
            "paragraph",
            "Write to name@example.com or name2@example.com.",
            "请写信至 name@example.com 或 name2@example.com。",
        )
    ]
    _, report = align_pages([{"lang": "zh", "path": "a.md", "text": source}], PARAMS)
    assert report["masked"] == {"email": 2}


def test_a_huge_passage_of_differing_shapes_is_dropped_not_compared() -> None:
    source = "<!--\n" + "- one thing\n" * 1001 + "-->\n" + "- 一件事\n" * 1000
    assert dropped(source) == {"passage_too_long": 1001}


def test_rows_are_whole() -> None:
    rows, _ = align_page("concepts/probes.md", "# 探针\n\n" + SEVERAL_BLOCKS + "\n" + SEVERAL_BLOCKS, None, PARAMS)
    assert len({row["id"] for row in rows}) == len(rows) == 8, "the same pair twice on a page keeps two ids"
    first = rows[1]
    assert first == {
        "id": first["id"],
        "en": "A probe asks a container how it is doing.",
        "zh": "探针会询问容器的状况。",
        "page": "concepts/probes.md",
        "en_lines": [6, 6],
        "zh_lines": [13, 13],
        "section": "探针 > Probes",
        "kind": "paragraph",
        "method": "comment",
        "score": first["score"],
    }
    assert 0 < first["score"] <= 1


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("---\ntitle: 甲: 乙: [\n---\n" + HARD_WRAPPED, id="bad-yaml"),
        pytest.param("---\n- 甲\n- 乙\n---\n" + HARD_WRAPPED, id="no-mapping"),
        pytest.param("---\ntitle: 甲\n\n" + HARD_WRAPPED, id="not-closed"),
        pytest.param("---\ntitle: " + "[" * 40_000 + "\n---\n" + HARD_WRAPPED, id="nested-without-end"),
        pytest.param("---\n\x07: 甲\n---\n" + HARD_WRAPPED, id="control-character"),
    ],
)
def test_broken_front_matter_loses_nothing_of_the_body(source: str) -> None:
    rows, page = align_page("a.md", source, None, PARAMS)
    assert [row["kind"] for row in rows] == ["paragraph"]
    assert len(page.broken) == 1


def test_broken_front_matter_in_the_comment_is_counted_and_read_by_line() -> None:
    rows, page = align_page(
        "a.md", "---\ntitle: 探针\n---\n<!--\ntitle: Probes: a guide: [\nweight: 1\n-->\n", None, PARAMS
    )
    assert [row["en"] for row in rows] == ["Probes: a guide: ["]
    assert page.counts["broken_front_matter_comments"] == 1


def test_a_first_comment_of_text_is_no_front_matter() -> None:
    assert pairs("---\ntitle: x\n---\n<!--\n## Options\n\nSee below.\n-->\n## 选项\n\n见下文。\n") == [
        ("heading", "Options", "选项"),
        ("paragraph", "See below.", "见下文。"),
    ]


@pytest.mark.parametrize("end", [pytest.param("\r\n", id="windows"), pytest.param("\r", id="returns")])
@pytest.mark.parametrize(
    "source",
    [
        pytest.param(FRONT_MATTER + CODE_FOLLOWS, id="front-matter-and-code"),
        pytest.param(HIDDEN_FRONT_MATTER + SEVERAL_BLOCKS, id="yaml-comments-and-several-blocks"),
        pytest.param("---\ntitle: 甲\n\n" + HARD_WRAPPED, id="front-matter-not-closed"),
    ],
)
def test_line_ends_change_no_pair(source: str, end: str) -> None:
    assert align_page("a.md", source.replace("\n", end), None, PARAMS) == align_page("a.md", source, None, PARAMS)


def test_evidence_prefers_the_translation() -> None:
    en = Document("Set `replicas` to 3 in [the manifest](/docs/a/#b) of the Deployment.").blocks()
    right = Document("在 Deployment 的[清单](/zh-cn/docs/a/#乙)中将 `replicas` 设置为 3。").blocks()
    wrong = Document("在 StatefulSet 的[清单](/zh-cn/docs/c/)中将 `serviceName` 设置为 db。").blocks()
    [[fits, other]] = likeness(items(en, "en"), items(right + wrong, "zh"))
    assert fits > 3 and other < 0


def test_report_and_order() -> None:
    pages = [
        {"lang": "zh", "path": "b.md", "text": SEVERAL_BLOCKS},
        {"lang": "zh", "path": "a.md", "text": "---\n[\n---\n" + HARD_WRAPPED},
        {"lang": "en", "path": "b.md", "text": "## Probes\n"},
        {"lang": "en", "path": "c.md", "text": "## Elsewhere\n"},
    ]
    rows, report = align_pages(pages, PARAMS)
    assert [row["page"] for row in rows] == ["a.md"] + ["b.md"] * 4
    assert align_pages(reversed(pages), PARAMS) == (rows, report)
    assert report["pages"] == {"english": 2, "chinese": 2, "both": 1, "with_pairs": 2}
    assert report["pairs"]["by_kind"] == {"heading": 1, "list_item": 2, "paragraph": 2}
    assert [place["page"] for place in report["broken_front_matter"]] == ["a.md"]


def test_no_pairs_is_an_error() -> None:
    with pytest.raises(DoctuneError, match="wanted pairs, got none from 1 Chinese"):
        align_pages([{"lang": "zh", "path": "a.md", "text": "只有中文。"}], PARAMS)


def test_params_refuse_an_empty_range() -> None:
    with pytest.raises(DoctuneError, match="min_ratio"):
        validate(AlignParams, PARAMS.model_dump() | {"min_ratio": 2.0}, "align:")


def test_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.align import main

    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(
        "align: {sentences: false, min_score: 0.8, max_chars: 1200, min_ratio: 0.2, max_ratio: 1.8, max_latin: 0.75}\n"
    )
    rows = [
        {"lang": "zh", "path": "a.md", "revision": "1", "text": "---\n[\n---\n" + SEVERAL_BLOCKS},
        {"lang": "en", "path": "a.md", "revision": "1", "text": "## Probes\n"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), "pages.parquet")
    main(Path("pages.parquet"), Path("pairs.jsonl"), Path("report.json"))
    written = Path("pairs.jsonl").read_bytes(), Path("report.json").read_bytes()
    assert len(written[0].splitlines()) == json.loads(written[1])["pairs"]["total"] == 4
    assert "a.md:1: broken front matter" in capsys.readouterr().err
    main(Path("pages.parquet"), Path("pairs.jsonl"), Path("report.json"))
    assert (Path("pairs.jsonl").read_bytes(), Path("report.json").read_bytes()) == written
    with pytest.raises(DoctuneError, match="does not exist"):
        main(Path("none.parquet"), Path("pairs.jsonl"), Path("report.json"))
    Path("bad.parquet").write_text("no table")
    with pytest.raises(DoctuneError, match="wanted a table with columns"):
        main(Path("bad.parquet"), Path("pairs.jsonl"), Path("report.json"))
