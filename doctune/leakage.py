"""How much of the test and validation text is in train too, counted by other code than the one that split it.

    leakage([{"id": "1", "page": "a.md", "en": "Use **Pods**."}], [], [{"id": "2", "page": "b.md", "en": "use pods"}], 0.8, (1, 2))
    # {"test_in_train": {"rows": 1, "identical": 0, "same_letters": 1, "near": 1, "highest": {"1": 1.0, "2": 1.0}, ...}, ...}

It shares nothing with `doctune.splitting` and `doctune.near`, and of `doctune.text` only how characters are normalised,
so that a mistake there shows here: words are read by another reader, and instead of looking for near duplicates every
text is compared with every other, as a product of sparse matrices.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from doctune.text import normalise

Row = dict[str, Any]
_AT_ONCE = 1000  # rows of the larger side in one product


def leakage(
    train: Sequence[Row], valid: Sequence[Row], test: Sequence[Row], threshold: float, sizes: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """For test in train, valid in train and test in valid: rows of the first whose source the second holds too.

    identical: same text but for white space; same_letters: same letters and digits in the same order whatever their
    case, markup and punctuation; near: the Jaccard index of their sets of n-grams is `threshold` or more for one of
    `sizes`, and highest is the largest index found for each. pages and ids: how many both hold. After a good split all
    are 0 but rows, the number of rows asked about, and highest, which is below the threshold.
    """
    splits = {"train": _Split(train), "valid": _Split(valid), "test": _Split(test)}
    asked = [("test", "train"), ("valid", "train"), ("test", "valid")]
    near: dict[tuple[str, str], set[int]] = {pair: set() for pair in asked}
    highest = {pair: dict.fromkeys(map(str, sizes), 0.0) for pair in asked}
    for size, tables in _tables([row.words for row in splits.values()], sizes):
        table = dict(zip(splits, tables, strict=True))
        for pair in asked:
            for numbers, indices in _indices(table[pair[0]], table[pair[1]]):
                near[pair].update(numbers[indices >= threshold].tolist())
                highest[pair][str(size)] = max(highest[pair][str(size)], round(float(indices.max(initial=0)), 4))
    return {
        f"{one}_in_{two}": splits[one].shared_with(splits[two])
        | {"near": len(near[one, two]), "highest": highest[one, two]}
        for one, two in asked
    }


def leaked(counts: Mapping[str, Any]) -> int:
    """How many rows an entry of `leakage` finds in both, by the way of looking that finds most."""
    return max(int(counts[way]) for way in ("identical", "same_letters", "near", "ids"))


class _Split:
    """The rows of a split as they are compared."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.words = [_words(row["en"]) for row in rows]
        self.lines = [_line(row["en"]) for row in rows]
        self.letters = [_letters(row["en"]) for row in rows]
        self.pages = {row["page"] for row in rows}
        self.ids = {row["id"] for row in rows}

    def shared_with(self, other: "_Split") -> dict[str, Any]:
        return {
            "rows": len(self.lines),
            "identical": sum(map(set(other.lines).__contains__, self.lines)),
            "same_letters": sum(map(set(other.letters).__contains__, self.letters)),
            "pages": len(self.pages & other.pages),
            "ids": len(self.ids & other.ids),
        }


def _line(text: str) -> str:
    return " ".join(text.split())


class _LettersOnly(dict[int, str | None]):
    """For str.translate: letters and digits as they are, nothing else."""

    def __missing__(self, code: int) -> str | None:
        self[code] = chr(code) if chr(code).isalnum() else None
        return self[code]


_LETTERS = _LettersOnly()


def _letters(text: str) -> str:
    return text.lower().translate(_LETTERS) or _line(text)


def _tables(splits: Sequence[list[list[str]]], sizes: Sequence[int]) -> Iterator[tuple[int, list[Any]]]:
    """For each size, and each split, a sparse matrix: one row a text, 1 for each of its n-grams.

    N-grams are numbered by one word more at a time: an n-gram's number and the next word's make the number of the next.
    A text with fewer words than the size is one n-gram, the whole of it.
    """
    import numpy as np
    from scipy.sparse import csr_array

    texts = [text for split in splits for text in split]
    known: dict[str, int] = {}
    numbers = np.array([known.setdefault(word, len(known) + 1) for text in texts for word in text], np.int64)
    lengths = np.array([len(text) for text in texts])
    owner = np.repeat(np.arange(len(texts)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(numbers))  # words to the end of the text, with this
    bounds = np.cumsum([0, *map(len, splits)])
    grams = numbers
    for size in range(1, max(sizes) + 1):
        if size > 1:
            following = np.where(left >= size, np.append(numbers, [0] * (size - 1))[size - 1 :], 0)
            grams = np.unique(grams * (len(known) + 1) + following, return_inverse=True)[1]
        if size not in sizes:
            continue
        begins = (left >= size) | (left == lengths[owner])
        columns = int(grams.max(initial=0)) + 1
        cells = np.sort(owner[begins] * columns + grams[begins])
        cells = cells[np.append(True, cells[1:] != cells[:-1])[: len(cells)]]
        ends = np.searchsorted(cells, np.arange(len(texts) + 1) * columns)
        whole = csr_array((np.ones(len(cells), np.int32), cells % columns, ends), shape=(len(texts), columns))
        yield size, [whole[first:last] for first, last in pairwise(bounds.tolist())]


def _indices(rows: Any, others: Any) -> Iterator[tuple[Any, Any]]:
    """Numbers of rows, and the Jaccard indices of each with some text of `others`, for all pairs that share an n-gram."""
    import numpy as np

    ones = np.diff(rows.indptr)
    for at in range(0, others.shape[0], _AT_ONCE):
        some = others[at : at + _AT_ONCE]
        shared = (rows @ some.T).tocoo()
        yield shared.row, shared.data / (ones[shared.row] + np.diff(some.indptr)[shared.col] - shared.data)


# ---- words, by another reader than doctune.text


class _Spacing(dict[int, str]):
    """For str.translate: letters and digits as they are, Chinese characters set apart, the rest as spaces."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        apart = character.isalnum() and unicodedata.name(character, "").startswith("CJK ")
        self[code] = f" {character} " if apart else character if character.isalnum() else " "
        return self[code]


_SPACING = _Spacing()


def _words(text: str) -> list[str]:
    """Words as a reader sees them, whatever their case and width, a Chinese character being one of its own."""
    shown = _without_tags(_without_targets(_without_shortcodes(normalise(text))))
    return unicodedata.normalize("NFKC", shown).casefold().translate(_SPACING).split() or ["".join(text.split())]


def _without_shortcodes(text: str) -> str:
    """Each `{{< ... >}}` and `{{% ... %}}` as the words it shows: its `text`, or else its `term_id`."""
    out, at = "", 0
    while (start := _first(text, at, "{{<", "{{%")) >= 0 and (end := _first(text, start + 3, ">}}", "%}}")) >= 0:
        inside = text[start : end + 3]
        shown = _attribute(inside, "text")
        out += text[at:start] + ((_attribute(inside, "term_id") or "") if shown is None else shown)
        at = end + 3
    return out + text[at:]


def _attribute(shortcode: str, name: str) -> str | None:
    at = shortcode.find(name)
    while at >= 0:
        begins = not (shortcode[at - 1].isalnum() or shortcode[at - 1] == "_")
        value = shortcode[at + len(name) :].lstrip()
        if begins and value.startswith("=") and (value := value[1:].lstrip()).startswith(('"', "“")):
            end = _first(value, 1, '"', "”")
            if end >= 0:
                return value[1:end]
        at = shortcode.find(name, at + 1)
    return None


def _without_targets(text: str) -> str:
    """Each `[words](target)` and `![words](target)` or `[words][name]` as its words."""
    out, at = "", 0
    start = text.find("[")
    while start >= 0:
        middle = _closing(text, start, "[", "]")
        opener = text[middle + 1 : middle + 2] if middle >= 0 else ""
        end = -1
        if opener == "(":
            end = _closing(text, middle + 1, "(", ")")
        elif opener == "[":
            end = _closing(text, middle + 1, "[", "]", deepest=1)
        if end < 0:
            start = text.find("[", start + 1)
            continue
        image = start > at and text[start - 1] == "!"
        out += text[at : start - image] + text[start + 1 : middle]
        at = end + 1
        start = text.find("[", at)
    return out + text[at:]


def _closing(text: str, start: int, opener: str, closer: str, deepest: int = 2) -> int:
    """Where the bracket at `start` closes; -1 where it does not, or others are nested deeper than `deepest` in it."""
    depth = 0
    at = start
    while at >= 0 and depth <= deepest:
        depth += 1 if text[at] == opener else -1
        if depth == 0:
            return at
        at = _first(text, at + 1, opener, closer)
    return -1


def _without_tags(text: str) -> str:
    out, at = "", 0
    start = text.find("<")
    while start >= 0:
        name = start + 1 + text.startswith("/", start + 1)
        end = _tag_end(text, name + 1) if text[name : name + 1].isascii() and text[name : name + 1].isalpha() else -1
        if end >= 0:
            out += text[at:start]
            at = end
        start = text.find("<", max(at, start + 1))
    return out + text[at:]


def _tag_end(text: str, at: int) -> int:
    """The end of a tag whose name begins before `at`: behind the next `>`, a shortcode in it being looked over; or -1."""
    stop = _first(text, at, "<", ">")
    if stop < 0 or text[stop] == ">":
        return stop + 1 if stop >= 0 else -1
    if text[max(at, stop - 2) : stop] != "{{":
        return -1
    line = text.find("\n", stop)
    close = text.find(">}}", stop + 1, line if line >= 0 else len(text))
    while close >= 0:
        if (end := _tag_end(text, close + 3)) >= 0:
            return end
        close = text.find(">}}", close + 1, line if line >= 0 else len(text))
    return -1


def _first(text: str, at: int, *marks: str) -> int:
    """Where the first of the marks stands at or after `at`; -1 when none does."""
    found = [place for mark in marks if (place := text.find(mark, at)) >= 0]
    return min(found) if found else -1
