"""Is a text in the language it should be in, and was it decoded with the right encoding.

    not_simplified("這個節點會執行容器。")      # True: Traditional; Japanese and Korean are found, too
    english_letters("参阅 Pods are the smallest units of all.")     # 30, of the sentence that nobody translated
    garbled("鍦ㄨ妭鐐逛笂杩愯")              # True: UTF-8 read as GBK, "在节点上运行"

Chinese that was typed in Hong Kong or Taiwan, or pasted from there, teaches a model characters that readers in the
mainland do not write. Which characters only Traditional Chinese has is known from two old standards: they are in Big5
but not in GB 2312.
"""

import re
from functools import lru_cache

from doctune.text import count_cjk

_KANA_OR_HANGUL = re.compile("[\u3041-\u3096\u30a1-\u30fa\uac00-\ud7a3]")
_SENTENCE = re.compile(r"(?<![A-Za-z'’-])(?:[A-Za-z][A-Za-z'’-]*+[,;:]? ){4,}[A-Za-z][A-Za-z'’-]*+")
_FUNCTION_WORD = re.compile(
    r"\b(?:the|an|of|and|to|in|is|are|that|with|for|this|be|by|or|on|as|will|you|your|it|can|not|from|which|when|if)\b",
    re.I,
)
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|「[^」]*」|《[^》]*》|（[^（）]*）|\([^()]*\)")
_LATIN_LETTERS = re.compile("[\u0080-\u024f]")  # of which mojibake is made when UTF-8 was read as Latin-1 or cp1252
_LOST = re.compile("\ufffd|锟斤拷|[\ue000-\uf8ff]")  # what no encoding brings back; icon fonts' private characters
_MOST_TRADITIONAL = (
    0.1  # share of Chinese characters; real Simplified texts have 0.01 at most, Traditional 0.3 and more
)
_LEAST_TRADITIONAL = 2
_MOST_FOREIGN = 0.3  # share of kana and hangul; a Chinese text may name a Japanese word


def not_simplified(text: str) -> bool:
    """Is a text of Chinese characters Traditional Chinese, Japanese or Korean?"""
    chinese = count_cjk(text)
    foreign = len(_KANA_OR_HANGUL.findall(text))
    if foreign > _MOST_FOREIGN * (chinese + foreign):
        return True
    traditional = len(_traditional().findall(text))
    return traditional >= _LEAST_TRADITIONAL and traditional > _MOST_TRADITIONAL * chinese


def english_letters(text: str) -> int:
    """Letters in sentences that were left in English: five words in a row or more, two of them words like "the".

    Sentences in quotation marks or brackets do not count: error messages and titles are kept on purpose.
    """
    sentences = _SENTENCE.findall(_QUOTED.sub(" ", text))
    return sum(sum(map(str.isalpha, s)) for s in sentences if len(_FUNCTION_WORD.findall(s)) > 1)


def garbled(text: str) -> bool:
    """Was the text decoded with a wrong encoding, or has it characters that no encoding brings back?"""
    if text.isascii():
        return False
    if _LOST.search(text):
        return True
    if _LATIN_LETTERS.search(text):
        from ftfy.badness import is_bad

        if is_bad(text):
            return True
    return _is_utf8_read_as_gbk(text)


def _is_utf8_read_as_gbk(text: str) -> bool:
    """Do the text's bytes in GBK read as Chinese in UTF-8? Those of a real text break at the first character."""
    raw = text.encode("gbk", "replace")
    try:
        return count_cjk(raw.decode("utf-8")) > 1
    except UnicodeDecodeError as error:
        return count_cjk(raw[: error.start].decode("utf-8")) > 2


@lru_cache(maxsize=1)
def _traditional() -> re.Pattern[str]:
    """The characters that Big5 has and GB 2312 has not."""
    found = []
    for code in range(0x4E00, 0x9FFF):
        character = chr(code)
        if character.encode("big5", "ignore") and not character.encode("gb2312", "ignore"):
            found.append(character)
    return re.compile(f"[{''.join(found)}]")
