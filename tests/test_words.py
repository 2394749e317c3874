"""Texts as numbers: what counts as the same, and a memo that is found, missed, and never trusted."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctune import words as module
from doctune.text import match_key, words
from doctune.words import Texts

LINES = [
    "Drain the **node** first.",
    "drain [the](/docs/the/) node first",
    "先腾空节点。",
    "先腾空节点",
    "Run `kubectl drain` 吗？",
    "——",
    "",
]
PART = st.sampled_from(["pod", "Pods", "**node**", "`run`", "[a](/b/)", "节", "点", "。", "é", "\ud800", "_", " "])


def read(texts: Texts, lines: list[str]) -> list[tuple[list[int], int]]:
    numbers = [texts.add(line) for line in lines]
    return [(list(texts.words(n)), texts.key(n)) for n in numbers]


@given(st.lists(PART, max_size=8).map("".join), st.lists(PART, max_size=8).map("".join))
def test_words_and_keys_are_equal_where_texts_count_as_the_same(one: str, two: str) -> None:
    (first, key), (second, other) = read(Texts(), [one, two])
    assert (first == second) is (words(one) == words(two))
    assert (key == other) is (match_key(one) == match_key(two))


def test_a_text_is_added_once() -> None:
    texts = Texts()
    assert [texts.add(line) for line in ["a b", "c", "a b"]] == [0, 1, 0]
    assert texts.arrays()[1].tolist() == [0, 2, 3]


def test_the_memo_saves_reading(tmp_path, monkeypatch) -> None:
    memo = tmp_path / "words.npz"
    texts = Texts(memo)
    plain = read(texts, LINES)
    texts.keep()
    asked: list[str] = []
    monkeypatch.setattr(module.reader, "words", lambda text: asked.append(text) or words(text))
    again = Texts(memo)
    assert read(again, ["new", *LINES[1:]]) == [*read(Texts(), ["new"]), *plain[1:]]
    assert asked == ["new", "new"]
    again.keep()
    assert read(Texts(memo), LINES[:1]) == plain[:1] and asked[2:] == LINES[:1]  # what was not asked for is forgotten


@pytest.mark.parametrize("how", ["empty", "cut", "other-code", "another-file"])
def test_a_memo_that_is_no_good_is_made_anew(tmp_path, how) -> None:
    memo = tmp_path / "words.npz"
    texts = Texts(memo)
    plain = read(texts, LINES)
    texts.keep()
    if how == "other-code":
        with np.load(memo) as file:
            parts = dict(file)
        np.savez(memo, **(parts | {"code": np.array("old"), "words": parts["words"] + 1}))
    else:
        whole = memo.read_bytes()
        memo.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "another-file": b"PK nothing"}[how])
    texts = Texts(memo)
    assert read(texts, LINES) == plain
    texts.keep()
    assert read(Texts(memo), LINES) == plain


def test_nothing_is_written_where_nothing_changed(tmp_path) -> None:
    memo = tmp_path / "words.npz"
    texts = Texts(memo)
    read(texts, LINES)
    texts.keep()
    os.utime(memo, (1, 1))
    again = Texts(memo)
    read(again, LINES)
    again.keep()
    assert memo.stat().st_mtime == 1
