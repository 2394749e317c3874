"""What of the markup is kept, by kind, and its metrics."""

import pytest

from doctune.scoring.metrics import score
from doctune.structure.kept import breakdown, compare
from doctune.structure.metric import STRUCTURE, STRUCTURE_PRECISION, STRUCTURE_RECALL, STRUCTURE_ROWS
from doctune.structure.numbers import digits, spelled

CASES = [
    pytest.param("Run `ls` twice.", "运行 ls 两次。", {"code": (0, 1, 0)}, id="backticks-dropped"),
    pytest.param("Use `a` or `a`.", "使用 `a`。", {"code": (1, 2, 1)}, id="one-of-two"),
    pytest.param("Set `a`.", "设置 <code>a</code>。", {"code": (1, 1, 1)}, id="another-way-to-write-code"),
    pytest.param("Move `<old name>`.", "移动 `<旧名>`。", {"code": (1, 1, 1)}, id="slot-is-translated"),
    pytest.param("The name field.", "`name` 字段。", {}, id="code-marked-up-is-no-addition"),
    pytest.param("Wash it.", "用 `soap` 洗。", {"code": (0, 0, 1)}, id="code-made-up"),
    pytest.param("See [tea](/docs/tea/).", "见[茶](/zh-cn/docs/tea)。", {"link": (1, 1, 1)}, id="link-localised"),
    pytest.param("See [tea](/docs/tea/).", "见[茶](/zh_Hans/docs/tea)。", {"link": (1, 1, 1)}, id="link-localised-so"),
    pytest.param("See [tea](/docs/tea/).", "见[茶](/docs/coffee/)。", {"link": (0, 1, 1)}, id="another-link"),
    pytest.param("Open https://tea.example/a.", "打开它。", {"url": (0, 1, 0)}, id="url-lost"),
    pytest.param(
        'A {{< glossary_tooltip text="cup" term_id="cup" >}}',
        '一个{{< glossary_tooltip text="杯子" term_id="cup" >}}',
        {"shortcode": (1, 1, 1)},
        id="tooltip-translated",
    ),
    pytest.param("One<br/>two", "一<br>二", {"tag": (1, 1, 1)}, id="tag"),
    pytest.param("Pour ⟦1⟧", "倒入", {"placeholder": (0, 1, 0)}, id="placeholder"),
    pytest.param("Stir *well*", "**好好**搅拌", {"emphasis": (1, 1, 1)}, id="bold-for-italic"),
    pytest.param("**Note:** hot", "**注意：**很烫", {"emphasis": (0, 1, 0)}, id="stars-that-stay-stars"),
    pytest.param("After 3 days", "三天之后", {"number": (1, 1, 1)}, id="digits-spelled"),
    pytest.param("In three days", "在 3 天内", {}, id="spelled-as-digits"),
    pytest.param("At most 256 cups", "至多 32 杯", {"number": (0, 1, 1)}, id="another-number"),
    pytest.param("Over 1.5 million, or 3,000", "超过 150 万，或 3000", {"number": (2, 2, 2)}, id="units"),
]


@pytest.mark.parametrize("source, hypothesis, wanted", CASES)
def test_kept_by_kind(source: str, hypothesis: str, wanted: dict[str, tuple[int, int, int]]) -> None:
    assert {kind: tuple(found) for kind, found in compare(source, hypothesis).items()} == wanted


def test_metrics_and_breakdown() -> None:
    sources = ["Run `a` and `b`.", "Plain.", "Wait 5 days."]
    hypotheses = ["运行 `a`。", "普通。", "等 5 天。"]
    assert score(STRUCTURE, STRUCTURE.statistics(hypotheses, hypotheses, sources)) == pytest.approx(100 * 4 / 5)
    assert score(STRUCTURE_ROWS, STRUCTURE_ROWS.statistics(hypotheses, hypotheses, sources)) == 50
    more = ["运行 `a`。", "普通 `x` `y`。", "等 5 天。"]
    assert score(STRUCTURE_RECALL, STRUCTURE_RECALL.statistics(more, more, sources)) == pytest.approx(100 * 2 / 3)
    assert score(STRUCTURE_PRECISION, STRUCTURE_PRECISION.statistics(more, more, sources)) == 50
    assert score(STRUCTURE, STRUCTURE.statistics(["好"], ["好"], ["Good"])) == 100
    rows = {row["kind"]: row for row in breakdown(hypotheses, hypotheses, sources)}
    assert (rows["code"]["wanted"], rows["code"]["kept"], rows["code"]["recall"]) == (2, 1, 50.0)


@pytest.mark.parametrize(
    "text, wanted", [("十二月", "12"), ("三百零五", "305"), ("两万", "20000"), ("二〇二五年", "2025")]
)
def test_chinese_numerals(text: str, wanted: str) -> None:
    assert spelled(text) == {wanted}


def test_versions_are_numbers_and_names_are_not() -> None:
    assert digits("v1.30.2 of ipv4 in 10ms, x86_64") == digits("1.30.2 10 毫秒")
