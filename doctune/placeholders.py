"""Markup that a translator must carry unchanged, taken out as numbered placeholders and put back exactly.

    >>> text, spans = protect("Run `kubectl get` on a [Pod](/docs/pods/).")
    >>> text
    'Run ⟦1⟧ on a [Pod]⟦2⟧.'
    >>> restore("在 [Pod]⟦2⟧ 上运行 ⟦1⟧。", spans, {"/docs/": "/zh-cn/docs/"})
    '在 [Pod](/zh-cn/docs/pods/) 上运行 `kubectl get`。'

Protected are inline code, link and image targets, URLs, Hugo shortcodes, HTML tags and comments. The text of a
glossary tooltip is translated: the shortcode becomes a pair of placeholders around it. Equal spans share a number, so a
translation may use one twice; `changed` says when it lost or repeated one. One module serves training, translation and serving.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle

from doctune.text import LOCALE

LIMIT = 64
SYMBOLS = tuple(f"⟦{number}⟧" for number in range(1, LIMIT + 1))

SYMBOL = re.compile(r"⟦(\d{1,3})⟧")
_TOOLTIP = re.compile(r"\{\{[<%]\s*glossary_tooltip\b(?P<attributes>[^{}]*?)[>%]\}\}")
_ATTRIBUTE = re.compile(r"""([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|“([^”]*)”|([^\s"']+))""")
_SPAN = re.compile(
    r"(?P<code>(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<tooltip>\{\{[<%]\s*glossary_tooltip\b[^{}]*?[>%]\}\})"
    r"|(?P<shortcode>\{\{[<%].*?[>%]\}\})"
    r"|(?P<comment><!--.*?-->)"
    r"|(?P<htmlcode><code>[^<]*</code>)"
    r"|(?P<target>(?<=\])\((?:[^()\s]|\([^()\s]*\))*(?:\s+\"[^\"]*\")?\))"
    r"|(?P<url><?https?://[^\s<>()\[\]`，。；：、！？）】》“”]*[^\s<>()\[\]`，。；：、！？）】》“”.,;:!?'\"*]>?)"
    r"|(?P<symbol>⟦\d{1,3}⟧)"
    r"|(?P<tag></?[A-Za-z][\w-]*(?:\s[^<>]*)?/?>)",
    re.DOTALL,
)
_LANGUAGE_ROOT = re.compile(rf"^\(/{LOCALE}(?=/)", re.I)


@dataclass(frozen=True)
class Span:
    """One protected span: its source text, and a key that its counterpart in the other language shares."""

    text: str
    key: str


def protect(text: str, known: tuple[Span, ...] | None = None, start: int = 1) -> tuple[str, tuple[Span, ...]]:
    """Replace protected spans by ⟦n⟧ and return the text and its spans (span i has number start + i).

    With `known` (the spans of the source) a target text is protected with the source's numbers; spans that the source
    lacks stay as they are. At most 64 numbers are given out; later spans stay too. A placeholder symbol in the text
    itself is protected like any other span.
    """
    numbers = {span.key: start + index for index, span in enumerate(known or ())}
    spans = list(known or ())

    def number(key: str, span: str) -> str | None:
        if key not in numbers:
            if known is not None or start + len(spans) > LIMIT:
                return None
            numbers[key] = start + len(spans)
            spans.append(Span(span, key))
        return f"⟦{numbers[key]}⟧"

    def replace(match: re.Match[str]) -> str:
        found = match.group()
        if match.lastgroup == "tooltip" or match.group("tooltip"):
            term, words = _tooltip(found)
            opened, closed = number(f"tooltip:{term}", found), number("tooltip:end", "")
            return f"{opened}{words}{closed}" if opened and closed else found
        key = found
        if match.group("target"):
            key = _LANGUAGE_ROOT.sub("(", found)
        return number(key, found) or found

    return _SPAN.sub(replace, text), tuple(spans)


def restore(text: str, spans: tuple[Span, ...], links: Mapping[str, str] | None = None, start: int = 1) -> str:
    """Put the spans back; `links` rewrites the beginning of link targets (the target language's root). Unknown numbers vanish."""

    def tooltip(match: re.Match[str]) -> str:
        span, words = spans[int(match.group(1)) - start], match.group(2)
        term, source_words = _tooltip(span.text)
        if words == source_words:
            return span.text
        return f'{{{{< glossary_tooltip text="{_unquoted(words.strip())}" term_id="{term}" >}}}}'

    end = next((start + index for index, span in enumerate(spans) if span.key == "tooltip:end"), None)
    if end is not None:
        opening = "|".join(
            str(start + i)
            for i, span in enumerate(spans)
            if span.key.startswith("tooltip:") and span.key != "tooltip:end"
        )
        text = re.sub(rf"⟦({opening})⟧([^⟦⟧]*)⟦{end}⟧", tooltip, text)

    def back(match: re.Match[str]) -> str:
        span = _span(match.group(1), spans, start)
        if span is None or span.key == "tooltip:end":
            return ""
        if span.text.startswith("("):
            for old, new in (links or {}).items():
                if span.text.startswith(f"({old}"):
                    return f"({new}{span.text[1 + len(old) :]}"
        return span.text

    return SYMBOL.sub(back, text)


def changed(source: str, hypothesis: str) -> dict[str, int]:
    """Placeholders (of two protected texts) that the hypothesis has more (+) or fewer (-) times than the source."""
    wanted, got = Counter(SYMBOL.findall(source)), Counter(SYMBOL.findall(hypothesis))
    return {f"⟦{n}⟧": got[n] - wanted[n] for n in sorted(wanted | got, key=int) if got[n] != wanted[n]}


def _span(number: str, spans: tuple[Span, ...], start: int) -> Span | None:
    index = int(number) - start
    return spans[index] if 0 <= index < len(spans) else None


def _unquoted(words: str) -> str:
    """Words that can stand in quotation marks: their own become Chinese ones, opening and closing by turns."""
    marks = cycle("“”")
    return re.sub('"', lambda _: next(marks), words)


def _tooltip(shortcode: str) -> tuple[str, str]:
    """(term id, the words shown); a tooltip without text shows its term, so the id stands in for it."""
    match = _TOOLTIP.match(shortcode)
    attributes = _ATTRIBUTE.findall(match["attributes"]) if match else []
    values = {name: double or single or wide or bare.strip("“”") for name, double, single, wide, bare in attributes}
    term = values.get("term_id", "")
    return term, values.get("text", term.replace("-", " "))
