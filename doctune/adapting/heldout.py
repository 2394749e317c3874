"""What test and valid hold, so that no model reads it before it is judged on it.

    held = HeldOut([{"page": "pods.md", "en": "Delete the Pod and wait until it is gone.", "zh": "删除 Pod 并等到它消失。"}], near=0.8)
    held.reason("Delete the **Pod** and wait until it is gone")        # "same"
    held.reason("删除 Job 并等到它消失。")                                 # "near"
    held.pages                                                        # {"pods.md"}

The rules are the split's own (equal by `match_key`, near by `NearIndex`), asked of sources and targets alike; besides, a
passage must not hold a whole held text of ten words or more, as a paragraph holds a sentence of `align.sentences`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from doctune.near import NGRAMS, NearIndex
from doctune.text import words

HEAD = 10  # words (a Chinese character being one) by which a held text is looked for inside of others
REASONS = ("same", "near", "inside")


class HeldOut:
    """The texts of both sides of rows, and the pages that they stand on."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], near: float) -> None:
        rows = list(rows)
        self.pages = {str(row["page"]) for row in rows}
        texts = sorted({words(row[side]) for row in rows for side in ("en", "zh")})
        self._keys = {"".join(text) for text in texts}
        self._index = NearIndex(near, NGRAMS, [[text] for text in texts])
        self._by_head: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for text in texts:
            self._index.add(self._index.shape(text))
            if len(text) >= HEAD:
                self._by_head.setdefault(text[:HEAD], []).append(text)

    def reason(self, passage: str) -> str:
        """Why a passage must not be read, one of REASONS; "" when it may be."""
        text = words(passage)
        if "".join(text) in self._keys:
            return "same"
        if self._index.near(self._index.shape(text)):
            return "near"
        return "inside" if self._holds_one(text) else ""

    def _holds_one(self, text: tuple[str, ...]) -> bool:
        for at in range(len(text) - HEAD + 1):
            for held in self._by_head.get(text[at : at + HEAD], ()):
                if text[at : at + len(held)] == held:
                    return True
        return False
