"""English with more than one Chinese rendering: what counts as another one, the order, the table."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctune.renderings import count, markdown, renderings


def pair(en: str, zh: str, page: str = "a.md", line: int = 1) -> dict[str, Any]:
    return {"en": en, "zh": zh, "page": page, "zh_lines": [line, line]}


CORPUS = [
    pair("Moorings", "系泊", "a.md", 3),
    pair("Moorings", "系泊", "b.md", 4),
    pair("Moorings", "系缆", "c.md", 5),
    pair("The rope is wet.", "缆绳湿了。", "a.md", 9),
    pair("The rope is wet.", "缆绳 湿了。", "d.md", 9),
    pair("The rope\nis wet.", "缆绳\n湿了。", "e.md", 9),
    pair("Tides", "潮汐", "a.md", 12),
    pair("Tides", "潮汐", "b.md", 12),
    pair("Crane", "起重机", "a.md", 20),
    pair("Crane", "吊车", "b.md", 20),
    pair("Crane", "吊机", "c.md", 20),
]


def test_entries_are_whole_and_the_widest_spread_is_first() -> None:
    found = renderings(iter(CORPUS))
    assert [(entry["en"], entry["spread"], entry["differ"]) for entry in found] == [
        ("Crane", 3.0, "wording"),
        ("Moorings", 1.89, "wording"),
        ("The rope is wet.", 1.0, "marks"),
    ]
    assert found[1] == {
        "en": "Moorings",
        "count": 3,
        "spread": 1.89,
        "differ": "wording",
        "renderings": [
            {"zh": "系泊", "count": 2, "places": ["a.md:3", "b.md:4"]},
            {"zh": "系缆", "count": 1, "places": ["c.md:5"]},
        ],
    }
    assert count(found) == {"strings": 3, "differ_in_wording": 2, "differ_in_marks": 1, "places": 9}


@pytest.mark.parametrize(
    ("one", "two", "differ"),
    [
        pytest.param("将锚放下", "将⼀锚放下", "wording", id="another-word"),
        pytest.param("放下⼀个锚", "放下一个锚", None, id="the-same-once-normalised"),
        pytest.param("放下\n锚", "放下锚", None, id="hard-wrapped"),
        pytest.param("放下锚", "**放下锚**。", "marks", id="markup-and-full-stop"),
        pytest.param("见[锚](/a/)", "见[锚](/zh-cn/a/)", "marks", id="link-target"),
    ],
)
def test_what_counts_as_another_rendering(one: str, two: str, differ: str | None) -> None:
    found = renderings([pair("Drop the anchor", one), pair("Drop the anchor", two)])
    assert [entry["differ"] for entry in found] == ([differ] if differ else [])


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("甲乙丙丁"), st.integers(1, 9))))
def test_spread_lies_between_one_and_the_number_of_renderings(rows: list[tuple[str, str, int]]) -> None:
    found = renderings(pair(en, zh, line=line) for en, zh, line in rows)
    for entry in found:
        assert 1 <= entry["spread"] <= len(entry["renderings"])
        assert entry["count"] == sum(len(item["places"]) for item in entry["renderings"])
    assert found == renderings(pair(en, zh, line=line) for en, zh, line in rows)


def test_the_table_shows_any_text_and_says_what_it_leaves_out() -> None:
    many = [pair("a | `b` <i>", f"第{word}种|说法" + "长" * 200, "x|y.md") for word in "一二三四五六七"]
    text = markdown(renderings([*many, *CORPUS]))
    line = next(line for line in text.splitlines() if "\\`b\\`" in line)
    assert line.count(" | ") == 2 and line.endswith("<br>and 2 more |") and "…" in line
    assert "a \\| \\`b\\` &lt;i>" in line and "x\\|y.md:1" in line
    assert "2 differ in wording" not in text and "3 differ in wording, 1 only in spacing" in text


def test_a_consistent_site_has_nothing_to_list() -> None:
    assert renderings([pair("Tides", "潮汐"), pair("Tides", "潮汐", "b.md")]) == []
    assert markdown([]).count("None.") == 2
