"""The leakage count sees what the splitter would miss, and agrees with it on what a near duplicate is."""

import random
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctune import leakage as module
from doctune import near, text
from doctune.leakage import leakage, leaked
from doctune.words import Texts


def row(page: str, number: int, en: str) -> dict[str, Any]:
    return {"id": f"{page}-{number}", "page": page, "en": en}


def test_what_it_counts() -> None:
    train = [
        row("a.md", 1, "Use **Pods**."),
        row("b.md", 2, "Stop."),
        row("b.md", 4, "Wait for a node to be ready now."),
    ]
    test = [
        row("c.md", 1, "use pods"),
        row("b.md", 3, "Stop."),
        row("d.md", 1, "Go!"),
        row("d.md", 2, "Wait for the node to be ready now"),
    ]
    found = leakage(train, [], test, 0.7, (1, 2))
    assert found["test_in_train"] == {
        "rows": 4,
        "identical": 1,
        "same_letters": 2,
        "pages": 1,
        "ids": 0,
        "near": 3,
        "highest": {"1": 1.0, "2": 1.0},
    }
    nothing = {"identical": 0, "same_letters": 0, "pages": 0, "ids": 0, "near": 0, "highest": {"1": 0.0, "2": 0.0}}
    assert found["valid_in_train"] == {"rows": 0} | nothing
    assert found["test_in_valid"] == {"rows": 4} | nothing


@pytest.mark.parametrize("way", ["identical", "same_letters", "near", "ids"])
def test_what_leaked_is_what_most_is_found_by(way: str) -> None:
    counts = {"rows": 9, "identical": 1, "same_letters": 2, "pages": 8, "ids": 0, "near": 3, "highest": {"1": 1.0}}
    assert leaked(counts) == 3
    assert leaked(counts | {way: 7}) == 7


def test_near_at_the_threshold_and_highest_below_it() -> None:
    one, two = [row("a.md", 1, "a b c d e")], [row("b.md", 1, "b a c d x")]
    assert leakage(one, [], two, 4 / 6, (1,))["test_in_train"]["near"] == 1
    found = leakage(one, [], two, 0.7, (1, 2, 3))["test_in_train"]
    assert (found["near"], found["highest"]) == (0, {"1": 0.6667, "2": 0.1429, "3": 0.0})


def test_more_rows_than_fit_one_product() -> None:
    words = [f"w{number}" for number in range(40)]
    chance = random.Random(5)
    others = [row("a.md", number, " ".join(chance.sample(words, 6))) for number in range(2 * module._AT_ONCE + 7)]
    asked = [
        row("b.md", number, others[place]["en"]) for number, place in enumerate((0, module._AT_ONCE, len(others) - 1))
    ]
    assert leakage(others, [], asked, 1.0, (3,))["test_in_train"]["near"] == 3


# ---- the same words, read twice

PIECES = (
    ["{{<", "{{%", ">}}", "%}}", "{{< note >}}", "text=", " term_id = ", '"', "“", "”", "context="]
    + [
        "[",
        "]",
        "(",
        ")",
        "!",
        "](/a/)",
        "![",
        "][",
        "<",
        "</",
        ">",
        "<b>",
        "</code>",
        "<a href='x'",
        "{",
        "}",
        "`",
        "*",
    ]
    + [
        "a",
        "B",
        "é",
        "ß",
        "İ",
        "ﬀ",
        "½",
        "Ａ",
        "１",
        "节点",
        "，",
        "㐀",
        "\U00020000",
        "⽟",
        "_",
        "-",
        ".",
        " ",
        "\n",
        "\u00a0",
    ]
)
MARKUP = st.lists(st.one_of(st.sampled_from(PIECES), st.characters()), max_size=30).map("".join)


@settings(deadline=None, max_examples=300)
@given(MARKUP)
def test_both_readers_read_the_same_words(source: str) -> None:
    assert tuple(module._words(source)) == text.words(source)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param('{{< glossary_tooltip text="a node" term_id="node" >}} up', id="tooltip-text"),
        pytest.param("{{% glossary_tooltip term_id=“node” %}}!", id="tooltip-term"),
        pytest.param('{{< x context="no" text = "yes" >}}', id="attribute-inside-another-name"),
        pytest.param('{{< x text="" term_id="node" >}}', id="empty-text"),
        pytest.param("{{< x {{< y >}} z", id="shortcode-in-a-shortcode"),
        pytest.param("a![b](/c/)!d ![e][f]", id="images"),
        pytest.param("![a [b] c](/d(e)f) [g][h] [i [j [k]]](l)", id="links"),
        pytest.param("[a](b(c(d)))", id="too-deep"),
        pytest.param("[a] (b) a[0](x", id="no-links"),
        pytest.param("<a href='x'>b</a> 1 < 2 > 0 <3> </ b> <c", id="tags"),
        pytest.param("{[{](x)<a>}} <b {[{](x)<a>}}> <c {[{](x)<a\n>}}>", id="shortcodes-made-of-links"),
        pytest.param("创建Pod和Job", id="chinese-without-spaces"),
        pytest.param("——", id="marks-only"),
        pytest.param("", id="empty"),
    ],
)
def test_both_readers_on_what_is_hard(source: str) -> None:
    assert tuple(module._words(source)) == text.words(source)


def test_both_readers_know_every_character() -> None:
    every = [
        chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in ("Cs", "Cn", "Co")
    ]
    for at in range(0, len(every), 1000):
        source = "a".join(every[at : at + 1000])
        assert tuple(module._words(source)) == text.words(source)


FEW = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "**f**", "[g](/h/)", "节", "点"]), max_size=8).map(" ".join)


@settings(deadline=None)
@given(st.lists(FEW, min_size=1, max_size=6), st.lists(FEW, max_size=6), st.sampled_from([0.3, 0.5, 2 / 3, 0.8, 1.0]))
def test_both_agree_on_what_is_near(held: list[str], others: list[str], threshold: float) -> None:
    texts = Texts()
    numbers = [(texts.add(en),) for en in others]
    index = near.NearIndex(threshold, near.NGRAMS, texts, numbers)
    index.add(numbers)
    found = leakage(
        [row("a.md", n, en) for n, en in enumerate(others)],
        [],
        [row("b.md", n, en) for n, en in enumerate(held)],
        threshold,
        near.NGRAMS,
    )["test_in_train"]
    assert found["near"] == len({place for place, _ in index.near([(texts.add(en),) for en in held])})
    for size in near.NGRAMS:
        best = max(
            (
                near.jaccard(near.ngrams(text.words(one), size), near.ngrams(text.words(two), size))
                for one in held
                for two in others
            ),
            default=0.0,
        )
        assert found["highest"][str(size)] == round(best, 4)
