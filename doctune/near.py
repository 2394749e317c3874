"""Near duplicates: texts that share so many of their n-grams that a model which learnt one knows the other.

    pod = words("Delete the Pod and wait until it is gone.")
    job = words("Delete the **Job** and wait until it is gone")
    index = NearIndex(0.8, NGRAMS, [[pod]])
    index.add(index.shape(pod))                 # 0
    index.near(index.shape(job))                # [0]: 8 of 10 words are in both

An n-gram is n consecutive words (`doctune.text.words`: no markup, case, width or punctuation); a text with fewer words
is one n-gram, the whole of it. Two texts are near duplicates when the Jaccard index of their sets of n-grams, shared
ones over all, is at least the threshold for some n. Single words find what differs in a word here and there, longer
n-grams what is repeated within one text; so a reader who counts by another n finds nothing more.

The search is exact, by prefix filtering (Chaudhuri, Ganti and Kaushik 2006; Bayardo, Ma and Srikant 2007): sets that
share a fraction t of their members share one of the first (1 - t)·|set| + 1 in any order common to both, so only those,
rarest first, are looked up, and each text found is compared in full. Against MinHash with LSH on 32,000
rows of the Kubernetes documentation and 1,400 held-out ones that is ten times faster than datasketch and within tenths
of a second of rensa, and it misses nothing.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NGRAMS = (1, 2, 3)  # asked of test and valid sources
LONGEST = NGRAMS[-1]  # asked of copies within train: they differ in little, and in one place

_HAIR = 1e-9  # products of the threshold are not exact: rather one n-gram too many is looked up than one too few

Words = Sequence[str]
Gram = tuple[Any, ...]


def ngrams(words: Sequence[Any], size: int) -> set[Gram]:
    """The set of runs of `size` consecutive words; the whole text when it has fewer."""
    return set(zip(*(words[at:] for at in range(min(size, len(words)))), strict=False))


def jaccard(one: set[Gram], two: set[Gram]) -> float:
    shared = len(one & two)
    return shared / (len(one) + len(two) - shared)


@dataclass(frozen=True)
class Shape:
    """A text as an index sees it: the words of each side as numbers; for each size of n-gram how many, and which first."""

    sides: "list[array[int]]"
    first: list[tuple[int, list[Gram]]]


class NearIndex:
    """Texts, as words, that can be asked for near duplicates.

    What is added and asked for may have several sides, source and target say, all of which must then be near. `likely`
    holds all that will ever be added, so that n-grams are counted before; `inside` says that nothing else will be asked
    for.
    """

    def __init__(
        self, threshold: float, sizes: Sequence[int], likely: Sequence[Sequence[Words]], inside: bool = False
    ) -> None:
        self._threshold = threshold
        self._numbers: dict[tuple[int, str], int] = {}  # of a side's words: n-grams of two sides are never equal
        self._added: list[list[array[int]]] = []
        self._sizes = [_Size(size, threshold, len(likely), inside) for size in sizes]
        for sides in likely:
            numbered = self._numbered(sides)
            for one in self._sizes:
                one.count(numbered)

    def shape(self, *sides: Words) -> Shape:
        """What `add` and `near` want to know of a text."""
        numbered = self._numbered(sides)
        return Shape(numbered, [one.first(numbered) for one in self._sizes])

    def add(self, shape: Shape) -> int:
        """Add a text; returns its number, counted from 0."""
        self._added.append(shape.sides)
        for one, first in zip(self._sizes, shape.first, strict=True):
            one.add(len(self._added) - 1, *first)
        return len(self._added) - 1

    def near(self, shape: Shape) -> list[int]:
        """The numbers of all near duplicates of a text, in order."""
        near: set[int] = set()
        for one, first in zip(self._sizes, shape.first, strict=True):
            candidates = one.candidates(*first) - near
            if not candidates:
                continue
            grams = [ngrams(side, one.size) for side in shape.sides]
            for number in candidates:
                others = (ngrams(side, one.size) for side in self._added[number])
                if all(jaccard(*pair) >= self._threshold for pair in zip(grams, others, strict=True)):
                    near.add(number)
        return sorted(near)

    def _numbered(self, sides: Sequence[Words]) -> "list[array[int]]":
        """Words as numbers, which take less room."""
        numbers = self._numbers
        return [
            array("i", [numbers.setdefault((side, word), len(numbers)) for word in words])
            for side, words in enumerate(sides)
        ]


class _Size:
    """Where an index finds texts by n-grams of one size, those of all sides in one set.

    Where the sets of every side share a fraction t of their members, so do those sets of all sides.
    """

    def __init__(self, size: int, threshold: float, texts: int, inside: bool) -> None:
        self.size = size
        self._threshold = threshold
        self._own = 1 if inside else 0  # how often an n-gram was counted that no other text has
        self._often = bytearray(1 << (64 * texts).bit_length())  # counters shared by hash: too much does no harm
        self._lengths: dict[int, int] = {}  # n-grams of each text that can be found
        self._found: dict[Gram, list[int]] = {}  # the texts among whose first it is

    def count(self, sides: "list[array[int]]") -> None:
        often, last = self._often, len(self._often) - 1
        for gram in self._all(sides):
            at = hash(gram) & last
            if often[at] < 255:
                often[at] += 1

    def first(self, sides: "list[array[int]]") -> tuple[int, list[Gram]]:
        """How many n-grams a text has, and the rarest: so many that each near duplicate of it shares one of them.

        None of them at all when it has so many of its own that it can have no near duplicate.
        """
        grams = self._all(sides)
        enough = len(grams) - math.ceil(self._threshold * len(grams) - _HAIR) + 1
        often, last = self._often, len(self._often) - 1
        counts = [often[hash(gram) & last] for gram in grams]
        if sum([count <= self._own for count in counts]) >= enough:
            return len(grams), []
        return len(grams), [gram for _, gram in sorted(zip(counts, grams, strict=True))[:enough]]

    def add(self, number: int, length: int, first: list[Gram]) -> None:
        for gram in first:
            self._found.setdefault(gram, []).append(number)
            self._lengths[number] = length

    def candidates(self, length: int, first: list[Gram]) -> set[int]:
        """The numbers of the texts that may be near: few others are among them."""
        found, lengths = self._found, self._lengths
        least, most = self._threshold * length - _HAIR, length / self._threshold + _HAIR
        numbers = {number for gram in first if gram in found for number in found[gram]}
        return {number for number in numbers if least <= lengths[number] <= most}

    def _all(self, sides: "list[array[int]]") -> set[Gram]:
        return set().union(*(ngrams(side, self.size) for side in sides))
