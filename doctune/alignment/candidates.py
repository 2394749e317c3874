"""What aligning one page gives: candidates for pairs, and an account of everything else.

candidate([english_block], [chinese_block], "Taints", "comment", 0.98)
# Candidate(en="A taint repels Pods.", zh="污点会排斥 Pod。", en_lines=(9, 9), zh_lines=(12, 12), section="Taints", ...)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from doctune.markdown import Block


@dataclass(frozen=True)
class Candidate:
    """An English passage and the Chinese one that translates it, before cleaning.

    zh_lines are lines of the Chinese page; so are en_lines where the English stands in a comment (method "comment"),
    else they are lines of the English page (method "structure").
    """

    en: str
    zh: str
    en_lines: tuple[int, int]
    zh_lines: tuple[int, int]
    section: str
    kind: str
    method: str
    score: float


@dataclass
class PageAlignment:
    """What one page gave: candidates in order, blocks and comments seen, and English blocks left out, by reason."""

    candidates: list[Candidate] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)  # values of personal data replaced in pairs, by kind
    examples: list[tuple[str, int]] = field(default_factory=list)  # (reason, line) of what was dropped
    broken: list[tuple[int, str]] = field(default_factory=list)  # (line, what is wrong with the page's front matter)
    english: dict[int, str] = field(
        default_factory=dict
    )  # offset of a paired Chinese block -> its English, on one line
    left_over: set[int] = field(default_factory=set)  # offsets of Chinese blocks under a comment that have no pair
    unpaired: set[str] = field(default_factory=set)  # English of comments that has no pair, on one line

    def add(self, other: "PageAlignment") -> None:
        """Take over the candidates and the counts of another part of the same page."""
        self.candidates += other.candidates
        self.counts += other.counts
        self.dropped += other.dropped
        self.examples += other.examples
        self.broken += other.broken

    def forget(self) -> None:
        """Keep the counts only: what was needed while the page was aligned is large."""
        self.candidates, self.english, self.left_over, self.unpaired = [], {}, set(), set()

    def drop(self, reason: str, line: int, times: int = 1) -> None:
        self.dropped[reason] += times
        self.examples.append((reason, line))


def candidate(en: Sequence[Block], zh: Sequence[Block], section: str, method: str, score: float) -> Candidate:
    """Neighbouring blocks of each side as one candidate."""
    texts = ["\n\n".join(block.text for block in side) for side in (en, zh)]
    lines = [(side[0].first, side[-1].last) for side in (en, zh)]
    return Candidate(texts[0], texts[1], lines[0], lines[1], section, zh[0].kind, method, round(score, 4))
