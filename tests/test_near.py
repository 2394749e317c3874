"""Near duplicates: what counts as one, and that the index finds exactly what comparing all with all finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctune.near import NGRAMS, NearIndex, jaccard, ngrams
from doctune.text import words

LINE = "Drain the node first and then take it out of the cluster for good."
LINE_ZH = "先腾空节点，然后把它从集群中彻底移除。"


def near(one: str, two: str, threshold: float = 0.8, sizes: tuple[int, ...] = NGRAMS) -> bool:
    index = NearIndex(threshold, sizes, [[words(one)]])
    assert index.add(index.shape(words(one))) == 0
    return index.near(index.shape(words(two))) == [0]


@pytest.mark.parametrize(
    ("one", "two", "want"),
    [
        pytest.param(LINE, LINE, True, id="same"),
        pytest.param(
            LINE, "**Drain** the [node](/n/) first, AND THEN take it out\nof the `cluster` for good", True, id="markup"
        ),
        pytest.param(LINE, LINE.replace("node", "machine"), True, id="one-word-of-many"),
        pytest.param(LINE, LINE.replace("node", "machine").replace("cluster", "pool"), False, id="two-words-of-many"),
        pytest.param(LINE, "For good: take the node out of the cluster, and then drain it first", True, id="order"),
        pytest.param("Drain the node", "Drain a node", False, id="one-word-of-three"),
        pytest.param("Node", "Nodes", False, id="one-word"),
        pytest.param("Nodes and Pods", "Pods and nodes", True, id="short-in-another-order"),
        pytest.param("go go go go stop", "stop go", True, id="words-repeat"),
        pytest.param("——", "- -", False, id="marks-only"),
        pytest.param(LINE_ZH, LINE_ZH.replace("，", ""), True, id="chinese-punctuation"),
        pytest.param(LINE_ZH, LINE_ZH.replace("节点", "机器"), False, id="chinese-other-word"),
    ],
)
def test_what_is_near(one: str, two: str, want: bool) -> None:
    assert near(one, two) is near(two, one) is want


def test_the_threshold_itself_is_near() -> None:
    assert near("a b c d e", "a b c d", 0.8, (1,)) and not near("a b c d e f", "a b c d", 0.8, (1,))


def test_longer_ngrams_ask_for_more_and_for_all_of_a_short_text() -> None:
    changed = LINE.replace("node", "machine")
    assert near(LINE, changed, 0.8, (1,)) and not near(LINE, changed, 0.8, (2,))
    assert ngrams(words("Drain the node"), 2) == {("drain", "the"), ("the", "node")}
    assert ngrams(words("Drain the node"), 5) == {("drain", "the", "node")}
    assert near("Go!", "go", 0.8, (5,)) and not near("Go on", "go", 0.8, (5,))


def test_every_side_must_be_near() -> None:
    likely = [(words(LINE), words(LINE_ZH))]
    index = NearIndex(0.8, (3,), likely)
    index.add(index.shape(*likely[0]))
    assert index.near(index.shape(words(LINE + " Really."), words(LINE_ZH))) == [0]
    assert index.near(index.shape(words(LINE), words("请先排空该节点，再将其永久移出集群。"))) == []
    assert index.near(index.shape(words("Say something else."), words(LINE_ZH))) == []


TEXT = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"]), min_size=1, max_size=9)
SIDES = st.tuples(TEXT, TEXT)
THRESHOLD = st.sampled_from([0.1, 0.3, 0.5, 0.6, 2 / 3, 0.75, 0.8, 0.9, 1.0])


def all_with_all(
    texts: list[tuple[list[str], ...]], asked: tuple[list[str], ...], threshold: float, sizes: tuple[int, ...]
) -> list[int]:
    return [
        number
        for number, text in enumerate(texts)
        if any(
            all(
                jaccard(ngrams(one, size), ngrams(two, size)) >= threshold for one, two in zip(text, asked, strict=True)
            )
            for size in sizes
        )
    ]


@given(st.lists(TEXT.map(lambda text: (text,)), max_size=12), TEXT, THRESHOLD, st.sampled_from([(1,), (3,), NGRAMS]))
def test_the_index_finds_what_comparing_all_finds(texts, asked, threshold, sizes) -> None:
    index = NearIndex(threshold, sizes, texts)
    for text in texts:
        index.add(index.shape(*text))
    assert index.near(index.shape(asked)) == all_with_all(texts, (asked,), threshold, sizes)


@given(st.lists(SIDES, min_size=1, max_size=12), THRESHOLD, st.sampled_from([(1,), (2, 3), NGRAMS]))
def test_and_so_when_only_what_was_counted_is_asked_for(texts, threshold, sizes) -> None:
    index = NearIndex(threshold, sizes, texts, inside=True)
    for number, text in enumerate(texts):
        assert index.near(index.shape(*text)) == all_with_all(texts[:number], text, threshold, sizes)
        index.add(index.shape(*text))
