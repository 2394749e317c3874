"""Near duplicates: what counts as one, and that the index finds exactly what comparing all with all finds."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctune import near as module
from doctune.near import NGRAMS, NearIndex, few_near, jaccard, ngrams
from doctune.text import words
from doctune.words import Texts

LINE = "Drain the node first and then take it out of the cluster for good."
LINE_ZH = "先腾空节点，然后把它从集群中彻底移除。"


def numbered(texts: Texts, many: Iterable[Sequence[Sequence[str]]]) -> list[tuple[int, ...]]:
    return [tuple(texts.add(" ".join(side)) for side in sides) for sides in many]


def found(
    added: Sequence[Sequence[Sequence[str]]],
    asked: Sequence[Sequence[Sequence[str]]],
    threshold: float = 0.8,
    sizes: tuple[int, ...] = NGRAMS,
) -> list[tuple[int, int]]:
    texts = Texts()
    numbers = numbered(texts, added)
    index = NearIndex(threshold, sizes, texts, numbers)
    for at in range(0, len(numbers), 5):
        index.add(numbers[at : at + 5])
    return index.near(numbered(texts, asked))


def near(one: str, two: str, threshold: float = 0.8, sizes: tuple[int, ...] = NGRAMS) -> bool:
    return found([[words(one)]], [[words(two)]], threshold, sizes) == [(0, 0)]


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
    assert found(likely, [(words(LINE + " Really."), words(LINE_ZH))], sizes=(3,)) == [(0, 0)]
    assert found(likely, [(words(LINE), words("请先排空该节点，再将其永久移出集群。"))], sizes=(3,)) == []
    assert found(likely, [(words("Say something else."), words(LINE_ZH))], sizes=(3,)) == []


TEXT = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"]), min_size=1, max_size=9)
SIDES = st.tuples(TEXT, TEXT)
THRESHOLD = st.sampled_from([0.1, 0.3, 0.5, 0.6, 2 / 3, 0.75, 0.8, 0.9, 1.0])


def are_near(one: Sequence[list[str]], two: Sequence[list[str]], threshold: float, sizes: tuple[int, ...]) -> bool:
    return any(
        all(jaccard(ngrams(a, size), ngrams(b, size)) >= threshold for a, b in zip(one, two, strict=True))
        for size in sizes
    )


@settings(deadline=None)
@given(
    st.sampled_from([1, 2]).flatmap(
        lambda sides: st.lists(st.lists(TEXT, min_size=sides, max_size=sides), max_size=12)
    ),
    st.integers(0, 12),
    THRESHOLD,
    st.sampled_from([(1,), (3,), NGRAMS]),
)
def test_the_index_finds_what_comparing_all_finds(many, cut, threshold, sizes) -> None:
    added, asked = many[:cut], many[cut:]
    assert found(added, asked, threshold, sizes) == [
        (place, number)
        for place, one in enumerate(asked)
        for number, two in enumerate(added)
        if are_near(one, two, threshold, sizes)
    ]


@settings(deadline=None)
@given(st.lists(SIDES, max_size=12), THRESHOLD, st.integers(1, 3), st.integers(1, 3))
def test_few_stay_of_those_that_are_near(many, threshold, size, most) -> None:
    texts = Texts()
    staying: list[int] = []
    for number, sides in enumerate(many):
        if sum(are_near(sides, many[other], threshold, (size,)) for other in staying) < most:
            staying.append(number)
    stay = few_near(threshold, size, texts, numbered(texts, many), most)
    assert [number for number, stays in enumerate(stay) if stays] == staying


def test_more_texts_than_are_held_together(monkeypatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 3)
    lines = [[words(f"{LINE} Number {n // 2}")] for n in range(8)]
    assert found(lines, lines, 1.0) == [(n, other) for n in range(8) for other in (n // 2 * 2, n // 2 * 2 + 1)]
    texts = Texts()
    assert few_near(1.0, 3, texts, numbered(texts, lines), 1) == [True, False] * 4
