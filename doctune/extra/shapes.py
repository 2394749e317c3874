"""Where a row of somebody else's data keeps its English and its Chinese: the shapes that people use.

    texts({"en": "A Pod runs.", "zh": "Pod 在运行。"})                       # ("A Pod runs.", "Pod 在运行。")
    texts({"translation": {"en": "A Pod runs.", "zh": "Pod 在运行。"}})      # the same
    texts({"instruction": "Translate.", "input": "A Pod runs.", "output": "Pod 在运行。"})       # the same
    texts({"id": 7})                                                        # None

Columns that have the languages' names are what they say; `direction` tells which language `input` is in.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError
from doctune.extra.files import cells
from doctune.extra.params import Columns, Direction
from doctune.text import has_cjk

ENGLISH = ("en", "english", "en-us", "en_us")
CHINESE = ("zh", "chinese", "zh-cn", "zh_cn", "zh-hans", "zh_hans")
WANTED = '"en" and "zh", "translation" with both, or "input" and "output" (or say which: columns: {en: ..., zh: ...})'

Texts = tuple[Any, Any]  # English and Chinese as they were found, whatever their types
WRONG_COLUMNS = "wrong_columns"  # the reason of a table's row that is too short or too long

_SAMPLE = 100  # rows of a table without header that are looked at
_CLEARLY = 3  # times as many words as any other column has the English one


def texts(record: Mapping[str, Any], columns: Columns | None = None, direction: Direction = "en-zh") -> Texts | None:
    """English and Chinese of a record, or None where it has neither the columns asked for nor a known shape."""
    if columns:
        found = _step(record, str(columns.en)), _step(record, str(columns.zh))
        return None if _ABSENT in found else found
    if names := _known(tuple(record), direction):
        return record[names[0]], record[names[1]]
    inner = record.get("translation")
    if isinstance(inner, Mapping) and (names := _known(tuple(inner), direction)):
        return inner[names[0]], inner[names[1]]
    return None


def table(path: Path, columns: Columns | None, direction: Direction) -> tuple[Columns, Iterator[Texts | str]]:
    """Which columns of a TSV hold the texts, and its rows; WRONG_COLUMNS stands for a row of another width.

    The first line is a header when it has the names asked for, or known ones. Without names, the column in Chinese is
    the Chinese one and of the others the one with far the most words the English one.
    """
    rows = cells(path)
    head = list(islice(rows, _SAMPLE))
    if not head:
        return columns or Columns(en=1, zh=2), iter(())
    first = tuple(name.strip() for name in head[0][1])
    if columns and isinstance(columns.en, str):
        names: tuple[str, str] | None = (columns.en, str(columns.zh))
        if not {columns.en, columns.zh} <= {*first}:
            raise DoctuneError(f"{path}: wanted the columns {columns.en!r} and {columns.zh!r}, got {_names(first)}")
    else:
        names = None if columns else _known(first, direction)
    if names:
        width, head = len(first), head[1:]
        where, used = (first.index(names[0]), first.index(names[1])), Columns(en=names[0], zh=names[1])
    else:
        width = Counter(len(row) for _, row in head).most_common(1)[0][0]
        used = columns or _guess([row for _, row in head if len(row) == width], width, path)
        where = int(used.en) - 1, int(used.zh) - 1
        if max(where) >= width:
            raise DoctuneError(f"{path}: wanted columns {used.en} and {used.zh}, got rows of {width}")
    return used, (
        (row[where[0]], row[where[1]]) if len(row) == width else WRONG_COLUMNS for _, row in chain(head, rows)
    )


def unknown(record: Mapping[str, Any], columns: Columns | None, where: str) -> DoctuneError:
    """What to say where `texts` gave None."""
    wanted = f"the columns {columns.en!r} and {columns.zh!r}" if columns else WANTED
    return DoctuneError(f"{where}: wanted {wanted}, got {_names(tuple(record))}")


_ABSENT = object()


def _step(record: Any, name: str) -> Any:
    """record["a.b"], or else record["a"]["b"]."""
    if not isinstance(record, Mapping):
        return _ABSENT
    if name in record:
        return record[name]
    outer, dot, inner = name.partition(".")
    return _step(record.get(outer), inner) if dot else _ABSENT


@lru_cache(maxsize=1024)  # a file has few sets of names and very many rows
def _known(names: tuple[Any, ...], direction: Direction) -> tuple[str, str] | None:
    by_lower = {str(name).strip().lower(): name for name in reversed(names)}
    english, chinese = (next((by_lower[n] for n in known if n in by_lower), None) for known in (ENGLISH, CHINESE))
    if english is not None and chinese is not None:
        return english, chinese
    if "input" in by_lower and "output" in by_lower:
        pair = by_lower["input"], by_lower["output"]
        return pair if direction == "en-zh" else (pair[1], pair[0])
    return None


def _guess(rows: Sequence[Sequence[str]], width: int, path: Path) -> Columns:
    """The columns of a table that does not name them, by the language of its first rows."""
    share = [sum(has_cjk(row[i]) for row in rows) / len(rows) for i in range(width)]
    words = [sum(_words(row[i]) for row in rows) for i in range(width)]
    chinese = [i for i in range(width) if share[i] > 0.5]
    others = sorted((i for i in range(width) if i not in chinese), key=lambda i: -words[i])
    sure = len(others) == 1 or (len(others) > 1 and words[others[0]] >= _CLEARLY * max(1, words[others[1]]))
    if len(chinese) != 1 or not sure or not words[others[0]]:
        raise DoctuneError(
            f"{path}: wanted one column in Chinese and one in English, got {len(chinese)} in Chinese of {width} and no header "
            "with their names; say which: columns: {en: 1, zh: 2}, or by the header's names"
        )
    return Columns(en=others[0] + 1, zh=chinese[0] + 1)


def _words(cell: str) -> int:
    return sum(word.isalpha() and word.isascii() for word in cell.split())


def _names(names: Sequence[Any]) -> str:
    shown = ", ".join(repr(str(name)[:30]) for name in names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown or "none"
