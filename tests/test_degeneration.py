"""Rows that are no translations, and the reason of each."""

import pytest

from doctune.degeneration import DEGENERATE, REASONS, breakdown, reason
from doctune.scoring.metrics import score

SOURCE = "The keeper feeds the cats every night and writes down what they ate."
CASES = [
    pytest.param(SOURCE, "看守人每晚喂猫，并记下它们吃了什么。", "", id="a-translation"),
    pytest.param(SOURCE, " ", "empty", id="empty"),
    pytest.param("", "", "", id="nothing-of-nothing"),
    pytest.param(SOURCE, "看守人喂猫" + "喂猫" * 9, "repetition", id="two-characters"),
    pytest.param(SOURCE, "哈" * 12, "repetition", id="one-character"),
    pytest.param(SOURCE, "看守人每晚都会给猫喂食，" * 6, "repetition", id="a-clause"),
    pytest.param("ha " * 12, "哈" * 12, "", id="the-source-repeats"),
    pytest.param(SOURCE, SOURCE, "copied", id="source-again"),
    pytest.param(SOURCE, SOURCE[:-1] + "。", "copied", id="source-with-a-chinese-mark"),
    pytest.param("`kubectl get pods -A`", "`kubectl get pods -A`", "", id="code-stays"),
    pytest.param("Open Source Summit Europe", "Open Source Summit Europe", "", id="a-name-stays"),
    pytest.param(SOURCE * 3, "猫。", "too_short", id="short"),
    pytest.param(
        "Feed the cats.",
        "看守人每天夜里都要先去厨房拿鱼然后再把院子里所有猫叫来一只一只喂饱它们才能睡觉",
        "too_long",
        id="long",
    ),
    pytest.param("Overview", "概述", "", id="two-characters-are-enough"),
]


@pytest.mark.parametrize("source, hypothesis, wanted", CASES)
def test_reason(source: str, hypothesis: str, wanted: str) -> None:
    assert reason(source, hypothesis) == wanted


def test_metric_and_breakdown() -> None:
    hypotheses = ["", "看守人每晚喂猫，并记下它们吃了什么。"]
    assert score(DEGENERATE, DEGENERATE.statistics(hypotheses, hypotheses, [SOURCE] * 2)) == 50
    assert not DEGENERATE.higher_is_better
    rows = breakdown(hypotheses, hypotheses, [SOURCE] * 2)
    assert [row["reason"] for row in rows] == list(REASONS) and rows[0] == {"reason": "empty", "rows": 1, "of": 2}
