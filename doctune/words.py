"""The words of many texts as numbers, each text read once; what was read stays in a memo beside the run.

    texts = Texts(Path(".doctune/words.npz"))
    pod = texts.add("Delete the **Pod** and wait.")          # 0
    texts.add("Delete the **Pod** and wait.")                # 0: the same text
    len(texts.words(pod))                                    # 5
    texts.key(pod) == texts.key(texts.add("delete the pod and wait"))       # True
    texts.keep()                                             # the next run reads only what is new

Words are those of `doctune.text.words`, a number is a hash of 63 bits. From one snapshot of a site to the next nearly all
texts stay, so nearly all is found in the memo. Its key is the text, and the code that reads it; deleting it changes only
time.
"""

import sys
import zipfile
from array import array
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from doctune import text as reader
from doctune.files import hash_path, hash_text, whole_file

Array = np.ndarray[Any, Any]

_DIGEST = 16  # bytes of a text's key in the memo


class Texts:
    """Texts by number, counted from 0 in the order in which they are added."""

    def __init__(self, memo: Path | None = None) -> None:
        self._memo = memo
        self._old = _Old(memo) if memo else None
        self._new = False
        self._numbers: dict[str, int] = {}
        self._digests: list[bytes] = []
        self._hashes = _Hashes()
        self._words = array("q")
        self._ends = array("q", [0])
        self._keys = array("q")

    def add(self, text: str) -> int:
        """The number of a text, which is added unless it was before."""
        number = self._numbers.get(text)
        if number is None:
            self._numbers[text] = number = len(self._numbers)
            if self._old is None or not self._recall(text, self._old):
                words = reader.words(text)
                self._words.extend(map(self._hashes.__getitem__, words))
                self._keys.append(_hash("".join(words)))
                self._new = True
            self._ends.append(len(self._words))
        return number

    def _recall(self, text: str, old: "_Old") -> bool:
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()
        self._digests.append(digest)
        at = old.places.get(digest)
        if at is None:
            return False
        self._words.frombytes(old.words[old.ends[at] * 8 : old.ends[at + 1] * 8])
        self._keys.append(old.keys[at])
        return True

    def key(self, number: int) -> int:
        """Two texts have the same when they count as the same: a hash of `text.match_key`."""
        return self._keys[number]

    def words(self, number: int) -> "array[int]":
        return self._words[self._ends[number] : self._ends[number + 1]]

    def arrays(self) -> tuple[Array, Array]:
        """The words of all texts end to end, and where each begins, with the end of the last; none is added meanwhile."""
        return np.frombuffer(self._words, np.uint64), np.frombuffer(self._ends, np.int64)

    def keep(self) -> None:
        """Write the memo of the texts that were added, and of no others."""
        if self._memo is None or not (self._new or (self._old and len(self._old.places) != len(self._numbers))):
            return
        with whole_file(self._memo, durable=False) as tmp, tmp.open("wb") as file:
            np.savez(
                file,
                code=np.array(_code()),
                digests=np.frombuffer(b"".join(self._digests), np.uint8),
                words=np.frombuffer(self._words, np.int64),
                ends=np.frombuffer(self._ends, np.int64),
                keys=np.frombuffer(self._keys, np.int64),
            )


class _Old:
    """The memo of an earlier run; what cannot be read, or was read by other code, is as if it were absent."""

    def __init__(self, path: Path) -> None:
        self.places: dict[bytes, int] = {}
        try:
            with np.load(path, allow_pickle=False) as file:
                if str(file["code"]) != _code():
                    return
                digests, words, ends, keys = (file[name] for name in ("digests", "words", "ends", "keys"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return
        self.words, self.ends, self.keys = memoryview(words.tobytes()), ends.tolist(), keys.tolist()
        whole = digests.tobytes()
        self.places = {whole[n * _DIGEST : (n + 1) * _DIGEST]: n for n in range(len(self.keys))}


class _Hashes(dict[str, int]):
    """The hash of each word, computed once."""

    def __missing__(self, word: str) -> int:
        self[word] = _hash(word)
        return self[word]


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> 1


def _code() -> str:
    return hash_text(hash_path(Path(__file__), Path(reader.__file__)), sys.version)
