"""Style rules on texts and pages, mends, and the command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctune.lint.metric import STYLE, breakdown
from doctune.lint.page import fix_page, lint_page, place
from doctune.lint.rules import lint, mend
from doctune.scoring.metrics import score

ROOT = Path(__file__).parents[1]
CASES = [
    pytest.param("创建Pod时", "创建 Pod 时", {"space"}, id="no-space"),
    pytest.param("创建  Pod", "创建 Pod", {"space"}, id="two-spaces"),
    pytest.param("创建[Pod](/a/)时", "创建 [Pod](/a/) 时", {"space"}, id="link-in-english"),
    pytest.param("创建**Pod**时", "创建 **Pod** 时", {"space"}, id="emphasis"),
    pytest.param("先喂猫,再喂狗.", "先喂猫，再喂狗。", {"punctuation"}, id="half-width"),
    pytest.param("例如: 猫", "例如：猫", {"punctuation"}, id="space-goes-with-the-mark"),
    pytest.param("猫 (见 `a`) 与狗", "猫（见 `a`）与狗", {"brackets"}, id="brackets-keep-the-code-inside"),
    pytest.param("喂猫） ，再喂狗", "喂猫），再喂狗", {"loose"}, id="space-before-a-mark"),
    pytest.param("您好", "你好", {"you"}, id="you"),
    pytest.param("列出 pods 和豆荚", "列出 pods 和豆荚", {"kind"}, id="kinds-have-no-mend"),
    pytest.param("这是*重点*内容", "这是**重点**内容", {"italic"}, id="italic"),
    pytest.param("创建 Pod，在 `a,b` 里写 x=y。", "创建 Pod，在 `a,b` 里写 x=y。", set(), id="clean"),
    pytest.param("见[图](/a,b/猫.png)。", "见[图](/a,b/猫.png)。", set(), id="link-target"),
    pytest.param("**译者** ：李明 (百度)", "**译者** ：李明 (百度)", set(), id="the-guides-own-signature"),
    pytest.param("Hello,world (x)", "Hello,world (x)", set(), id="no-chinese"),
]


@pytest.mark.parametrize("text, mended, rules", CASES)
def test_rules_and_mends(text: str, mended: str, rules: set[str]) -> None:
    found = lint(text)
    assert {finding.rule for finding in found} == rules
    assert mend(text, found) == mended


PAGE = """---
title: 您好
weight: 1
---

<!-- 您 -->
## 概述,说明 {#a}

```
您,好
```
{{< note >}}
请看Pod。
{{< /note >}}

<p title="您">`您`</p>
"""


def test_a_page_is_read_where_it_is_prose() -> None:
    found = [(finding.rule, *place(PAGE, finding.start)) for finding in lint_page(PAGE)]
    assert found == [("you", 2, 8), ("punctuation", 7, 6), ("space", 13, 3)]
    mended = fix_page(PAGE)
    assert lint_page(mended) == []
    assert mended.replace("你好", "您好").replace("，", ",", 1).replace("看 Pod", "看Pod") == PAGE


def test_every_text_of_the_front_matter_is_read() -> None:
    page = "---\ntitle: 您\nlinkTitle: 您\ndescription: 您\nshort_description: 您\nauthor: 您\n---\n"
    assert [place(page, finding.start)[0] for finding in lint_page(page)] == [2, 3, 4, 5]


@pytest.mark.parametrize("end", [pytest.param("\r\n", id="windows"), pytest.param("\r", id="returns")])
def test_line_ends_change_no_finding_and_stay(end: str) -> None:
    page = PAGE.replace("\n", end)
    found = [(finding.rule, *place(page, finding.start), *place(page, finding.end)) for finding in lint_page(page)]
    assert found == [(f.rule, *place(PAGE, f.start), *place(PAGE, f.end)) for f in lint_page(PAGE)] and found
    assert fix_page(page) == fix_page(PAGE).replace("\n", end)


@given(st.text(alphabet="您好Pod,.:()*_`# [](/)\n，。（）-|", max_size=40), st.sampled_from(["\r\n", "\r"]))
def test_line_ends_stay_where_any_page_is_mended(text: str, end: str) -> None:
    assert fix_page(text.replace("\n", end)) == fix_page(text).replace("\n", end)


@given(st.text(alphabet="您好Pod,.:()*_` [](/)\n，。（）", max_size=40))
def test_a_mend_leaves_nothing_to_mend_and_findings_lie_in_the_text(text: str) -> None:
    assert all(0 <= finding.start <= finding.end <= len(text) for finding in lint(text))
    mended = mend(text, lint(text))
    assert "您" not in mended or "`" in text or "(" in text


def run(folder: Path, *options: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "doctune.cli", "lint", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, input=text, capture_output=True, text=True, check=False)


def test_command(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_bytes("您好\r\n\r\n运行Pod。\r\n".encode())
    done = run(tmp_path, "a.md")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "a.md:1:1: you: 您, wanted 你")
    assert json.loads(run(tmp_path, "--json", "-", text="您").stdout)["rule"] == "you"
    assert run(tmp_path, "--fix", "a.md").returncode == 0
    assert page.read_bytes().decode() == "你好\r\n\r\n运行 Pod。\r\n"
    missing = run(tmp_path, "b.md")
    assert missing.returncode == 1 and missing.stderr.startswith("doctune: error: b.md: wanted a Markdown file")


def test_folders_are_read_to_their_depth(tmp_path: Path) -> None:
    for name in ("docs/b/deep.mdx", "docs/a.md", "docs/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("您好\n", encoding="utf-8")
    found = run(tmp_path, "docs")
    assert [line.partition(":")[0] for line in found.stdout.splitlines()] == ["docs/a.md", "docs/b/deep.mdx"]
    (tmp_path / "empty").mkdir()
    assert "found none below it" in run(tmp_path, "empty").stderr


def test_links_below_a_folder_are_left_and_one_that_is_named_stays_a_link(tmp_path: Path) -> None:
    for name in ("docs/a.md", "other/b.md"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("您好\n", encoding="utf-8")
    (tmp_path / "docs/file.md").symlink_to(tmp_path / "other/b.md")
    (tmp_path / "docs/folder").symlink_to(tmp_path / "other")
    assert run(tmp_path, "docs").stdout.splitlines() == ["docs/a.md:1:1: you: 您, wanted 你"]
    assert run(tmp_path, "--fix", "docs").returncode == 0
    assert (tmp_path / "other/b.md").read_text(encoding="utf-8") == "您好\n"
    assert run(tmp_path, "--fix", "docs/file.md").returncode == 0
    assert (tmp_path / "docs/file.md").is_symlink()
    assert (tmp_path / "other/b.md").read_text(encoding="utf-8") == "你好\n"


def test_metric_and_breakdown() -> None:
    assert score(STYLE, STYLE.statistics(["你好", "您好您"], ["", ""])) == 50
    rows = {row["rule"]: row for row in breakdown(["你好", "您好您"], ["", ""])}
    assert rows["you"] == {"rule": "you", "findings": 2, "rows": 1, "of": 2}
