"""The rules, one small function each, of a text of inline Markdown.

    lint("您可以创建Pod,然后等待。")
    # [Finding(0, 1, "you", "...", "你"), Finding(5, 5, "space", "...", " "), Finding(8, 9, "punctuation", "...", "，")]

They are those of the guide of Kubernetes' zh-cn team (content/zh-cn/docs/contribute/localization_zh.md): a space between
Chinese and English, full-width punctuation unless it belongs to a command or to Markdown, 你 for "you", API kinds as
they are written in English, `**` for emphasis. A finding is `text[start:end]`; `fix` replaces it, where that is safe.
Code, addresses, link targets, shortcodes, tags and comments are masked first, so that no rule looks into them.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from doctune.text import ADDRESS, ANY_TAG, CODE, IDEOGRAPH, SHORTCODE, TARGET, has_cjk


@dataclass(frozen=True)
class Finding:
    start: int
    end: int
    rule: str
    message: str
    fix: str | None = None


_HIDDEN = re.compile(  # not seen by a reader: tags, link targets, anchors, comments
    rf"<!--.*?(?:-->|\Z)|{TARGET}|(?<=\])\[[^\[\]]*\]|\{{#[^{{}}]*\}}|{ANY_TAG}",
    re.S,
)
_VERBATIM = re.compile(
    f"{CODE.pattern}|{SHORTCODE.pattern}|{ADDRESS}"
    r"|&#?\w+;|⟦\d+⟧|\\[!-/:-@\[-`{-~]",
    re.S,
)
_UNSEEN, _OPAQUE = "\ue000", "\ue001"
_BETWEEN = rf"[*_~\[\]{_UNSEEN}]*"
_TOUCH = re.compile(rf"(?<=[{IDEOGRAPH}])(?P<a>{_BETWEEN})(?=[A-Za-z])|(?<=[A-Za-z])(?P<b>{_BETWEEN})(?=[{IDEOGRAPH}])")
_SPACES = re.compile(rf"(?<=[{IDEOGRAPH}]) {{2,}}(?=[A-Za-z])|(?<=[A-Za-z]) {{2,}}(?=[{IDEOGRAPH}])")
_NARROW = re.compile(rf"(?<=[{IDEOGRAPH}])([,;:!?]|\.(?![\w.]))(?![\w/\-]*[,;:]\w)(?!\[) ?")
_WIDE = {",": "，", ";": "；", ":": "：", "!": "！", "?": "？", ".": "。"}
_BRACKETS = re.compile(rf"( |(?<![A-Za-z0-9_\]{_OPAQUE}]))\(([^()\n]*[{IDEOGRAPH}][^()\n]*)\)( ?)")
_MARK = "，。；：！？、"
_LOOSE = re.compile(
    rf"(?<=[^\s*_~|>#:{_UNSEEN}]) +(?=[{_MARK}）])|(?<=[{_MARK}（]) +(?=[^\s*_~|{_UNSEEN}{_OPAQUE}\[!])"
)
_ITALIC = re.compile(
    rf"(?<![*A-Za-z0-9_\\])\*(?![\s*])([^*\n]*[{IDEOGRAPH}][^*\n]*)(?<!\s)\*(?!\*)|(?<![\w_\\])_(?![\s_])([^_\n]*[{IDEOGRAPH}][^_\n]*)(?<!\s)_(?![\w_])"
)
_KINDS = ("ConfigMap", "CronJob", "DaemonSet", "Deployment", "EndpointSlice", "Pod", "ReplicaSet", "StatefulSet")
_LOWER = re.compile(rf"(?<![\w./<>\-{_OPAQUE}])({'|'.join(map(str.lower, _KINDS))})s?(?![\w/.\-=])")
_TRANSLATED = {
    "豆荚": "Pod",
    "吊舱": "Pod",
    "配置映射": "ConfigMap",
    "守护进程集": "DaemonSet",
    "有状态副本集": "StatefulSet",
    "有状态集": "StatefulSet",
}
_KIND = re.compile("|".join(_TRANSLATED))
_SIGNATURE = re.compile(r"\s*\*\*(?:作者|译者|Author|Translator)")


def lint(text: str) -> list[Finding]:
    """Findings in order; none in a text without Chinese."""
    if not has_cjk(text):
        return []
    masked = mask(text)
    return sorted((found for rule in RULES for found in rule(masked)), key=lambda found: (found.start, found.rule))


def mask(text: str) -> str:
    """`text` with verbatim spans turned to characters that no rule knows, so that every offset stays."""
    text = _VERBATIM.sub(lambda match: _OPAQUE * len(match[0]), text)
    return _HIDDEN.sub(lambda match: _UNSEEN * len(match[0]), text)


def space(text: str) -> Iterator[Finding]:
    """One space between Chinese and English, links and emphasised words among them."""
    for match in _TOUCH.finditer(text):
        at = match.start() + _closers(text, match.start(), match[0])
        yield Finding(at, at, "space", "no space between Chinese and English", " ")
    for match in _SPACES.finditer(text):
        yield Finding(*match.span(), "space", "more than one space between Chinese and English", " ")


def _closers(text: str, start: int, between: str) -> int:
    """How much of the markup between two words belongs to the first: what closes there."""
    at = 0
    while at < len(between):
        character = between[at]
        run = len(between) - at - len(between[at:].lstrip(character))
        opens = character == "[" or (character in "*_~" and text.count(character * run, 0, start + at) % 2 == 0)
        if opens:
            break
        at += run
    return at


def punctuation(text: str) -> Iterator[Finding]:
    """Full-width punctuation after Chinese."""
    for match in _NARROW.finditer(text):
        message = f"half-width {match[1]} after Chinese, wanted {_WIDE[match[1]]}"
        yield Finding(*match.span(), "punctuation", message, _WIDE[match[1]])


def brackets(text: str) -> Iterator[Finding]:
    """Full-width brackets around Chinese, but for the company in a translator's signature."""
    if _SIGNATURE.match(text):
        return
    for match in _BRACKETS.finditer(text):
        message = "half-width brackets around Chinese, wanted （）"
        yield Finding(match.start(), match.start(2), "brackets", message, "（")
        yield Finding(match.end(2), match.end(), "brackets", message, "）")


def loose(text: str) -> Iterator[Finding]:
    """No space before or after full-width punctuation."""
    for match in _LOOSE.finditer(text):
        yield Finding(*match.span(), "loose", "space beside full-width punctuation", "")


def you(text: str) -> Iterator[Finding]:
    """你, not 您."""
    for match in re.finditer("您", text):
        yield Finding(*match.span(), "you", "您, wanted 你", "你")


def kind(text: str) -> Iterator[Finding]:
    """API kinds are neither translated nor written with a small letter; no fix, for a small word may be a name."""
    for match in _KIND.finditer(text):
        yield Finding(*match.span(), "kind", f"{match[0]}: the API kind {_TRANSLATED[match[0]]} is not translated")
    for match in _LOWER.finditer(text):
        wanted = next(name for name in _KINDS if name.lower() == match[1])
        yield Finding(*match.span(), "kind", f"{match[0]}: the API kind is written {wanted}")


def italic(text: str) -> Iterator[Finding]:
    """Chinese in italics is hard to read: `**译文**`."""
    for match in _ITALIC.finditer(text):
        for at in (match.start(), match.end() - 1):
            yield Finding(at, at + 1, "italic", "Chinese in italics, wanted **", "**")


RULES: tuple[Callable[[str], Iterator[Finding]], ...] = (space, punctuation, brackets, loose, you, kind, italic)
RULE_NAMES = tuple(rule.__name__ for rule in RULES)


def mend(text: str, findings: list[Finding]) -> str:
    """`text` with every fix applied; of two that overlap the first one is."""
    parts, at = [], 0
    for found in sorted(findings, key=lambda found: (found.start, found.end)):
        if found.fix is not None and found.start >= at:
            parts += [text[at : found.start], found.fix]
            at = found.end
    return "".join([*parts, text[at:]])
