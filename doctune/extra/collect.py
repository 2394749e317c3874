"""Every source read, cleaned, capped and counted: rows as the align stage writes them, and a report of what was left out.

    rows, report = collect(params, limits, Path(".doctune/backtranslation"))
    rows[0]
    # {"id": "3f...", "en": "A node joins the cluster.", "zh": "节点加入集群。", "page": "extra/wmt", "kind": "text",
    #  "method": "tsv", "score": 1.0, "weight": 0.5, "synthetic": False, "source": "wmt"}
    report["sources"]["wmt"]
    # {..., "read": 9000, "dropped": {"length_ratio": 120, "repeated": 40}, "capped": 3840, "kept": 5000}

A pair's place (`page`) is its source, its `kind` is unknown, and its `score` says that whoever made the source paired it.
Rows of a source of terms have the `kind` and the `task` "term".
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from doctune.cleaning import Limits, mask, reason_to_drop
from doctune.errors import DoctuneError
from doctune.extra import shapes
from doctune.extra.files import lines, objects
from doctune.extra.params import TERM_CHARS, BackTranslation, ExtraParams, FileSource, HubSource, Source
from doctune.files import hash_text
from doctune.text import flatten, has_cjk, match_key

Row = dict[str, Any]


class _Kept(NamedTuple):
    """A pair that stays; `en` is empty where it has still to be made."""

    en: str
    zh: str


@dataclass
class _Tally:
    """What became of a source's rows so far; `good` are those that no rule drops."""

    read: int = 0
    good: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)  # values of personal data replaced, by kind


def collect(params: ExtraParams, limits: Limits, work: Path) -> tuple[list[Row], dict[str, Any]]:
    """Rows of all sources, in their order, and the report; `work` is where back-translated answers are remembered.

    Raises DoctuneError in one line where a source cannot be read, or not one row of it is left.
    """
    rows: list[Row] = []
    reports: dict[str, Any] = {}
    for source in params.sources:
        found, report = _collect(source, params, limits, work)
        if not found:
            raise DoctuneError(
                f"extra source {source.name}: no row is left of {report['read']} read (dropped: {report['dropped'] or 'none'}); "
                f"{_advice(source)}, or take the source out of extra.sources"
            )
        rows += found
        reports[source.name] = report
    return rows, {"rows": len(rows), "sources": reports}


def _collect(source: Source, params: ExtraParams, limits: Limits, work: Path) -> tuple[list[Row], dict[str, Any]]:
    tally = _Tally()
    about, found = _open(source, params)
    synthetic = isinstance(source, BackTranslation)
    term = not isinstance(source, BackTranslation) and source.task == "term"
    limits = replace(limits, max_chars=min(TERM_CHARS, limits.max_chars)) if term else limits
    judge = partial(_no_target, limits=limits) if synthetic else partial(reason_to_drop, limits=limits, term=term)
    chosen = _cap(_clean(found, judge, tally), source.max_rows)
    capped = tally.good - len(chosen)
    if isinstance(source, BackTranslation):
        chosen = _translated(chosen, source, params, limits, work, tally)
    page = f"extra/{source.name}"
    rows: list[Row] = [
        {
            "id": hash_text(pair.en, pair.zh, page)[:20],
            "en": pair.en,
            "zh": pair.zh,
            "page": page,
            "kind": "term" if term else "text",
            "method": source.format,
            "score": 1.0,
            "weight": source.weight,
            "synthetic": synthetic,
            "source": source.name,
            **({"task": "term"} if term else {}),
        }
        for pair in chosen
    ]
    return rows, {
        "format": source.format,
        **about,
        "licence": source.licence,
        "task": "term" if term else "translate",
        "weight": source.weight,
        "synthetic": synthetic,
        "read": tally.read,
        "dropped": dict(tally.dropped.most_common()),
        "masked": dict(sorted(tally.masked.items())),
        "capped": capped,
        "kept": len(rows),
    }


def _open(source: Source, params: ExtraParams) -> tuple[dict[str, Any], Iterator[shapes.Texts | str]]:
    """Where a source's rows come from, and English and Chinese of each (or a reason to drop it)."""
    match source:
        case FileSource(format="tsv"):
            used, rows = shapes.table(params.inside(source.path), source.columns, source.direction)
            return {"path": source.path, "columns": used.model_dump()}, rows
        case FileSource():
            path = params.inside(source.path)
            named = ((f"{path}:{number}", record) for number, record in objects(path))
            return {"path": source.path}, _texts(named, source)
        case HubSource():
            from doctune.extra.hub import hub_rows

            named = ((f"{source.hub_id}, row {number}", record) for number, record in enumerate(hub_rows(source), 1))
            about = {
                "hub_id": source.hub_id,
                "revision": source.revision,
                "config": source.config,
                "split": source.split,
            }
            return about, _texts(named, source)
        case BackTranslation():
            return {"path": source.path, "model": source.model}, (("", zh) for zh in _chinese(source, params))


def _texts(named: Iterable[tuple[str, Row]], source: FileSource | HubSource) -> Iterator[shapes.Texts]:
    for where, record in named:
        found = shapes.texts(record, source.columns, source.direction)
        if found is None:
            raise shapes.unknown(record, source.columns, where)
        yield found


def _chinese(source: BackTranslation, params: ExtraParams) -> Iterator[Any]:
    path = params.inside(source.path)
    if not {".json", ".jsonl"} & set(path.suffixes):
        yield from (text for _, text in lines(path))
        return
    for number, record in objects(path):
        if source.column not in record:
            got = ", ".join(map(repr, list(record)[:8])) or "none"
            raise DoctuneError(f"{path}:{number}: wanted the column {source.column!r} (column: ...), got {got}")
        yield record[source.column]


def _clean(
    found: Iterable[shapes.Texts | str], judge: Callable[[str, str], str | None], tally: _Tally
) -> Iterator[_Kept]:
    """The pairs that stay, each once; the rest is counted by reason, as `judge` says it of English and Chinese."""
    seen: set[str] = set()
    for texts in found:
        tally.read += 1
        if isinstance(texts, str):
            tally.dropped[texts] += 1
            continue
        if not all(isinstance(text, str) or text is None for text in texts):
            tally.dropped["not_text"] += 1
            continue
        pair = _Kept(*((text or "").strip() for text in texts))
        reason = _unwritable(pair) or judge(*pair)
        key = "" if reason else hash_text(match_key(pair.en), match_key(pair.zh))[:24]
        if reason or key in seen:
            tally.dropped[reason or "repeated"] += 1
            continue
        seen.add(key)
        tally.good += 1
        en, zh, masked = mask(*pair)
        tally.masked.update(masked)
        yield _Kept(en, zh)


def _unwritable(pair: _Kept) -> str | None:
    """Half a surrogate pair, which JSON may hold and UTF-8 may not."""
    try:
        "".join(pair).encode()
    except UnicodeEncodeError:
        return "not_unicode"
    return None


def _no_target(_: str, zh: str, limits: Limits) -> str | None:
    """What can be said against a Chinese text before its English is made."""
    if not zh:
        return "empty"
    if not has_cjk(zh):
        return "untranslated"
    return "overlong" if len(flatten(zh, "zh")) > limits.max_chars else None


def _cap(pairs: Iterable[_Kept], most: int | None) -> list[_Kept]:
    """At most `most` pairs in their order, those whose content hashes lowest: more rows change the choice at its rim only.

    The hash is salted: the mixing's weights, which hash content too, would else see low ones only and keep them all.
    """
    if most is None:
        return list(pairs)
    ranked = ((hash_text("cap", *pair), number, pair) for number, pair in enumerate(pairs))
    return [pair for _, _, pair in sorted(heapq.nsmallest(most, ranked), key=lambda item: item[1])]


def _translated(
    pairs: list[_Kept], source: BackTranslation, params: ExtraParams, limits: Limits, work: Path, tally: _Tally
) -> list[_Kept]:
    from doctune.extra.backtranslation import back_translate, degenerate

    made = back_translate(source, params, [pair.zh for pair in pairs], work)
    kept = []
    for pair, en in zip(pairs, made, strict=True):
        reason = degenerate(pair.zh, en) or reason_to_drop(en, pair.zh, limits)
        if reason:
            tally.dropped[reason] += 1
        else:
            kept.append(_Kept(en, pair.zh))
    return kept


def _advice(source: Source) -> str:
    if isinstance(source, BackTranslation):
        return "see that the text is Chinese and the model translates from Chinese to English"
    return "see that columns and direction are right"
