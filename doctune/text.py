"""Text as one line and text as a key: joining hard-wrapped lines, and forms in which duplicates are equal.

flatten("Pod 会被调度到\\n某个节点，\\n并在 `kubelet` 的\\n照看下运行。", "zh")
# "Pod 会被调度到某个节点，并在 `kubelet` 的照看下运行。"
"""

import re
import sys
import unicodedata
from functools import lru_cache
from typing import Literal

Lang = Literal["en", "zh"]

IDEOGRAPH = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WIDE_MARKS = "\u3000-\u303f\uff00-\uffef\u2018\u2019\u201c\u201d\u2026\u2014\u00b7"  # with quotes, ellipsis, dash
_CJK = re.compile(f"[{IDEOGRAPH}]")
_WIDE = re.compile(f"[{IDEOGRAPH}{WIDE_MARKS}]")
_MARK = re.compile(f"[{WIDE_MARKS}]")

_BULLET = re.compile(r"[-*+] +\S|> |\||#{1,6} +\S")
_NUMBER = re.compile(r"(\d{1,9})[.)] +\S")
_HARD_BREAK = re.compile(r"(?:\\|<br */?>)$", re.I)

SHORTCODE = re.compile(r"\{\{[<%].*?[%>]\}\}", re.S)
_SHORTCODE_TEXT = re.compile(r"\btext\s*=\s*[\"“]([^\"”]*)[\"”]")
_SHORTCODE_TERM = re.compile(r"\bterm_id\s*=\s*[\"“]([^\"”]*)[\"”]")
_TAG = re.compile(r"</?[A-Za-z](?:\{\{<.*?>\}\}|[^<>])*>")
_LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\](?:\([^()]*(?:\([^()]*\)[^()]*)*\)|\[[^\[\]]*\])")
_NOT_SHOWN = re.compile(r"[\W_]+")
_WORD = re.compile(rf"(?![\W_])[{IDEOGRAPH}]|[^\W_{IDEOGRAPH}]+")


def has_cjk(text: str) -> bool:
    """True when `text` holds a Chinese character (punctuation does not count)."""
    return _CJK.search(text) is not None


def count_cjk(text: str) -> int:
    return len(_CJK.findall(text))


def flatten(text: str, lang: Lang) -> str:
    """Join the hard-wrapped lines of a passage; the result has one line per item.

    English lines join with a space. Chinese lines join with nothing where a full-width mark or two Chinese characters
    meet, and with a space where Chinese meets Latin, a digit or code; what counts is the character a reader sees, so
    markup at the break (`**`, `[`, tags, glossary shortcodes) is looked through. Lines that begin a list item, table
    row, quotation or heading stay lines when the passage has several, as does one after a hard break by `\\` or `<br>`.
    Two spaces at a line's end are no break here: in the corpora they are leftovers that the other side lacks.
    """
    lines = [line.strip() for line in text.split("\n")]
    out = ""
    numbered = False
    for line in lines:
        if not line:
            continue
        number = _NUMBER.match(line)
        starts_item = _BULLET.match(line) is not None or (
            number is not None and (numbered or not out or number[1] == "1")
        )
        numbered = numbered or (number is not None and starts_item)
        if not out:
            out = line
        elif starts_item or _HARD_BREAK.search(out):
            out += "\n" + line
        else:
            out += _joint(out, line, lang) + line
    return out


def _joint(left: str, right: str, lang: Lang) -> str:
    if lang == "en":
        return " "
    before, after = _seen_last(left), _seen_first(right)
    if _MARK.match(before) or _MARK.match(after) or (_WIDE.match(before) and _WIDE.match(after)):
        return ""
    return " "


def _seen_last(text: str) -> str:
    """The last character a reader sees at the end of `text` (a backtick stands for code)."""
    return visible(text[-400:]).rstrip("*_~ ")[-1:] if text[-1] in "*_~)]>}" else text[-1:]


def _seen_first(text: str) -> str:
    return visible(text[:400]).lstrip("*_~ ")[:1] if text[0] in "*_~[!<{" else text[:1]


def visible(text: str) -> str:
    """`text` as a reader sees it: links and glossary shortcodes as their text, no tags; code keeps its backticks."""
    text = SHORTCODE.sub(_shortcode_text, text) if "{{" in text else text
    text = _LINK.sub(r"\1", text) if "](" in text or "][" in text else text
    return _TAG.sub("", text) if "<" in text else text


def _shortcode_text(match: re.Match[str]) -> str:
    found = _SHORTCODE_TEXT.search(match[0]) or _SHORTCODE_TERM.search(match[0])
    return found[1] if found else ""


@lru_cache(maxsize=1 << 16)
def match_key(text: str) -> str:
    """The form in which two texts count as the same: no markup, case, width (NFKC), punctuation or white space.

    match_key("Use **`kubectl`** to\nlist [Pods](/a/)") == match_key("use kubectl to list pods.")

    A text of marks only keeps them, so that the key is never empty for a text that is not.
    """
    return letters(visible(text)) or "".join(text.split())


def words(text: str) -> tuple[str, ...]:
    """The words of `match_key(text)`, a Chinese character being one of its own; joined they are the key.

    words("Use **`kubectl`** to\nlist [Pods](/a/)") == ("use", "kubectl", "to", "list", "pods")
    """
    return tuple(map(sys.intern, _WORD.findall(_plain(visible(text))))) or ("".join(text.split()),)


def letters(text: str) -> str:
    """Letters and digits alone, whatever their case and width, those of markup among them: "[Pods](/a/)" is "podsa"."""
    return _NOT_SHOWN.sub("", _plain(text))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
