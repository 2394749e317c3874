"""The documents of a site's pages that a base may read before it is fine-tuned, and the count of what it may not.

    texts = own_texts(pages, test + valid, params, near=0.8)
    texts.train[0]                   # "调度器\\n\\n调度器为每个 Pod 选择节点。\\n\\n..."
    texts.counts["passages"]         # {"read": 41210, "same": 310, "near": 95, "inside": 12, "secret": 0}

A page of test or valid is left out wholly and in both languages, and a passage of any other page that test or valid hold.
Personal data is masked and a passage with a secret left out, as align does with pairs.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from doctune.adapting.heldout import REASONS, HeldOut
from doctune.adapting.params import AdaptParams
from doctune.adapting.passages import passages
from doctune.alignment.names import plain
from doctune.cleaning.personal import holds_secret, mask
from doctune.errors import DoctuneError
from doctune.files import hash_share

Row = Mapping[str, Any]
SECRET = "secret"


class Texts(NamedTuple):
    """Documents to learn from, documents to measure on, and what became of all pages and passages."""

    train: list[str]
    valid: list[str]
    counts: dict[str, Any]


def own_texts(pages: Iterable[Row], held_rows: Iterable[Row], params: AdaptParams, near: float) -> Texts:
    """Documents of pages (`lang`, `path`, `text`), sorted by language and path; `held_rows` are those of test and valid.

    Raises DoctuneError when nothing is left to learn from or to measure on.
    """
    held = HeldOut(held_rows, near)
    documents: dict[str, list[str]] = {"train": [], "valid": []}
    of_pages: Counter[str] = Counter(dict.fromkeys(("train", "valid", "of_test_or_valid", "named", "empty"), 0))
    of_passages: Counter[str] = Counter(dict.fromkeys(("read", *REASONS, SECRET), 0))
    masked: Counter[str] = Counter()
    found: list[tuple[str, list[str]]] = []
    for page in sorted(pages, key=lambda page: (page["lang"], page["path"])):
        place = _place(page["path"], held, params)
        found.append((place, passages(page["lang"], page["text"]) if place in documents else []))
    reasons = iter(held.reasons([text for _, texts in found for text in texts]))
    for place, texts in found:
        if place in documents:
            asked = [(text, next(reasons) or (SECRET if holds_secret(text) else "")) for text in texts]
            of_passages.update(reason or "read" for _, reason in asked)
            kept = []
            for text in [text for text, reason in asked if not reason]:
                text, _, kinds = mask(text, "")
                masked.update(kinds)
                kept.append(text)
            if kept:
                documents[place].append("\n\n".join(kept))
            else:
                place = "empty"
        of_pages[place] += 1
    if not all(documents.values()):
        raise DoctuneError(
            f"wanted pages to adapt the base to and pages to measure it on, got {len(documents['train'])} and "
            f"{len(documents['valid'])} of {of_pages.total()} ({_said(of_pages)}); change adapt.valid (now {params.valid}), "
            "adapt.seed or adapt.leave_out, give more pages, or set adapt.epochs to 0"
        )
    counts = {
        "pages": dict(of_pages),
        "passages": dict(of_passages),
        "masked": dict(masked),
        "characters": {name: sum(map(len, texts)) for name, texts in documents.items()},
    }
    return Texts(documents["train"], documents["valid"], counts)


def _place(path: str, held: HeldOut, params: AdaptParams) -> str:
    if plain(path) in held.pages:
        return "of_test_or_valid"
    if any(fnmatchcase(path, pattern) for pattern in params.leave_out):
        return "named"
    share = hash_share("adapt", str(params.seed), plain(path))
    return "valid" if share < params.valid else "train"


def _said(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"
