"""Pairs from front matter: the page's own (Chinese) against its English copy in a comment after it or `#` lines in it.

---                                  <!--
title: 污点和容忍度                    title: Taints and Tolerations       -> a pair of kind title
---                                  -->
"""

import io
import re
from typing import TYPE_CHECKING

from doctune.markdown import Block, Document
from doctune.text import IDEOGRAPH, WIDE_MARKS, flatten, has_cjk

if TYPE_CHECKING:
    from doctune.alignment.comments import PageAlignment

KEYS = ("title", "linkTitle", "description", "short_description")
_KEY = re.compile(r"([A-Za-z_][\w-]*):(?:\s|$)")
_KNOWN = frozenset(
    (*KEYS, "content_type", "weight", "reviewers", "approvers", "id", "no_list", "layout", "api_metadata")
)
_FOLD = re.compile(f"(?<=[{IDEOGRAPH}{WIDE_MARKS}]) (?=[{IDEOGRAPH}{WIDE_MARKS}])")  # where YAML joined two lines
_HIDDEN = re.compile(r"^(\s*)#[ \t]?((?:title|linkTitle|description|short_description):.*)$", re.M)

Fields = dict[str, tuple[str, int, int]]  # key -> text, first and last line


def is_front_matter(text: str) -> bool:
    """True when a comment's inside reads like YAML front matter: it opens with a key, and some key is a usual one."""
    lines = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith(("#", "---"))]
    keys = [match[1] for line in lines if (match := _KEY.match(line))]
    return bool(keys) and _KEY.match(lines[0]) is not None and not _KNOWN.isdisjoint(keys)


def read_fields(text: str, line: int) -> tuple[Fields, str]:
    """The text fields of YAML whose first line is number `line`, and what is wrong with it ("" when nothing)."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.nodes import MappingNode, ScalarNode

    body = re.sub(r"^[ \t]*-{3,}[ \t]*\r?$", "", text, flags=re.M)
    try:
        node = YAML(typ="safe").compose(io.StringIO(body))
    except (YAMLError, ValueError) as error:
        return _loose_fields(body, line), " ".join(str(getattr(error, "problem", None) or error).split())
    if node is None:
        return {}, ""
    if not isinstance(node, MappingNode):
        return {}, "not a mapping of keys to values"
    fields: Fields = {}
    for key, value in node.value:
        if isinstance(value, ScalarNode) and key.value in KEYS and value.value.strip():
            last = max(value.start_mark.line, value.end_mark.line - (value.end_mark.column == 0))
            fields[key.value] = (value.value.strip(), line + value.start_mark.line, line + last)
    return fields, ""


def _loose_fields(body: str, line: int) -> Fields:
    """One-line fields of front matter that is not valid YAML."""
    found: Fields = {}
    for number, text in enumerate(body.split("\n")):
        key, colon, value = text.partition(":")
        value = value.strip().strip("\"'")
        if colon and key in KEYS and value and value[0] not in ">|":
            found[key] = (value, line + number, line + number)
    return found


def front_matter_pairs(page: Document, top: Block, comment: Block | None, result: "PageAlignment") -> None:
    """Add a candidate for each text field that both sides have; broken front matter is counted and warned of."""
    from doctune.alignment.comments import Candidate

    chinese, problem = read_fields(top.text, top.first)
    if problem:
        result.broken.append((top.first, problem))
    english, problem = read_fields(comment.text, comment.first) if comment else ({}, "")
    result.counts["broken_front_matter_comments"] += bool(problem)
    if _HIDDEN.search(top.text):
        blanked = _HIDDEN.sub(r"\1\2", "\n".join(line if _HIDDEN.match(line) else "" for line in top.text.split("\n")))
        english = read_fields(blanked, top.first)[0] | english
    for key in KEYS:
        if key in chinese and key in english:
            result.counts["english_blocks"] += 1
            zh, *zh_lines = chinese[key]
            zh = _FOLD.sub("", zh) if zh_lines[0] < zh_lines[1] else zh
            en, *en_lines = english[key]
            if has_cjk(zh) and flatten(zh, "zh") != flatten(en, "en"):
                lines = (en_lines[0], en_lines[1]), (zh_lines[0], zh_lines[1])
                result.candidates.append(Candidate(en, zh, *lines, "", "title", 0.99))
            else:
                result.drop("untranslated", en_lines[0])
