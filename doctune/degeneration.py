"""Translations that are none: a loop, nothing, the English once more, far too short or long.

    reason("Delete the Pod and wait.", "删除 Pod 并等待等待等待等待等待等待等待等待等待。")      # "repetition"
    reason("Delete the Pod and wait.", "Delete the Pod and wait.")                            # "copied"

One reason a row, the first that holds. What is judged is what a reader sees; a text may repeat what its source repeats.
Bounds are wide: of 31,679 human translations of the Kubernetes docs one is found degenerate, as copied.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from doctune.cleaning.languages import english_letters
from doctune.scoring.metrics import Array, Metric, share
from doctune.text import CODE, count_cjk, visible, words

REASONS = ("empty", "repetition", "copied", "too_short", "too_long")

_LONGEST_CYCLE = 24  # in words, a Chinese character being one
_MOST_CYCLES = 5  # of a cycle in a row ...
_LEAST_LOOP = 10  # ... that are as many words together
_LONG = 40  # words from which on a text that says the same again and again elsewhere counts, too
_LEAST_FRESH = 0.4  # share of different 4-grams
_LEAST_WORDS = 4  # of English that makes a copied row: names and commands stay as they are
_COPIED = 0.8  # share of the source's words, in a text without a Chinese character
_ENGLISH = 0.6  # share of letters in English sentences among letters and Chinese characters
_FEWEST, _MOST = 0.12, 3.5  # Chinese characters and Latin words for each English word
_SLACK = 6  # words by which a short text may miss either bound
_TITLE = re.compile(r"\[[^\[\]]*\]\([^()]*\)|\*\*.+?\*\*")  # titles of English pages, words of a program's screen


def reason(source: str, hypothesis: str) -> str:
    """Why the row is degenerate, one of REASONS; empty text when it is not."""
    if not hypothesis.strip():
        return "empty" if source.strip() else ""
    theirs, ours = words(source), words(hypothesis)
    if _loops(ours) and not _loops(theirs):
        return "repetition"
    if _copied(source, hypothesis):
        return "copied"
    if len(ours) < _FEWEST * (len(theirs) - _SLACK):
        return "too_short"
    return "too_long" if len(ours) > _MOST * (len(theirs) + _SLACK) else ""


def reasons(hypotheses: Sequence[str], sources: Sequence[str]) -> list[str]:
    return [reason(source, hypothesis) for source, hypothesis in zip(sources, hypotheses, strict=True)]


def breakdown(
    hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """A row a reason: reason, how many rows, of how many."""
    found = reasons(hypotheses, sources)
    return [{"reason": name, "rows": found.count(name), "of": len(found)} for name in REASONS]


def _loops(text: tuple[str, ...]) -> bool:
    """Does a cycle of words stand many times in a row, or is little of a long text said once?"""
    if len(text) < _LEAST_LOOP:
        return False
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(word, len(numbers)) for word in text])
    for length in range(1, min(_LONGEST_CYCLE, len(text) // 2) + 1):
        again = _longest_run(ids[length:] == ids[:-length])
        if again >= length * (_MOST_CYCLES - 1) and again + length >= _LEAST_LOOP:
            return True
    grams = len(text) - 3
    return len(text) >= _LONG and len(set(zip(text, text[1:], text[2:], text[3:], strict=False))) < _LEAST_FRESH * grams


def _longest_run(same: np.ndarray[Any, np.dtype[np.bool_]]) -> int:
    if not same.any():
        return 0
    edges = np.flatnonzero(np.diff(np.concatenate(([0], same.view(np.int8), [0]))))
    return int((edges[1::2] - edges[::2]).max())


def _copied(source: str, hypothesis: str) -> bool:
    """Is English prose left in English: the source's words with no Chinese, or mostly sentences of English?"""
    prose = visible(CODE.sub(" ", hypothesis))
    chinese = count_cjk(prose)
    if not chinese:
        said, wanted = words(prose), set(words(visible(CODE.sub(" ", source))))
        left = english_letters(prose) > 0 or any(word.islower() for word in prose.split()[1:])
        return left and len(said) >= _LEAST_WORDS and sum(word in wanted for word in said) >= _COPIED * len(said)
    prose = visible(_TITLE.sub(" ", CODE.sub(" ", hypothesis)))
    english = english_letters(prose)
    return english > 0 and english > _ENGLISH * (sum(map(str.isalpha, prose)))


def _counts(hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()) -> Array:
    return np.array([(found != "", 1) for found in reasons(hypotheses, sources)], dtype=np.float64)


def _signature(samples: int, seed: int) -> str:
    return f"bs:{samples}|seed:{seed}|reasons:{'+'.join(REASONS)}|version:1"


DEGENERATE = Metric(
    "degenerate", "degenerate rows", _counts, partial(share, of_nothing=0.0), _signature, higher_is_better=False
)
