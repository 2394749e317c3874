"""How much of the test and validation text is in train too, counted by other code than the one that split it.

    leakage([{"id": "1", "page": "a.md", "en": "Use **Pods**."}], [], [{"id": "2", "page": "b.md", "en": "use pods"}], 0.8, (1, 2))
    # {"test_in_train": {"rows": 1, "identical": 0, "same_letters": 1, "near": 1, "highest": {"1": 1.0, "2": 1.0}, ...}, ...}

It shares nothing with `doctune.splitting`, `doctune.near` or `doctune.text`, so that a mistake there shows here: words
are read by another reader, and instead of looking for near duplicates every text is compared with every other, as a
product of sparse matrices.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

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
    read = {name: [_words(row["en"]) for row in rows] for name, rows in zip("tvx", (train, valid, test), strict=True)}
    return {
        "test_in_train": _shared(test, train) | _near(read["x"], read["t"], threshold, sizes),
        "valid_in_train": _shared(valid, train) | _near(read["v"], read["t"], threshold, sizes),
        "test_in_valid": _shared(test, valid) | _near(read["x"], read["v"], threshold, sizes),
    }


def _shared(rows: Sequence[Row], others: Sequence[Row]) -> dict[str, Any]:
    lines = {_line(row["en"]) for row in others}
    letters = {_letters(row["en"]) for row in others}
    return {
        "rows": len(rows),
        "identical": sum(_line(row["en"]) in lines for row in rows),
        "same_letters": sum(_letters(row["en"]) in letters for row in rows),
        "pages": len({row["page"] for row in rows} & {row["page"] for row in others}),
        "ids": len({row["id"] for row in rows} & {row["id"] for row in others}),
    }


def _line(text: str) -> str:
    return " ".join(text.split())


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower())) or _line(text)


def _near(rows: list[list[str]], others: list[list[str]], threshold: float, sizes: Sequence[int]) -> dict[str, Any]:
    """How many of `rows` have a near duplicate among `others`, and the highest index for each size of n-gram."""
    near: set[int] = set()
    highest = dict.fromkeys(map(str, sizes), 0.0)
    for size in sizes:
        for numbers, indices in _indices(rows, others, size):
            near.update(numbers[indices >= threshold].tolist())
            highest[str(size)] = max(highest[str(size)], round(float(indices.max(initial=0)), 4))
    return {"near": len(near), "highest": highest}


def _indices(rows: list[list[str]], others: list[list[str]], size: int) -> Iterator[tuple[Any, Any]]:
    """Numbers of rows, and the Jaccard indices of each with some text of `others`, for all pairs that share an n-gram."""
    import numpy as np
    from scipy.sparse import csr_array

    columns: dict[str, int] = {}

    def matrix(texts: list[list[str]], learn: bool) -> tuple[Any, Any]:
        """One row a text, 1 for each of its n-grams that `rows` know; and how many it has in all."""
        known, ends, counts = [], [0], []
        for text in texts:
            grams = {" ".join(text[at : at + size]) for at in range(max(1, len(text) - size + 1))}
            counts.append(len(grams))
            if learn:
                known += [columns.setdefault(gram, len(columns)) for gram in grams]
            else:
                known += [columns[gram] for gram in grams if gram in columns]
            ends.append(len(known))
        ones = np.ones(len(known), np.int32)
        return csr_array((ones, known, ends), shape=(len(texts), len(columns))), np.array(counts)

    one, ones = matrix(rows, learn=True)
    for at in range(0, len(others), _AT_ONCE):
        two, twos = matrix(others[at : at + _AT_ONCE], learn=False)
        shared = (one @ two.T).tocoo()
        yield shared.row, shared.data / (ones[shared.row] + twos[shared.col] - shared.data)


# ---- words, read without doctune.text


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
    shown = _without_tags(_without_targets(_without_shortcodes(text)))
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
    return min((found for mark in marks if (found := text.find(mark, at)) >= 0), default=-1)
