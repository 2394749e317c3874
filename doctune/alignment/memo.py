"""What aligning a page gave, kept outside the stage's outputs: from one snapshot to the next only changed pages are aligned.

    with Memo(Path(".doctune/align.sqlite"), fingerprint(params)) as memo:
        keys = memo.keys(work)
        known = memo.find(keys)              # number of a page -> its result
        memo.keep(keys, made)                # and forget every page that is not in `keys`

The key is a hash over the page in both languages, the params, and the code that aligns; so a stale entry cannot be found.
A file that cannot be read is made anew: deleting it changes only time.
"""

import sqlite3
import sys
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import orjson

from doctune.alignment.candidates import PageAlignment
from doctune.alignment.page import Pair
from doctune.alignment.params import AlignParams
from doctune.errors import DoctuneError
from doctune.files import hash_path, hash_text

if TYPE_CHECKING:
    from doctune.alignment.corpus import Work

CODE = (
    "alignment",
    "cleaning",
    "files.py",
    "html.py",
    "markdown.py",
    "placeholders.py",
    "prose.py",
    "spans.py",
    "text.py",
)
LIBRARIES = (
    "detect-secrets",
    "ftfy",
    "markdown-it-py",
    "numpy",
    "phonenumberslite",
    "rapidfuzz",
    "ruamel.yaml",
    "snowballstemmer",
)
KEPT = ("counts", "dropped", "masked", "examples", "broken")


def fingerprint(params: AlignParams) -> str:
    """A hash over everything but the page that decides how it is aligned."""
    package = Path(__file__).parents[1]
    libraries = [sys.version, *(f"{name} {version(name)}" for name in LIBRARIES)]
    return hash_text(hash_path(*(package / name for name in CODE)), params.model_dump_json(), *libraries)


class Memo:
    """The file, open; one process at a time writes it, another waits."""

    def __init__(self, path: Path, code: str) -> None:
        self.code = code
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._base = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            return _table(self._path)
        except sqlite3.OperationalError as error:
            raise DoctuneError(
                f"could not open {self._path}: {error}; wait for the other run, or delete the file"
            ) from error
        except sqlite3.DatabaseError:
            self._path.unlink()
            return _table(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()

    def keys(self, work: Sequence["Work"]) -> list[str]:
        """What each page is kept under."""
        return [hash_text(self.code, *item[:2], *([] if item.english is None else [item.english])) for item in work]

    def find(self, keys: Sequence[str]) -> dict[int, tuple[list[Pair], PageAlignment]]:
        """The results that are there; what cannot be read counts as absent."""
        try:
            rows = dict(self._base.execute("SELECT key, value FROM page"))
        except sqlite3.OperationalError as error:
            raise DoctuneError(f"could not read {self._path}: {error}; delete the file") from error
        except sqlite3.DatabaseError:  # damaged: begin anew
            self._base.close()
            self._path.unlink()
            self._base = self._open()
            rows = {}
        found = {}
        for number, key in enumerate(keys):
            if key in rows:
                with suppress(zlib.error, ValueError, KeyError, TypeError):
                    found[number] = _read(rows[key])
        return found

    def keep(self, keys: Sequence[str], made: Mapping[int, tuple[list[Pair], PageAlignment]]) -> None:
        wanted = set(keys)
        rows = [(keys[number], _write(*result)) for number, result in made.items()]
        try:
            with self._base:
                old = [key for (key,) in self._base.execute("SELECT key FROM page") if key not in wanted]
                self._base.executemany("DELETE FROM page WHERE key = ?", [(key,) for key in old])
                self._base.executemany("INSERT OR REPLACE INTO page VALUES (?, ?)", rows)
        except sqlite3.OperationalError as error:
            raise DoctuneError(
                f"could not write the alignment memo: {error}; free some space or delete the file"
            ) from error


def _table(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, timeout=600)
    base.execute("CREATE TABLE IF NOT EXISTS page (key TEXT PRIMARY KEY, value BLOB NOT NULL)")
    return base


def _write(pairs: list[Pair], account: PageAlignment) -> bytes:
    return zlib.compress(orjson.dumps([pairs, {name: getattr(account, name) for name in KEPT}]))


def _read(value: bytes) -> tuple[list[Pair], PageAlignment]:
    pairs, kept = orjson.loads(zlib.decompress(value))
    account = PageAlignment(
        counts=Counter(kept["counts"]),
        dropped=Counter(kept["dropped"]),
        masked=Counter(kept["masked"]),
        examples=[(reason, line) for reason, line in kept["examples"]],
        broken=[(line, problem) for line, problem in kept["broken"]],
    )
    return pairs, account
