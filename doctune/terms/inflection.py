"""The forms in which an English word may stand in a sentence.

    forms("policy")                  # {"policy", "policys", "policies", "policyes"}
    forms("drain", verb=True)        # {"drain", "drains", "drained", "draining", "drainning", ...}

Made to look words up, so what nobody writes does no harm and no list of exceptions is kept: both "labeled" and "labelled"
are there, and "drainned". Stems, of which the project has a stemmer, would make one word of "authorize", "authorizer" and
"author", or of "operate" and "operator", whose Chinese differs.
"""

import re

_DOUBLED = re.compile(r"[aeiou][bdglmnprt]$", re.I)  # log, logging; label, labelled
_SILENT_E = re.compile(r"[^aeiou]e$|[ue]e$", re.I)  # scale, scaling; queue, queuing
_Y = re.compile(r"[^aeiou]y$", re.I)


def forms(word: str, verb: bool = False) -> set[str]:
    """`word` itself, its plural (or third person), and with `verb` its past tense and participles."""
    found = {word, word + "s", word + "es"}
    if _Y.search(word):
        found.add(word[:-1] + "ies")
    if verb:
        found |= {word + "ed", word + "ing"}
        if _DOUBLED.search(word):
            found |= {word + word[-1] + "ed", word + word[-1] + "ing"}
        if _SILENT_E.search(word):
            found |= {word + "d", word[:-1] + "ing"}
        if _Y.search(word):
            found.add(word[:-1] + "ied")
    return found
