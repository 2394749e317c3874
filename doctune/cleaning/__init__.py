"""Which aligned pairs are no training material, and why: one rule a reason, the first that holds is counted.

reason_to_drop("NoExecute", "NoExecute", limits)                    # "untranslated"
reason_to_drop("Pods run on nodes.", "Pod 运行在节点上。", limits)      # None: the pair stays
reason_to_drop("etcd", "etcd", limits, term=True)                    # None: a term may keep its name
mask("Ask jane@corp.io.", "请询问 jane@corp.io。")                    # ("Ask name@example.com.", ..., ("email",))

languages.py    is it Simplified Chinese, was it decoded right
agreement.py    do code, numbers and links of the two sides agree
personal.py     personal data and secrets: what is masked, what drops a pair
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from doctune.cleaning.agreement import code_differs, links_differ, numbers_differ
from doctune.cleaning.languages import english_letters, garbled, not_simplified
from doctune.cleaning.personal import holds_secret, mask
from doctune.text import CODE, count_cjk, flatten, has_cjk, normalise, visible

__all__ = ["REASONS", "Limits", "mask", "reason_to_drop"]

_URL = re.compile(r"https?://[^\s<>\"'）)，。]+|\[[^\[\]]*\]:\s*\S+")
_LETTERS = re.compile(r"[A-Za-z]{2,}")
_ENTITY = re.compile(r"&[a-zA-Z]+;|&#\d+;")
_CUT_TAG = re.compile(r"</?[A-Za-z]+\s*$|^[A-Za-z]+ [a-z]+=\"[^\"]*\">")
_FURNITURE = re.compile(  # what a site puts around a page; the whole text, so that a page about such words stays
    r"edit this page|(?:view|show) (?:page )?source|skip to (?:main )?content|was this (?:page|article) helpful\??"
    r"|last (?:modified|updated)\b.{0,20}\d.{0,30}|(?:copyright )?(?:©|\(c\)).{0,120}|.{0,40}\ball rights reserved\.?"
    r"|licensed under (?:the )?.{0,60}licen[sc]e.{0,30}",
    re.I,
)
_FEW_LETTERS = 60  # a shorter English sentence may be a title or a message that is kept on purpose
_SLACK = 5  # characters added to both lengths, so that one-word headings pass where a sentence would not


@dataclass(frozen=True)
class Limits:
    """max_chars: longest text of either side, on one line. Ratios: Chinese to English characters that a reader sees.

    max_latin: largest share of English sentences in what a reader sees of the Chinese, in letters (a Chinese character
    weighing three). Names, values, quotations and titles of other pages are no sentences: they fill good translations.
    """

    max_chars: int
    min_ratio: float
    max_ratio: float
    max_latin: float


@dataclass(frozen=True)
class _Pair:
    en: str
    zh: str
    limits: Limits

    @cached_property
    def en_seen(self) -> str:
        return _unescaped(visible(self.en))

    @cached_property
    def zh_seen(self) -> str:
        return _unescaped(visible(self.zh))


def _wrong_language(pair: _Pair) -> bool:
    if count_cjk(pair.en_seen) * 10 > len(pair.en_seen) or not_simplified(pair.zh_seen):
        return True
    english = english_letters(_words(pair.zh))
    return english >= _FEW_LETTERS and english / (english + 3 * count_cjk(pair.zh)) > pair.limits.max_latin


def _boilerplate(pair: _Pair) -> bool:
    if not _LETTERS.search(_URL.sub("", pair.en_seen)):  # an image, a link definition, a shortcode without words
        return True
    return _FURNITURE.fullmatch(pair.en_seen) is not None


def _off_length(pair: _Pair) -> bool:
    ratio = (len(pair.zh_seen) + _SLACK) / (len(pair.en_seen) + _SLACK)
    return not pair.limits.min_ratio <= ratio <= pair.limits.max_ratio


RULES: tuple[tuple[str, Callable[[_Pair], bool]], ...] = (
    ("empty", lambda pair: not pair.en or not pair.zh),
    ("overlong", lambda pair: max(len(pair.en), len(pair.zh)) > pair.limits.max_chars),
    ("secret", lambda pair: holds_secret(pair.en) or holds_secret(pair.zh)),
    ("mojibake", lambda pair: garbled(pair.zh) or garbled(pair.en)),
    ("untranslated", lambda pair: not has_cjk(pair.zh) or pair.en == pair.zh),
    ("wrong_language", _wrong_language),
    ("boilerplate", _boilerplate),
    ("code_only", lambda pair: not _LETTERS.search(_words(pair.en))),
    ("broken_markup", lambda pair: _CUT_TAG.search(pair.en) is not None or _CUT_TAG.search(pair.zh) is not None),
    ("length_ratio", _off_length),
    ("code_differs", lambda pair: code_differs(pair.en, pair.zh)),
    ("numbers_differ", lambda pair: numbers_differ(pair.en, pair.zh)),
    ("links_differ", lambda pair: links_differ(pair.en, pair.zh)),
)
REASONS = tuple(reason for reason, _ in RULES)
TERM_RULES = tuple(  # a term may keep its name (etcd), and an abbreviation may be written out (HPA)
    (reason, rule) for reason, rule in RULES if reason not in ("untranslated", "length_ratio")
)


def reason_to_drop(en: str, zh: str, limits: Limits, term: bool = False) -> str | None:
    """The first reason to drop a pair, or None to keep it. Texts are raw: markup and hard-wrapped lines are allowed.

    `term`: the pair is a term and its rendering, to which fewer rules apply.
    """
    pair = _Pair(normalise(flatten(en, "en")), flatten(zh, "zh"), limits)
    return next((reason for reason, holds in (TERM_RULES if term else RULES) if holds(pair)), None)


def _words(text: str) -> str:
    """What is left for words: no code, URLs, entities or tags."""
    return _ENTITY.sub(" ", _URL.sub(" ", visible(CODE.sub(" ", text))))


def _unescaped(text: str) -> str:
    return _ENTITY.sub(" ", text) if "&" in text else text
