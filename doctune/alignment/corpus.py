"""All pages aligned, side by side in worker processes, each from the memo if it was aligned before.

pairs, report = align_pages(rows, params, memo=Path(".doctune/align.sqlite"), workers=2)
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from doctune.alignment.candidates import PageAlignment
from doctune.alignment.names import partners
from doctune.alignment.page import Pair, align_page
from doctune.alignment.params import AlignParams
from doctune.errors import DoctuneError
from doctune.machine import collect_rarely, die_with_parent

EXAMPLES = 5  # places named in the report per reason
CHUNK = 8  # pages given to a worker at once


class Work(NamedTuple):
    """One page to align: its path, Chinese text, and English text where there is one."""

    path: str
    chinese: str
    english: str | None


def align_pages(
    pages: Iterable[Mapping[str, Any]], params: AlignParams, memo: Path | None = None, workers: int = 1
) -> tuple[list[Pair], dict[str, Any]]:
    """Align all pages; rows hold `lang` ("en" or "zh"), `path` and `text`. Pairs come sorted by page, then by line.

    `memo` is a file in which each page's result is kept under a hash of the page, the params and the code: it changes the time
    and nothing else. Raises DoctuneError when no pair is left. The report holds counts and places (page and line),
    never text.
    """
    texts: dict[str, dict[str, str]] = {"en": {}, "zh": {}}
    for row in pages:
        texts[row["lang"]][row["path"]] = row["text"]
    partner = partners(texts["en"], texts["zh"])
    work = [
        Work(path, texts["zh"][path], texts["en"][partner[path]] if path in partner else None)
        for path in sorted(texts["zh"])
    ]
    pairs: list[Pair] = []
    whole = PageAlignment()
    examples: dict[str, list[dict[str, Any]]] = {}
    broken: list[dict[str, Any]] = []
    paired_pages = 0
    for item, (found, account) in zip(work, _results(work, params, memo, workers), strict=True):
        pairs += found
        paired_pages += bool(found)
        whole.counts += account.counts
        whole.dropped += account.dropped
        whole.masked += account.masked
        broken += [{"page": item.path, "line": line, "problem": problem} for line, problem in account.broken]
        for reason, line in account.examples:
            places = examples.setdefault(reason, [])
            if len(places) < EXAMPLES and not any(place["page"] == item.path for place in places):
                places.append({"page": item.path, "line": line})
    report: dict[str, Any] = {
        "pages": {
            "english": len(texts["en"]),
            "chinese": len(texts["zh"]),
            "both": len(partner),
            "with_pairs": paired_pages,
        },
        "seen": dict(sorted(whole.counts.items())),
        "pairs": {
            "total": len(pairs),
            "distinct": len({(pair["en"], pair["zh"]) for pair in pairs}),
            "by_kind": dict(sorted(Counter(pair["kind"] for pair in pairs).items())),
            "by_method": dict(sorted(Counter(pair["method"] for pair in pairs).items())),
        },
        "dropped": dict(whole.dropped.most_common()),
        "masked": dict(sorted(whole.masked.items())),
        "examples": dict(sorted(examples.items())),
        "broken_front_matter": broken,
    }
    if not pairs:
        raise DoctuneError(
            f"wanted pairs, got none from {len(texts['zh'])} Chinese and {len(texts['en'])} English pages, "
            f"{report['pages']['both']} of the same path (dropped: {dict(whole.dropped) or 'nothing'}); "
            "check that both folders hold the same pages, one in each language"
        )
    return pairs, report


Result = tuple[list[Pair], PageAlignment]


def _results(work: Sequence[Work], params: AlignParams, memo: Path | None, workers: int) -> list[Result]:
    from doctune.alignment.memo import Memo, fingerprint

    keys: list[str] = []
    known: dict[int, Result] = {}
    with Memo(memo, fingerprint(params)) if memo else nullcontext() as kept:
        if kept is not None:
            keys = kept.keys(work)
            known = kept.find(keys)
        todo = [number for number in range(len(work)) if number not in known]
        made = dict(zip(todo, _computed([work[number] for number in todo], params, workers), strict=True))
        if kept is not None:
            kept.keep(keys, made)
    return [known[number] if number in known else made[number] for number in range(len(work))]


def _computed(work: Sequence[Work], params: AlignParams, workers: int) -> list[Result]:
    if workers < 2 or len(work) < 2 * CHUNK:
        return [_one(item, params) for item in work]
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    fresh = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    try:
        with ProcessPoolExecutor(workers, fresh, start_worker) as pool:
            return list(pool.map(_one, work, [params] * len(work), chunksize=CHUNK))
    except BrokenProcessPool:
        raise DoctuneError(
            "a worker that aligns pages was killed (was the machine out of memory?); run it again, or with fewer cores"
        ) from None


def _one(item: Work, params: AlignParams) -> Result:
    pairs, account = align_page(item.path, item.chinese, item.english, params)
    account.forget()
    return pairs, account


def start_worker() -> None:
    """A worker ends with the stage, and keeps to one thread: workers share the cores already, their matrices are small."""
    from threadpoolctl import threadpool_limits

    die_with_parent()
    collect_rarely()
    threadpool_limits(1)
