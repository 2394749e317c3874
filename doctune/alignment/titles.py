"""Pairs from front matter: the page's own (Chinese) against its English copy in a comment after it or `#` lines in it.

---                                  <!--
title: 污点和容忍度                    title: Taints and Tolerations       -> a pair of kind title
---                                  -->
"""

import io
import re

from doctune.alignment.candidates import Candidate, PageAlignment
from doctune.markdown import TEXT_KEYS, Block, Document
from doctune.text import IDEOGRAPH, WIDE_MARKS, flatten, has_cjk

_KEY = re.compile(r"([A-Za-z_][\w-]*):(?:\s|$)")
_KNOWN = frozenset(
    (*TEXT_KEYS, "content_type", "weight", "reviewers", "approvers", "id", "no_list", "layout", "api_metadata")
)
_FOLD = re.compile(f"(?<=[{IDEOGRAPH}{WIDE_MARKS}]) (?=[{IDEOGRAPH}{WIDE_MARKS}])")  # where YAML joined two lines
_HIDDEN = re.compile(rf"^(\s*)#[ \t]?((?:{'|'.join(TEXT_KEYS)}):.*)$", re.M)

MOST_CHARACTERS = 10_000  # of front matter that the YAML parser sees: deep nesting in more of it can overflow its stack
TITLE_IN_COMMENT, TITLE_OF_PAGE = 0.99, 0.95  # scores: the comment is what was translated, the page may have moved on

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

    body = re.sub(r"^[ \t]*-{3,}[ \t]*$", "", text, flags=re.M)
    if len(body) > MOST_CHARACTERS:
        return _loose_fields(body, line), f"longer than {MOST_CHARACTERS} characters"
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
        if isinstance(value, ScalarNode) and key.value in TEXT_KEYS and value.value.strip():
            last = max(value.start_mark.line, value.end_mark.line - (value.end_mark.column == 0))
            fields[key.value] = (value.value.strip(), line + value.start_mark.line, line + last)
    return fields, ""


def _loose_fields(body: str, line: int) -> Fields:
    """One-line fields of front matter that is not valid YAML."""
    found: Fields = {}
    for number, text in enumerate(body.split("\n")):
        key, colon, value = text.partition(":")
        value = value.strip().strip("\"'")
        if colon and key in TEXT_KEYS and value and value[0] not in ">|":
            found[key] = (value, line + number, line + number)
    return found


def front_matter_pairs(page: Document, blocks: list[Block], english_blocks: list[Block]) -> PageAlignment:
    """A candidate for each text field that both sides have; broken front matter is counted and warned of.

    The English is the copy in the comment after the front matter, or in `#` lines in it; fields that these lack are
    taken from the English page (method "structure"), whose blocks are none where there is no such page.
    """
    result = PageAlignment()
    top = blocks[0] if blocks and blocks[0].kind == "front_matter" else None
    if top is None:
        if page.source.startswith("---\n"):
            result.broken.append((1, "it has no closing ---"))
        return result
    chinese, problem = read_fields(top.text, top.first)
    if problem:
        result.broken.append((top.first, problem))
    comment = blocks[1] if len(blocks) > 1 and blocks[1].kind == "comment" and is_front_matter(blocks[1].text) else None
    english, problem = read_fields(comment.text, comment.first) if comment else ({}, "")
    result.counts["broken_front_matter_comments"] += bool(problem)
    if _HIDDEN.search(top.text):
        blanked = _HIDDEN.sub(r"\1\2", "\n".join(line if _HIDDEN.match(line) else "" for line in top.text.split("\n")))
        english = read_fields(blanked, top.first)[0] | english
    there = _top_fields(english_blocks)
    for key in TEXT_KEYS:
        if key not in chinese or not (key in english or key in there):
            continue
        result.counts["english_blocks"] += 1
        zh, *zh_lines = chinese[key]
        zh = _FOLD.sub("", zh) if zh_lines[0] < zh_lines[1] else zh
        en, *en_lines = english.get(key) or there[key]
        if has_cjk(zh) and flatten(zh, "zh") != flatten(en, "en"):
            lines = (en_lines[0], en_lines[1]), (zh_lines[0], zh_lines[1])
            method, score = ("comment", TITLE_IN_COMMENT) if key in english else ("structure", TITLE_OF_PAGE)
            result.candidates.append(Candidate(en, zh, *lines, "", "title", method, score))
        else:
            result.drop("untranslated", en_lines[0])
    return result


def _top_fields(blocks: list[Block]) -> Fields:
    return read_fields(blocks[0].text, blocks[0].first)[0] if blocks and blocks[0].kind == "front_matter" else {}
