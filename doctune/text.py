"""Text as one line and text as a key: joining hard-wrapped lines, one way to write a character, equal duplicates.

flatten("Pod 会被调度到\\n某个节点，\\n并在 `kubelet` 的\\n照看下运行。", "zh")
# "Pod 会被调度到某个节点，并在 `kubelet` 的照看下运行。"
normalise("⼀个\\u200b ＰＯＤ，占用 ５ 个端口")
# "一个 POD，占用 5 个端口"

Also what the names of pages say, in an address or in a repository: their language and their folder.
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

CODE = re.compile(r"(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)|<(?P<tag>code|tt|pre)>.*?</(?P=tag)>", re.S)
SHORTCODE = re.compile(r"\{\{[<%].*?[%>]\}\}", re.S)
_SHORTCODE_TEXT = re.compile(r"\btext\s*=\s*[\"“]([^\"”]*)[\"”]")
TERM_ID = re.compile(r"\bterm_id\s*=\s*[\"“]([^\"”]*)[\"”]")
_TAG = re.compile(r"</?[A-Za-z](?:\{\{<.*?>\}\}|[^<>])*>")
_LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\](?:\([^()]*(?:\([^()]*\)[^()]*)*\)|\[[^\[\]]*\])")
_NOT_SHOWN = re.compile(r"[\W_]+")
_WORD = re.compile(rf"(?![\W_])[{IDEOGRAPH}]|[^\W_{IDEOGRAPH}]+")

# What `normalise` mends, all of it seen on real pages: text pasted from PDFs, from word processors, from chats.
_SPACES = "\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\x0b\x0c\x1c-\x1f"
_INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
)
_COMPATIBLE = (
    "\u2f00-\u2fd5\ufb00-\ufb06\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff61-\uff9f"  # radicals, ligatures, widths
)
_RADICALS = "⺁⺂⺃⺄⺅⺆⺈⺉⺊⺌⺍⺎⺏⺐⺒⺓⺔⺕⺖⺗⺘⺙⺛⺜⺝⺞⺟⺠⺡⺢⺣⺤⺥⺦⺧⺨⺩⺫⺬⺭⺯⺰⺱⺲⺴⺶⺹⺺⺻⺼⺾⺿⻀⻁⻂⻃⻄⻅⻆⻈⻉⻋⻌⻍⻎⻏⻐⻑⻒⻓⻔⻖⻗⻘⻙⻚⻛⻜⻝⻟⻠⻢⻣⻤⻥⻦⻧⻨⻩⻪⻫⻬⻭⻮⻯⻰⻱⻲⻳"
_UNIFIED = "厂乛乚乙亻冂刀刂卜小尐兀尣尢巳幺彑彐忄心扌攵旡日月歺母民氵氺灬爫爬丬牛犭王目示礻糹纟罓罒冗羊耂肀聿肉艹艺艻虎衤覀西见角讠贝车辶辷辸邑钅長镸长门阝雨青韦页风飞食飠饣马骨鬼鱼鸟卤麦黄黾斉齐歯齿竜龙龜亀龟"
_EMOJI = "\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
_STRAY = (  # a joiner that joins no emoji, a variation selector behind a Chinese character
    f"(?<![{_EMOJI}])\u200d|\u200d(?![{_EMOJI}])|(?<=[{IDEOGRAPH}])[\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
_ODD = re.compile(f"[{_SPACES}{_INVISIBLE}{_COMPATIBLE}{_RADICALS}]|{_STRAY}")
_ODD_ASCII = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f]")  # of _ODD; most English has none, and says so sooner
_REMOVED = re.compile(f"[{_INVISIBLE}]|{_STRAY}")
_SPACE = re.compile(f"[{_SPACES}]")
_TO_MAP = re.compile(f"[{_COMPATIBLE}]+")
_FROM_RADICAL = str.maketrans(_RADICALS, _UNIFIED)  # what NFKC leaves; Unicode's EquivalentUnifiedIdeograph
TARGET = r"(?<=\])\([^()\s]*+(?:\([^()\s]*+\)[^()\s]*+)*+[^()]*+\)"  # of a link, behind its words
ADDRESS = r"https?://[^\s<>()\[\]`，。；：、！？）】》“”]+"
LOCALE = r"(?:en|zh|cn)(?:[-_](?:hans|cn|us|gb))?"  # a language, as sites name its folders and files; whatever the case
LOCALE_FOLDER = re.compile(rf"/{LOCALE}(?=/|$)", re.I)
ANY_TAG = r"</?[A-Za-z][^<>]*>"
_VERBATIM = re.compile(  # inline code, link targets, addresses, tags
    f"{CODE.pattern}|{TARGET}|{ADDRESS}|{ANY_TAG}",
    re.S,
)


def has_cjk(text: str) -> bool:
    """True when `text` holds a Chinese character (punctuation does not count)."""
    return _CJK.search(text) is not None


def count_cjk(text: str) -> int:
    return len(_CJK.findall(text))


def normalise(text: str) -> str:
    """The one way in which Chinese is written wherever it is learnt from, scored or compared; idempotent.

    Composed characters (NFC, so compatibility ideographs are plain ones), radicals as the characters they look like,
    full-width Latin letters and digits as ASCII, half-width kana and punctuation as full, ligatures as letters, every
    kind of space as a space; what nobody sees (zero-width marks, soft hyphens, byte order marks, control characters)
    is gone. Full-width punctuation, emoji, placeholders, code, link targets, addresses and tags stay as they are.
    """
    if text.isascii() and not _ODD_ASCII.search(text):
        return text
    while _ODD.search(text) or not unicodedata.is_normalized("NFC", text):
        better = _outside(_VERBATIM, text)
        if better == text:  # what is odd stands in code
            break
        text = better  # once more: what was removed may have hidden where code begins
    return text


def _outside(verbatim: re.Pattern[str], text: str) -> str:
    parts, at = [], 0
    for match in verbatim.finditer(text):
        parts += [_mended(text[at : match.start()]), match[0]]
        at = match.end()
    return "".join([*parts, _mended(text[at:])])


def _mended(text: str) -> str:
    text = _SPACE.sub(" ", _REMOVED.sub("", text)).translate(_FROM_RADICAL)
    text = _TO_MAP.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    return unicodedata.normalize("NFC", text)


def flatten(text: str, lang: Lang) -> str:
    """Join the hard-wrapped lines of a passage; the result has one line per item. Chinese is normalised, too.

    English lines join with a space. Chinese lines join with nothing where a full-width mark or two Chinese characters
    meet, and with a space where Chinese meets Latin, a digit or code; what counts is the character a reader sees, so
    markup at the break (`**`, `[`, tags, glossary shortcodes) is looked through. Lines that begin a list item, table
    row, quotation or heading stay lines when the passage has several, as does one after a hard break by `\\` or `<br>`.
    Two spaces at a line's end are no break here: in the corpora they are leftovers that the other side lacks. Lines may
    end as on any system.
    """
    source = (normalise(text) if lang == "zh" else text).replace("\r", "\n")
    lines = [line.strip() for line in source.split("\n")]
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
    found = _SHORTCODE_TEXT.search(match[0]) or TERM_ID.search(match[0])
    return found[1] if found else ""


@lru_cache(maxsize=1 << 16)
def match_key(text: str) -> str:
    """The form in which two texts count as the same: normalised; no markup, case, width, punctuation or white space.

    match_key("Use **`kubectl`** to\nlist [Pods](/a/)") == match_key("use kubectl to list pods.")

    A text of marks only keeps them, so that the key is never empty for a text that is not.
    """
    return letters(visible(normalise(text))) or "".join(text.split())


def words(text: str) -> tuple[str, ...]:
    """The words of `match_key(text)`, a Chinese character being one of its own; joined they are the key.

    words("Use **`kubectl`** to\nlist [Pods](/a/)") == ("use", "kubectl", "to", "list", "pods")
    """
    return tuple(map(sys.intern, _WORD.findall(_plain(visible(normalise(text)))))) or ("".join(text.split()),)


def letters(text: str) -> str:
    """Letters and digits alone, whatever their case and width, those of markup among them: "[Pods](/a/)" is "podsa"."""
    return _NOT_SHOWN.sub("", _plain(text))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def top_folder(page: str) -> str:
    """concepts/workloads/pods.md is in concepts; a page in no folder is in (root)."""
    folder, slash, _ = page.partition("/")
    return folder if slash else "(root)"
