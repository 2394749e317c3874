"""Near duplicates: texts that share so many of their n-grams that a model which learnt one knows the other.

    texts = Texts()
    pod = texts.add("Delete the Pod and wait until it is gone.")            # 0
    job = texts.add("Delete the **Job** and wait until it is gone")         # 1
    index = NearIndex(0.8, NGRAMS, texts, [(pod,)])
    index.add([(pod,)])
    index.near([(job,)])                          # [(0, 0)]: 8 of 10 words are in both
    few_near(0.8, LONGEST, texts, [(pod,), (pod,), (job,)], 1)              # [True, False, True]

An n-gram is n consecutive words (`doctune.text.words`: no markup, case, width or punctuation); a text with fewer words
is one n-gram, the whole of it. Two texts are near duplicates when the Jaccard index of their sets of n-grams, shared
ones over all, is at least the threshold for one of several n. Single words find sentences that differ in a word here
and there; longer n-grams ask for the same order, and find little besides.

The search is exact, by prefix filtering (Chaudhuri, Ganti and Kaushik 2006; Bayardo, Ma and Srikant 2007): sets that
share a fraction t of their members share one of the first (1 - t)·|set| + 1 in any order common to both, so only those,
rarest first, are looked up, and each text found is compared in full. Most texts have so many n-grams of their own that
they can have no near duplicate; that is found out for thousands of texts at once, in numpy.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from doctune.words import Texts

NGRAMS = (1, 2, 3)  # asked of test and valid sources
LONGEST = NGRAMS[-1]  # asked of copies within train: they differ in little, and in one place

Numbers = Sequence[int]  # of a text's sides (source and target, say)
Array = np.ndarray[Any, Any]

_AT_ONCE = 20_000  # texts whose n-grams are in memory together
_GRAM_BITS = np.uint64(49)  # of an n-gram's 64, so that a text's place among _AT_ONCE and an n-gram sort as one number
_GRAM = (np.uint64(1) << _GRAM_BITS) - np.uint64(1)
_HAIR = 1e-9  # products of the threshold are not exact: rather one n-gram too many is looked up than one too few
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio (Knuth's multiplicative hashing)


def ngrams(words: Sequence[Any], size: int) -> set[tuple[Any, ...]]:
    """The set of runs of `size` consecutive words; the whole text when it has fewer."""
    return set(zip(*(words[at:] for at in range(min(size, len(words)))), strict=False))


def jaccard(one: set[tuple[Any, ...]], two: set[tuple[Any, ...]]) -> float:
    shared = len(one & two)
    return shared / (len(one) + len(two) - shared)


class NearIndex:
    """Texts that can be asked for near duplicates.

    What is added and asked for may have several sides, source and target say, all of which must then be near. `likely`
    holds all that will ever be added, so that n-grams are counted before.
    """

    def __init__(self, threshold: float, sizes: Sequence[int], texts: Texts, likely: Sequence[Numbers]) -> None:
        self._texts = texts
        self._threshold = threshold
        self._rarest = [_Rarest(threshold, size, texts, likely, own=0) for size in sizes]
        self._added: list[Numbers] = []
        self._first: list[list[_First]] = [[] for _ in sizes]

    def add(self, many: Sequence[Numbers]) -> None:
        """Add texts; they are numbered from 0 in the order in which they come."""
        for some in _chunks(many):
            for one, first in zip(self._rarest, self._first, strict=True):
                found = one.first(some)
                first.append(found._replace(text=found.text + len(self._added)))
            self._added += some

    def near(self, many: Sequence[Numbers]) -> list[tuple[int, int]]:
        """Which of many is a near duplicate of which that was added, as their places, in order."""
        found: set[tuple[int, int]] = set()
        for chunk, some in enumerate(_chunks(many)):
            for one, first in zip(self._rarest, self._first, strict=True):
                asked, added = self._candidates(one.first(some), first)
                near = self._are_near(one.size, some, asked, added)
                found.update(zip((asked[near] + chunk * _AT_ONCE).tolist(), added[near].tolist(), strict=True))
        return sorted(found)

    def _candidates(self, asked: "_First", parts: "list[_First]") -> tuple[Array, Array]:
        """Places asked for and added that share an n-gram of their first, and whose sizes allow them to be near."""
        if not parts:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        text, gram, length = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(gram, kind="stable")
        text, gram = text[order], gram[order]
        begin, end = np.searchsorted(gram, asked.gram), np.searchsorted(gram, asked.gram, "right")
        pair = np.unique(np.repeat(asked.text, end - begin) * len(length) + text[_ranges(begin, end - begin)])
        one, two = np.divmod(pair, len(length))
        least, most = self._threshold * asked.length[one] - _HAIR, asked.length[one] / self._threshold + _HAIR
        fits = (least <= length[two]) & (length[two] <= most)
        return one[fits], two[fits]

    def _are_near(self, size: int, some: Sequence[Numbers], asked: Array, added: Array) -> Array:
        near = np.ones(len(asked), bool)
        for at in range(0, len(asked), _AT_ONCE):
            pairs = slice(at, at + _AT_ONCE)
            sides = (
                zip(*(texts[n] for n in places[pairs].tolist()), strict=True)
                for texts, places in ((some, asked), (self._added, added))
            )
            for one, two in zip(*sides, strict=True):
                near[pairs] &= self._jaccard(size, np.array(one), np.array(two)) >= self._threshold
        return near

    def _jaccard(self, size: int, one: Array, two: Array) -> Array:
        """The index of each text of `one` and the text beside it in `two`."""
        ones, where = np.unique(one, return_inverse=True)
        twos, there = np.unique(two, return_inverse=True)
        text, gram = _distinct(*_ngrams(self._texts, ones, size))
        held = _joined(*_distinct(*_ngrams(self._texts, twos, size)))
        lengths = np.bincount(text, minlength=len(ones)), np.bincount(held >> _GRAM_BITS, minlength=len(twos))
        count = lengths[0][where]
        begin = (np.cumsum(lengths[0]) - lengths[0])[where]
        wanted = _joined(np.repeat(there, count), gram[_ranges(begin, count)])
        hit = held[np.minimum(np.searchsorted(held, wanted), len(held) - 1)] == wanted
        shared = np.bincount(np.repeat(np.arange(len(one)), count), hit, len(one))
        return shared / (count + lengths[1][there] - shared)


def few_near(threshold: float, size: int, texts: Texts, many: Sequence[Numbers], most: int) -> list[bool]:
    """Which of many stay when each that has `most` near duplicates among those before it that stay has to go.

    A cluster of a thousand is compared with the few that stay of it.
    """
    rarest = _Rarest(threshold, size, texts, many, own=1)
    stay = [True] * len(many)
    found: dict[int, list[int]] = {}  # the texts that stay among whose first an n-gram is
    lengths: dict[int, int] = {}

    def grams(number: int) -> list[set[tuple[Any, ...]]]:
        return [ngrams(texts.words(side), size) for side in many[number]]

    for chunk, some in enumerate(_chunks(many)):
        first = rarest.first(some)
        new = np.append(True, first.text[1:] != first.text[:-1])[: len(first.text)]
        flat = first.gram.tolist()
        for begin, end in pairwise([*np.flatnonzero(new).tolist(), len(flat)]):
            place = int(first.text[begin])
            number, length, looked_up = place + chunk * _AT_ONCE, int(first.length[place]), flat[begin:end]
            others = {other for gram in looked_up for other in found.get(gram, ())}
            others = {n for n in others if threshold * length - _HAIR <= lengths[n] <= length / threshold + _HAIR}
            own = grams(number) if len(others) >= most else []
            near = 0
            for other in others if own else ():
                near += all(jaccard(*pair) >= threshold for pair in zip(own, grams(other), strict=True))
                if near == most:
                    stay[number] = False
                    break
            else:
                lengths[number] = length
                for gram in looked_up:
                    found.setdefault(gram, []).append(number)
    return stay


class _First(NamedTuple):
    """What is looked up of texts: n-grams, each with the place of its text, by text; and the size of each text's set."""

    text: Array
    gram: Array
    length: Array


class _Rarest:
    """How often n-grams of one size occur in texts, those of all sides in one set, and which are a text's rarest.

    Where the sets of every side share a fraction t of their members, so do those sets of all sides. `own` is how often an
    n-gram was counted that no other text has: 1 when none but the counted texts will be asked for.
    """

    def __init__(self, threshold: float, size: int, texts: Texts, likely: Sequence[Numbers], own: int) -> None:
        self.size = size
        self._threshold = threshold
        self._texts = texts
        self._own = own
        self._cells = (
            1 << (32 * len(likely)).bit_length()
        )  # of the table of counts, shared by hash: too much is no harm
        cells = [self._cell(self._ngrams(some)[1]) for some in _chunks(likely)]
        self._often = np.bincount(np.concatenate([*cells, np.empty(0, np.int64)]), minlength=self._cells)

    def first(self, asked: Sequence[Numbers]) -> _First:
        """Of the rarest n-grams of each text, so many that each near duplicate of it shares one, those that others have.

        None of them at all when a text has so many of its own that it can have no near duplicate.
        """
        text, gram = self._ngrams(asked)
        often = self._often[self._cell(gram)]
        length = np.bincount(text, minlength=len(asked))
        enough = length - np.ceil(self._threshold * length - _HAIR).astype(int) + 1
        own = np.bincount(text, often <= self._own, len(asked))
        alive = (own < enough)[text]
        text, gram, often = text[alive], gram[alive], often[alive]
        order = np.argsort((text << 32) + often, kind="stable")  # by text, then how often; they come by text and n-gram
        text, gram, often = text[order], gram[order], often[order]
        rank = np.arange(len(text)) - np.searchsorted(text, text)
        looked_up = (rank < enough[text]) & (often > self._own)
        return _First(text[looked_up], gram[looked_up], length)

    def _ngrams(self, asked: Sequence[Numbers]) -> tuple[Array, Array]:
        sides = np.array(asked, np.int64).T
        parts = [_ngrams(self._texts, numbers, self.size, side) for side, numbers in enumerate(sides)]
        return _distinct(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _cell(self, gram: Array) -> Array:
        return (gram & np.uint64(self._cells - 1)).astype(np.int64)


def _ngrams(texts: Texts, numbers: Array, size: int, side: int = 0) -> tuple[Array, Array]:
    """The place in `numbers` of each n-gram's text, and the n-grams as numbers below 2 ^ _GRAM_BITS."""
    words, ends = texts.arrays()
    first, stop = ends[numbers], ends[numbers + 1]
    count = np.maximum(stop - first - size + 1, 1)
    text, at = np.repeat(np.arange(len(numbers)), count), _ranges(first, count)
    grams = words[at] + np.uint64(side)  # n-grams of two sides are never equal
    for further in range(1, size):
        there = at + further < stop[text]
        word = words[np.minimum(at + further, len(words) - 1)]
        grams = np.where(there, (grams ^ (grams >> np.uint64(29))) * _ODD + word, grams)
    return text, grams >> (np.uint64(64) - _GRAM_BITS)


def _distinct(text: Array, gram: Array) -> tuple[Array, Array]:
    """Each n-gram of a text once, by text."""
    both = np.sort(_joined(text, gram))
    both = both[np.append(True, both[1:] != both[:-1])[: len(both)]]
    return (both >> _GRAM_BITS).astype(np.int64), both & _GRAM


def _joined(text: Array, gram: Array) -> Array:
    """The place of a text, below _AT_ONCE, and an n-gram as one number."""
    return (text.astype(np.uint64) << _GRAM_BITS) | gram


def _ranges(begin: Array, count: Array) -> Array:
    """begin[0], begin[0] + 1, ... count[0] numbers; then those from begin[1], and so on."""
    return np.arange(count.sum()) + np.repeat(begin - (np.cumsum(count) - count), count)


def _chunks(many: Sequence[Numbers]) -> Iterator[Sequence[Numbers]]:
    return (many[at : at + _AT_ONCE] for at in range(0, len(many), _AT_ONCE))
