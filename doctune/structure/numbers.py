"""Numbers of a sentence, as values that both languages share.

    digits("At most 3,000 of 2 million Pods.")      # Counter({"3000": 1, "2000000": 1})
    digits("200 万个 Pod 中最多 3000 个。")          # the same
    spelled("Three of the replicas in July")        # {"3", "7"}
    spelled("三个副本，十二月")                       # {"3", "12"}

What is written in digits must be kept, in digits or spelled; what is spelled may be written in digits.
"""

import re
from collections import Counter
from decimal import Decimal

_DIGITS = re.compile(
    r"(?<![A-Za-z\d_.])[vV]?(\d{1,3}(?:,\d{3})++(?:\.\d++)?|\d++(?:\.\d++)*+)"
    r"(?![A-Za-z_]*[A-Za-z_]{3}|\w*_)(?:[ -]?(thousand|million|billion)\b|\s*([百千万亿]+))?",
    re.I,
)
_SCALE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8}
_ENGLISH = (
    ("zero", "no", "none"),
    ("one", "first", "once", "january", "jan", "single", "a", "an"),
    ("two", "second", "twice", "february", "feb", "both", "double"),
    ("three", "third", "march", "mar"),
    ("four", "fourth", "april", "apr"),
    ("five", "fifth", "may"),
    ("six", "sixth", "june", "jun"),
    ("seven", "seventh", "july", "jul"),
    ("eight", "eighth", "august", "aug"),
    ("nine", "ninth", "september", "sep", "sept"),
    ("ten", "tenth", "october", "oct"),
    ("eleven", "eleventh", "november", "nov"),
    ("twelve", "twelfth", "december", "dec"),
)
_WORDS = {word: str(value) for value, words in enumerate(_ENGLISH) for word in words} | {
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
    "billion": "1000000000",
}
_WORD = re.compile(r"[A-Za-z]+")
_CHINESE = re.compile("[零〇一二两三四五六七八九十百千万亿]+")
_VALUES = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}


def digits(text: str) -> Counter[str]:
    """Values of the numbers in digits; of `1.30.2` and `v1.30` what stands there, without the letter."""
    found: Counter[str] = Counter()
    for match in _DIGITS.finditer(text):
        number, scale = match[1].replace(",", ""), match[2] or match[3]
        if scale and number.count(".") < 2:
            value = Decimal(number)
            for part in [scale.casefold()] if match[2] else scale:
                value *= _SCALE[part]
            number = str(int(value)) if value == int(value) else str(value.normalize())
        found[number] += 1
    return found


def spelled(text: str) -> set[str]:
    """Values of numbers in words of either language, names of months among them."""
    words = {_WORDS[word] for word in map(str.casefold, _WORD.findall(text)) if word in _WORDS}
    return words | {str(_value(run)) for run in _CHINESE.findall(text)}


def _value(numeral: str) -> int:
    """A Chinese numeral's value: 十二 is 12, 三百零五 305, 两万 20,000; digits alone are read as such: 二〇二五."""
    if all(character in _VALUES for character in numeral):
        return int("".join(str(_VALUES[character]) for character in numeral))
    total = section = digit = 0
    for character in numeral:
        if character in _VALUES:
            digit = _VALUES[character]
        elif character in "万亿":
            total = (total + section + digit or 1) * _SCALE[character]
            section = digit = 0
        else:
            section += (digit or 1) * (10 if character == "十" else _SCALE[character])
            digit = 0
    return total + section + digit
