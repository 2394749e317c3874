"""What test and valid hold, so that no model reads it before it is judged on it.

    held = HeldOut([{"page": "pods.md", "en": "Delete the Pod and wait until it is gone.", "zh": "删除 Pod 并等到它消失。"}], near=0.8)
    held.reasons(["Delete the **Pod** and wait until it is gone", "删除 Job 并等到它消失。"])      # ["same", "near"]
    held.pages                                                                         # {"pods"}

The rules are the split's own (equal by `match_key`, near by `NearIndex`), asked of sources and targets alike; besides, a
passage must not hold a whole held text of ten words or more, as a paragraph holds a sentence of `align.sentences`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from doctune.alignment.names import plain
from doctune.near import NGRAMS, NearIndex
from doctune.text import words
from doctune.words import Texts

HEAD = 10  # words (a Chinese character being one) by which a held text is looked for inside of others
REASONS = ("same", "near", "inside")


class HeldOut:
    """The texts of both sides of rows, and the pages that they stand on, named as both languages name them (`plain`)."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], near: float) -> None:
        rows = list(rows)
        self.pages = {plain(str(row["page"])) for row in rows}
        self._texts = Texts()
        held = sorted({(words(row[side]), row[side]) for row in rows for side in ("en", "zh")})
        numbers = [(self._texts.add(text),) for _, text in held]
        self._keys = {"".join(text) for text, _ in held}
        self._index = NearIndex(near, NGRAMS, self._texts, numbers)
        self._index.add(numbers)
        self._by_head: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for text, _ in held:
            if len(text) >= HEAD:
                self._by_head.setdefault(text[:HEAD], []).append(text)

    def reasons(self, passages: Sequence[str]) -> list[str]:
        """Why each passage must not be read, one of REASONS; "" when it may be."""
        near = {place for place, _ in self._index.near([(self._texts.add(passage),) for passage in passages])}
        return [self._reason(words(passage), place in near) for place, passage in enumerate(passages)]

    def _reason(self, text: tuple[str, ...], near: bool) -> str:
        if "".join(text) in self._keys:
            return "same"
        if near:
            return "near"
        return "inside" if self._holds_one(text) else ""

    def _holds_one(self, text: tuple[str, ...]) -> bool:
        for at in range(len(text) - HEAD + 1):
            for held in self._by_head.get(text[at : at + HEAD], ()):
                if text[at : at + len(held)] == held:
                    return True
        return False
