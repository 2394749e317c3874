"""What changed since an older revision of the pages, passage by passage.

    old = [{"lang": "zh", "path": "pods.md", "text": "<!--\\nPods run.\\n-->\\nPod 在运行。\\n"}]
    changed([{"id": "1", "page": "pods.md", "en": "Pods run.", "zh": "Pod 在运行。"},
             {"id": "2", "page": "pods.md", "en": "Pods stop.", "zh": "Pod 会停止。"}], old)
    # {"2"}

A pair is unchanged when both of its texts stood on one old page, be it of another path, for a page that is moved or cut
in two says nothing new: the Chinese outside of comments, the English in the comments, or in the rest of the page, or on
the English page of the same path. Only letters and digits are compared, once with those of markup and once as a reader
sees the text, so neither wrapping nor a link that moved makes a change. A text so short that it occurs by chance counts
as unchanged: a test set of what is new must hold nothing that is old.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from doctune.text import letters, visible

_COMMENT = re.compile(r"<!--(.*?)(?:-->|\Z)", re.S)
_HEAD = 8  # letters by which a passage is looked for on all pages at once


class _Letters:
    """A text's letters and digits, with those of its markup (`raw`) and without (`seen`)."""

    def __init__(self, text: str) -> None:
        self.raw = letters(text)
        self.seen = letters(visible(text))

    def __contains__(self, other: object) -> bool:
        return isinstance(other, _Letters) and (other.raw in self.raw or other.seen in self.seen)


class _OldPage:
    def __init__(self, zh: str, en: str) -> None:
        shown = _COMMENT.sub("\n", zh)
        self.chinese = _Letters(shown)
        self.english = [_Letters("\n".join(_COMMENT.findall(zh))), _Letters(en), self.chinese]

    def has(self, en: _Letters, zh: _Letters) -> bool:
        return zh in self.chinese and any(en in place for place in self.english)


def changed(pairs: Iterable[Mapping[str, Any]], old: Iterable[Mapping[str, Any]]) -> set[str]:
    """The ids of the pairs that are not unchanged; `old` holds the pages (`lang`, `path`, `text`) of the older revision."""
    texts: dict[str, dict[str, str]] = {}
    for page in old:
        texts.setdefault(page["path"], {})[page["lang"]] = page["text"]
    pages = {path: _OldPage(of["zh"], of.get("en", "")) for path, of in texts.items() if "zh" in of}
    new: dict[str, tuple[_Letters, _Letters]] = {}
    for pair in pairs:
        en, zh = _Letters(pair["en"]), _Letters(pair["zh"])
        if pair["page"] not in pages or not pages[pair["page"]].has(en, zh):
            new[pair["id"]] = en, zh
    by_head: dict[str, list[str]] = {}
    for name, (_, zh) in new.items():
        by_head.setdefault(zh.seen[:_HEAD], []).append(name)
    short = {head for head in by_head if len(head) < _HEAD}
    for place in pages.values():
        text = place.chinese.seen
        heads = {text[at : at + _HEAD] for at in range(len(text) - _HEAD + 1)} & by_head.keys()
        for head in heads | {head for head in short if head in text}:
            by_head[head] = [name for name in by_head[head] if not place.has(*new[name])]
    return {name for names in by_head.values() for name in names}
