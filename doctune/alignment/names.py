"""Which page of one language is which of the other, whatever the site calls them.

    partners(["guide/index.md"], ["guide/index.zh-CN.md"])        # {"guide/index.zh-CN.md": "guide/index.md"}

Pages of the same path are partners. Of the rest, those are whose paths are the same but for a language mark
(`index.en-US.md`, `zh/guide.mdx`), the ending, or another name for a folder's own page, when only one page is meant.
"""

import re
from collections import defaultdict
from collections.abc import Iterable

from doctune.text import LOCALE

_FOLDER = re.compile(LOCALE, re.I)
_NAME = re.compile(rf"(?P<name>.*?)(?:[._]{LOCALE})?\.\w+", re.I)
_OWN = frozenset(("index", "_index", "readme"))  # names of a folder's own page


def partners(english: Iterable[str], chinese: Iterable[str]) -> dict[str, str]:
    """Chinese path -> English path, for each Chinese page that has a partner."""
    left, right = set(english), set(chinese)
    found = {path: path for path in left & right}
    by_name: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, paths in enumerate((left - right, right - left)):
        for path in paths:
            by_name[plain(path)][side].append(path)
    found |= {zh[0]: en[0] for en, zh in by_name.values() if len(en) == len(zh) == 1}
    return found


def plain(path: str) -> str:
    """A path without language marks and ending, in lower case; a folder's own page is the folder."""
    *folders, name = path.split("/")
    match = _NAME.fullmatch(name)
    stem = (match["name"] if match else name).lower()
    kept = [folder.lower() for folder in folders if not _FOLDER.fullmatch(folder)]
    return "/".join([*kept, *([] if stem in _OWN else [stem])])
