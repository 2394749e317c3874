"""Which Chinese the words of English documentation usually become, and how much it tells that they are there.

    lexicon = load()
    lexicon.english("Install the container runtime.")        # numbers of: contain, instal, runtim
    lexicon.chinese("安装容器运行时。")                         # the same, and of every other word that this may render

Lengths and shared names leave most prose undecided; a translated word seldom does. The table beside this file was learnt
from bilingual documentation outside Kubernetes by `doctune.alignment.learning`, which says how. It is fixed, so that a page
is aligned the same way whatever other pages there are.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctune.text import IDEOGRAPH, visible

if TYPE_CHECKING:
    import numpy as np

TABLE = Path(__file__).with_name("lexicon.tsv")

_CODE = re.compile(r"(`+).+?\1|https?://\S+", re.S)
_WORD = re.compile(r"[A-Za-z]{2,}")
_RUN = re.compile(f"[{IDEOGRAPH}]+")


@dataclass(frozen=True)
class Lexicon:
    """`hit[w]`: how often a translation of a text with word w holds one of its renderings; `rate[w]`: how often a
    rendering stands in a Chinese character of text without w. `units`: rendering -> the words that it may render."""

    words: dict[str, int]
    units: dict[str, tuple[int, ...]]
    hit: "np.ndarray[Any, Any]"
    rate: "np.ndarray[Any, Any]"

    def english(self, text: str) -> frozenset[int]:
        """Numbers of the known words of an English text; code and addresses do not count."""
        return frozenset(self.words[stem] for stem in stems(text) if stem in self.words)

    def chinese(self, text: str) -> frozenset[int]:
        """Numbers of the words that a Chinese text may render."""
        return frozenset(number for unit in units(text) for number in self.units.get(unit, ()))


@lru_cache(maxsize=1)
def load() -> Lexicon:
    """Read the table: a line a word, of stem, hit, rate and renderings, tab-separated."""
    import numpy as np

    rows = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()]
    renders: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        for unit in row[3].split(" "):
            renders.setdefault(unit, []).append(number)
    return Lexicon(
        words={row[0]: number for number, row in enumerate(rows)},
        units={unit: tuple(numbers) for unit, numbers in renders.items()},
        hit=np.array([float(row[1]) for row in rows]),
        rate=np.array([float(row[2]) for row in rows]),
    )


def stems(text: str) -> set[str]:
    """Snowball stems of the English words that a reader sees in `text` outside code."""
    return {_stem(word) for word in _WORD.findall(prose(text))}


def units(text: str) -> set[str]:
    """Chinese characters and pairs of neighbouring ones that a reader sees in `text` outside code."""
    found: set[str] = set()
    for run in _RUN.findall(prose(text)):
        found.update(run)
        found.update(map("".join, pairwise(run)))
    return found


def prose(text: str) -> str:
    return _CODE.sub(" ", visible(text))


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word.casefold()))


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    from snowballstemmer import stemmer

    return stemmer("english")
