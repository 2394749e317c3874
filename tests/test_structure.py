"""Pairs from two pages without comments: the lexicon, likeness, the lattice, structure, sentences, page names, the memo."""

import itertools
import json
import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctune.alignment.corpus import align_pages
from doctune.alignment.lattice import MERGE, SKIP, align, chance
from doctune.alignment.learning import learn, write
from doctune.alignment.lexicon import load, stems, units
from doctune.alignment.likeness import items, likeness, merged
from doctune.alignment.names import partners
from doctune.alignment.page import align_page
from doctune.alignment.params import AlignParams
from doctune.alignment.sentences import cut_sentences, leaves_out, sentence_pairs
from doctune.alignment.trees import align_trees
from doctune.errors import DoctuneError
from doctune.markdown import Document

PARAMS = AlignParams(sentences=False, min_score=0.8, max_chars=1200, min_ratio=0.2, max_ratio=1.8, max_latin=0.75)

ENGLISH = """\
---
title: Storage for Teams
---
Every team gets a volume of its own.

## Before you begin {#before-you-begin}

You need a cluster and the `kubectl` tool.

## Create the claim

1. Write a manifest for the claim.
1. Apply it:

   ```shell
   kubectl apply -f claim.yaml
   ```

1. Wait until the claim is bound.

| Field | Meaning |
|---|---|
| `size` | The size of the volume in gigabytes |
| `mode` | Who may write to it |

The claim stays when the Pod is deleted. Delete it by hand when nobody needs the data any more.
"""
CHINESE = """\
---
title: 面向团队的存储
---
每个团队都会得到一个属于自己的卷。

## 准备开始 {#before-you-begin}

你需要一个集群和 `kubectl` 工具。

## 创建申领

1. 为申领编写一份清单。
1. 应用它：

   ```shell
   kubectl apply -f claim.yaml
   ```

1. 等待申领被绑定。

| 字段 | 含义 |
|---|---|
| `size` | 卷的大小，以 GB 为单位 |
| `mode` | 谁可以写入卷 |

Pod 被删除时，申领会保留下来。当没有人再需要这些数据时，请手动删除它。
"""
WANTED = {
    ("Storage for Teams", "面向团队的存储"),
    ("Every team gets a volume of its own.", "每个团队都会得到一个属于自己的卷。"),
    ("Before you begin", "准备开始"),
    ("You need a cluster and the `kubectl` tool.", "你需要一个集群和 `kubectl` 工具。"),
    ("Create the claim", "创建申领"),
    ("Write a manifest for the claim.", "为申领编写一份清单。"),
    ("Apply it:", "应用它："),
    ("Wait until the claim is bound.", "等待申领被绑定。"),
    ("Field", "字段"),
    ("Meaning", "含义"),
    ("The size of the volume in gigabytes", "卷的大小，以 GB 为单位"),
    ("Who may write to it", "谁可以写入卷"),
    (
        "The claim stays when the Pod is deleted. Delete it by hand when nobody needs the data any more.",
        "Pod 被删除时，申领会保留下来。当没有人再需要这些数据时，请手动删除它。",
    ),
}


def pairs(chinese: str, english: str | None, params: AlignParams = PARAMS) -> set[tuple[str, str]]:
    return {(row["en"], row["zh"]) for row in align_page("a.md", chinese, english, params)[0]}


def without(text: str, line: str) -> str:
    assert line in text
    return text.replace(line + "\n\n", "", 1) if line + "\n\n" in text else text.replace(line + "\n", "", 1)


def test_two_pages_without_a_comment() -> None:
    assert pairs(CHINESE, ENGLISH) == WANTED
    rows, _ = align_page("a.md", CHINESE, ENGLISH, PARAMS)
    assert {row["method"] for row in rows} == {"structure"}
    last = rows[-1]
    assert last["en_lines"] == [26, 26] and last["zh_lines"] == [26, 26] and last["section"] == "Create the claim"
    assert all(0.8 <= row["score"] <= 1 for row in rows)
    assert pairs(CHINESE, None) == set(), "nothing says what the English is"


@pytest.mark.parametrize(
    ("side", "line", "lost"),
    [
        pytest.param(
            "zh", "你需要一个集群和 `kubectl` 工具。", "你需要一个集群和 `kubectl` 工具。", id="not-translated-yet"
        ),
        pytest.param(
            "en",
            "Every team gets a volume of its own.",
            "每个团队都会得到一个属于自己的卷。",
            id="gone-from-the-english",
        ),
        pytest.param("en", "1. Write a manifest for the claim.", "为申领编写一份清单。", id="an-item-less"),
        pytest.param("en", "| `mode` | Who may write to it |", "谁可以写入卷", id="a-row-less"),
        pytest.param("zh", "## 创建申领", "创建申领", id="a-heading-less"),
    ],
)
def test_pages_out_of_step_give_fewer_pairs_not_wrong_ones(side: str, line: str, lost: str) -> None:
    chinese, english = (without(CHINESE, line), ENGLISH) if side == "zh" else (CHINESE, without(ENGLISH, line))
    there = {pair for pair in WANTED if pair[1] != lost}
    got = pairs(chinese, english)
    assert got <= there and len(got) >= len(there) - 1


def test_another_paragraph_in_its_place_is_no_pair() -> None:
    moved_on = ENGLISH.replace(
        "You need a cluster and the `kubectl` tool.", "Ask an administrator for access to the registry of images first."
    )
    assert pairs(CHINESE, moved_on) == {
        pair for pair in WANTED if pair[0] != "You need a cluster and the `kubectl` tool."
    }


def test_one_with_two_and_two_with_one() -> None:
    en = "Install the agent on every node with `agent install`.\n\nThen restart the scheduler with `systemctl restart`.\n\nNothing else is needed."
    zh = (
        "使用 `agent install` 在每个节点上安装代理，然后使用 `systemctl restart` 重启调度器。\n\n不需要做其他任何事情。"
    )
    joined = (
        "Install the agent on every node with `agent install`.\n\nThen restart the scheduler with `systemctl restart`."
    )
    assert pairs(zh, en) == {
        (joined, "使用 `agent install` 在每个节点上安装代理，然后使用 `systemctl restart` 重启调度器。"),
        ("Nothing else is needed.", "不需要做其他任何事情。"),
    }
    en = "Every container has a name, and its image is pulled from the registry.\n\nNothing else is needed."
    zh = "每个容器都有一个名称。\n\n它的镜像是从仓库拉取的。\n\n不需要做其他任何事情。"
    assert (
        "Every container has a name, and its image is pulled from the registry.",
        "每个容器都有一个名称。\n\n它的镜像是从仓库拉取的。",
    ) in pairs(zh, en)


def test_comments_hold_the_page_and_structure_fills_the_rest() -> None:
    chinese = (
        "<!--\nEvery team gets a volume of its own.\n-->\n每个团队都会得到一个属于自己的卷。\n\n集群管理员决定卷的大小。\n\n"
        + ("<!--\nAsk for a larger one.\n-->\n可以申请更大的卷。\n")
    )
    english = "Every team gets a volume of its own.\n\nThe cluster administrator decides the size of the volume.\n\nAsk for a larger one.\n"
    rows, _ = align_page("a.md", chinese, english, PARAMS)
    assert [(row["en"], row["method"]) for row in rows] == [
        ("Every team gets a volume of its own.", "comment"),
        ("The cluster administrator decides the size of the volume.", "structure"),
        ("Ask for a larger one.", "comment"),
    ]


def test_a_comment_inside_a_line_leaves_the_line_whole() -> None:
    chinese = "- **dryRun** <!--(*in query*):-->（**查询参数**）: string\n- <!--Default:-->默认值：8080\n"
    english = "- **dryRun** (*in query*): string\n- Default: 8080\n"
    assert pairs(chinese, english) == {
        ("**dryRun** (*in query*): string", "**dryRun** （**查询参数**）: string"),
        ("Default: 8080", "默认值：8080"),
    }


def test_what_a_comment_explains_is_not_explained_again_by_todays_english() -> None:
    chinese = "<!--\nThe default is ten.\n\nUse `old-flag` to change the default.\n-->\n默认值是十。\n\n使用其他参数。\n\n一切都可以修改。\n"
    english = "The default is ten.\n\nOther parameters can be used too.\n"
    assert all(row["method"] == "comment" for row in align_page("a.md", chinese, english, PARAMS)[0])


# The lattice, against every alignment there is.


def brute_force(
    one: np.ndarray, two_en: np.ndarray | None, two_zh: np.ndarray | None
) -> dict[tuple[int, int, int, int], float]:
    """Posterior of every bead, from a list of all alignments."""
    n, m = one.shape

    def walk(i: int, j: int):
        if i == n and j == m:
            yield 0.0, ()
        if i < n:
            yield from ((SKIP + w, beads) for w, beads in walk(i + 1, j))
        if j < m:
            yield from ((SKIP + w, beads) for w, beads in walk(i, j + 1))
        for a, b, table, cost in ((1, 1, one, 0.0), (2, 1, two_en, MERGE), (1, 2, two_zh, MERGE)):
            if table is not None and i + a <= n and j + b <= m:
                value = float(table[i, j]) + cost
                yield from ((value + w, ((i, i + a, j, j + b), *beads)) for w, beads in walk(i + a, j + b))

    weights: dict[tuple[int, int, int, int], float] = {}
    total = 0.0
    for weight, beads in walk(0, 0):
        total += math.exp(weight)
        for bead in beads:
            weights[bead] = weights.get(bead, 0.0) + math.exp(weight)
    return {bead: weight / total for bead, weight in weights.items()}


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_posteriors_are_those_of_all_alignments(n: int, m: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    one = random.normal(0, 4, (n, m))
    two_en = random.normal(2, 4, (n - 1, m)) if n > 1 else None
    two_zh = random.normal(2, 4, (n, m - 1)) if m > 1 else None
    wanted = {bead: p for bead, p in brute_force(one, two_en, two_zh).items() if p >= 0.5}
    got = {(*bead.en, *bead.zh): bead.posterior for bead in align(one, two_en, two_zh)}
    assert got.keys() == wanted.keys()
    assert all(math.isclose(got[bead], wanted[bead], rel_tol=1e-9) for bead in got)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_beads_never_cross_and_share_nothing(n: int, m: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    beads = align(
        random.normal(0, 6, (n, m)), random.normal(2, 6, (max(n - 1, 0), m)), random.normal(2, 6, (n, max(m - 1, 0)))
    )
    for before, after in itertools.pairwise(beads):
        assert before.en[1] <= after.en[0] and before.zh[1] <= after.zh[0]
    assert all(0.5 <= bead.posterior <= 1 and 0 < chance(bead) < 1 for bead in beads)


# Words


def test_the_lexicon_knows_words_by_their_renderings() -> None:
    lexicon = load()
    assert lexicon.english("Install the container.") <= lexicon.chinese("安装容器。")
    assert lexicon.words["instal"] not in lexicon.chinese("删除卷。")
    assert stems("Containers `kubectl` running") == {"contain", "run"}
    assert units("安装 `卷` 卷宗") == {"安", "装", "安装", "卷", "宗", "卷宗"}
    assert ((lexicon.hit > 0) & (lexicon.hit < 1) & (lexicon.rate > 0)).all()


def test_learning_finds_the_rendering(tmp_path: Path) -> None:
    nouns = {"cat": "猫", "dog": "狗", "horse": "马", "bird": "鸟", "fish": "鱼"}
    verbs = {"sleeps": "睡觉", "runs": "奔跑", "eats": "进食", "waits": "等待"}
    texts = [(f"The {n} {v}.", f"{nouns[n]}正在{verbs[v]}。") for n, v in itertools.product(nouns, verbs)]
    table = {entry.stem: set(entry.renderings) for entry in learn(texts * 2)}
    assert table["cat"] == {"猫"} and table["fish"] == {"鱼"} and table["sleep"] <= {"睡", "觉", "睡觉"}
    write(learn(texts * 2), tmp_path / "lexicon.tsv")
    assert all(
        len(line.split("\t")) == 4 for line in (tmp_path / "lexicon.tsv").read_text(encoding="utf-8").splitlines()
    )


@pytest.mark.parametrize(
    ("en", "right", "wrong"),
    [
        pytest.param("The scheduler chooses a node.", "调度器选择一个节点。", "卷在容器重启后仍然保留。", id="words"),
        pytest.param("Set it to 30 seconds.", "将其设置为 30 秒。", "将其设置为 10 秒。", id="numbers"),
        pytest.param(
            "See [it](/docs/a/).", "请参阅[此处](/zh-cn/docs/a/)。", "请参阅[此处](/zh-cn/docs/b/)。", id="links"
        ),
        pytest.param("Run `apply`.", "运行 `apply`。", "运行 `delete`。", id="code"),
        pytest.param("Ask the etcd team.", "询问 etcd 团队。", "询问 Helm 团队。", id="names"),
    ],
)
def test_likeness(en: str, right: str, wrong: str) -> None:
    zh = Document(f"{right}\n\n{wrong}").blocks()
    [[fits, other]] = likeness(items(Document(en).blocks(), "en"), items(zh, "zh"))
    assert fits > other + 0.5 and fits > 0


def test_only_like_neighbours_are_taken_as_one() -> None:
    english = items(Document("## A\n\nOne.\n\nTwo.\n\n- three\n").blocks(), "en")
    two_en, two_zh = merged(english, items(Document("甲。\n").blocks(), "zh"))
    assert two_zh is None and two_en is not None and two_en.shape == (3, 1)
    assert list(two_en[:, 0] > -30) == [False, True, False]


# Sentences


@pytest.mark.parametrize(
    ("lang", "text", "want"),
    [
        pytest.param("en", "Pods run. Nodes too!", ["Pods run.", "Nodes too!"], id="two"),
        pytest.param("en", "Use e.g. a Job. Or not.", ["Use e.g. a Job.", "Or not."], id="abbreviation"),
        pytest.param("en", "Run `a. B`. See [x](/a.B/).", ["Run `a. B`.", "See [x](/a.B/)."], id="code-and-links"),
        pytest.param("en", "Version 1.2 is old", ["Version 1.2 is old"], id="number"),
        pytest.param("zh", "Pod 在运行。节点也是！", ["Pod 在运行。", "节点也是！"], id="chinese"),
        pytest.param("zh", "他说：“完成了。”然后离开。", ["他说：“完成了。”", "然后离开。"], id="quotation"),
        pytest.param("zh", "**注意。**请备份", ["**注意。**请备份"], id="emphasis"),
    ],
)
def test_cut_sentences(lang: str, text: str, want: list[str]) -> None:
    assert cut_sentences(text, lang) == want  # type: ignore[arg-type]  # "en" or "zh"


@pytest.mark.parametrize(
    ("zh", "lacks"),
    [
        pytest.param("每个节点都运行一个 kubelet。默认值为 10 秒。", False, id="whole"),
        pytest.param("每个节点都运行一个 kubelet，默认值为 10 秒。", False, id="joined"),
        pytest.param("每个节点都运行一个 kubelet。", True, id="second-left-out"),
        pytest.param(
            "每个节点都运行一个 kubelet，它负责启动容器，并持续检查容器的状态。", True, id="explained-instead"
        ),
    ],
)
def test_a_sentence_left_out(zh: str, lacks: bool) -> None:
    assert leaves_out("Every node runs a kubelet. The default value is 10 seconds.", zh) == lacks


def test_sentences_of_a_pair() -> None:
    en = "Every node runs a kubelet. It starts the containers. If one fails, the kubelet restarts it."
    zh = "每个节点都运行一个 kubelet，由它启动容器。如果某个容器失败，kubelet 会重启它。"
    assert [(e, z) for e, z, _ in sentence_pairs(en, zh)[0]] == [
        ("Every node runs a kubelet. It starts the containers.", "每个节点都运行一个 kubelet，由它启动容器。"),
        ("If one fails, the kubelet restarts it.", "如果某个容器失败，kubelet 会重启它。"),
    ]
    en, zh = f"{en} Nothing else is installed on it.", f"{zh}"
    assert sentence_pairs(en, zh)[1] == 1, "the sentence that has no counterpart is told"
    rows, _ = align_page("a.md", CHINESE, ENGLISH, PARAMS.model_copy(update={"sentences": True}))
    assert all(row["score"] >= PARAMS.min_score for row in rows)
    assert (
        rows[-1]["en"] == "Delete it by hand when nobody needs the data any more."
        and rows[-1]["method"] == "structure+sentence"
    )


@pytest.mark.parametrize("end", [pytest.param("\r\n", id="windows"), pytest.param("\r", id="returns")])
def test_line_ends_change_no_pair(end: str) -> None:
    wanted = align_page("a.md", CHINESE, ENGLISH, PARAMS)
    assert align_page("a.md", CHINESE.replace("\n", end), ENGLISH.replace("\n", end), PARAMS) == wanted
    assert {(row["en"], row["zh"]) for row in wanted[0]} == WANTED


# Pages of two trees


@pytest.mark.parametrize(
    ("english", "chinese", "want"),
    [
        pytest.param(["a/b.md"], ["a/b.md"], {"a/b.md": "a/b.md"}, id="same"),
        pytest.param(["i.en-US.md"], ["i.zh-CN.md"], {"i.zh-CN.md": "i.en-US.md"}, id="marks"),
        pytest.param(["a/README.md"], ["a/index.zh.mdx"], {"a/index.zh.mdx": "a/README.md"}, id="own-page"),
        pytest.param(["Guide.md"], ["zh/guide.md"], {"zh/guide.md": "Guide.md"}, id="folder-mark"),
        pytest.param(["a.md", "a.en.md"], ["a.zh.md"], {}, id="two-may-be-meant"),
        pytest.param(["frozen.md"], ["fro.md"], {}, id="no-mark-inside-a-word"),
    ],
)
def test_partners(english: list[str], chinese: list[str], want: dict[str, str]) -> None:
    assert partners(english, chinese) == want


def test_trees_of_any_name(tmp_path: Path) -> None:
    for folder, name, text in (("original", "storage.en.md", ENGLISH), ("translated", "storage.zh-CN.mdx", CHINESE)):
        (tmp_path / folder / "guide").mkdir(parents=True)
        (tmp_path / folder / "guide" / name).write_text(text, encoding="utf-8")
    rows, report = align_trees(tmp_path / "original", tmp_path / "translated", PARAMS)
    assert {(row["en"], row["zh"]) for row in rows} == WANTED and report["pages"]["both"] == 1
    with pytest.raises(DoctuneError, match="wanted a folder of zh pages"):
        align_trees(tmp_path / "original", tmp_path / "nowhere", PARAMS)


# The memo and the workers change time only


def pages(number: int, changed: int = -1) -> list[dict[str, str]]:
    rows = []
    for n in range(number):
        more = "\n\n今天又更新了一次。\n" if n == changed else ""
        rows += [
            {"lang": "en", "path": f"{n}.md", "text": ENGLISH.replace("Every team", f"Team {n}")},
            {"lang": "zh", "path": f"{n}.md", "text": CHINESE.replace("每个团队", f"团队 {n}") + more},
        ]
    return rows


def test_memo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from doctune.alignment import corpus

    aligned: list[str] = []
    real = corpus.align_page
    monkeypatch.setattr(corpus, "align_page", lambda path, *rest: aligned.append(path) or real(path, *rest))
    memo = tmp_path / "memo.sqlite"
    first = align_pages(pages(3), PARAMS, memo)
    assert align_pages(pages(3), PARAMS, memo) == first and aligned == ["0.md", "1.md", "2.md"]
    aligned.clear()
    after = align_pages(pages(3, changed=1), PARAMS, memo)
    assert aligned == ["1.md"], "only the page that changed"
    assert after == align_pages(pages(3, changed=1), PARAMS) and json.dumps(after) != json.dumps(first)
    aligned.clear()
    align_pages(pages(3, changed=1), PARAMS.model_copy(update={"max_chars": 50}), memo)
    assert len(aligned) == 3, "other params, other results"
    memo.write_text("broken")
    assert align_pages(pages(3), PARAMS, memo) == first
    with sqlite3.connect(memo) as base:
        base.execute("UPDATE page SET value = 'broken'")
    assert align_pages(pages(3), PARAMS, memo) == first, "what cannot be read is made anew"


@pytest.mark.slow
def test_workers_give_the_same() -> None:
    assert align_pages(pages(20), PARAMS, workers=2) == align_pages(pages(20), PARAMS)
