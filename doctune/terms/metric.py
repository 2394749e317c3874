"""The share of terms rendered as the glossary wants it, as a metric of scoring.

    stats = TERMS.statistics(["该节点有一个污染。"], [""], ["The node has a taint."])      # [[2.0, 1.0]]: judged, right
    score(TERMS, stats)                                                                # 50.0
    breakdown(["该节点有一个污染。"], [""], ["The node has a taint."])[0]
    # {"term": "taint", "of": 1, "right": 0, "forbidden": 1, "found": "污染"}

TERMS is by the project's own glossary; `metric_of` makes one by another. References are not read: the human's Chinese can
be judged like any other. Of rows without a term nothing is wrong: 100.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from doctune.files import hash_text
from doctune.scoring.metrics import Array, Metric, share
from doctune.terms.glossary import OWN, load
from doctune.terms.judging import Judge, Judged


@lru_cache(maxsize=8)
def _judge(path: Path) -> Judge:
    return Judge(load(path))


def judged(path: Path, hypotheses: Sequence[str], sources: Sequence[str]) -> list[list[Judged]]:
    """The terms of each source, and what the hypothesis made of them."""
    if len(hypotheses) != len(sources):
        raise ValueError(f"wanted a source for each hypothesis, got {len(sources)} and {len(hypotheses)}")
    judge = _judge(path)
    return [judge(source, hypothesis) for source, hypothesis in zip(sources, hypotheses, strict=True)]


def breakdown(
    hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str], glossary: Path = OWN
) -> list[dict[str, Any]]:
    """A row a term of the sources, those most often wrong first: in how many rows it is, is right, and is forbidden."""
    of, right, forbidden = Counter[str](), Counter[str](), Counter[str]()
    found: dict[str, Counter[str]] = {}
    for row in judged(glossary, hypotheses, sources):
        for term in row:
            name = term.entry.en
            of[name] += 1
            right[name] += term.right
            forbidden[name] += bool(term.forbidden)
            found.setdefault(name, Counter()).update(term.forbidden)
    return [
        {
            "term": name,
            "of": of[name],
            "right": right[name],
            "forbidden": forbidden[name],
            "found": "、".join(text for text, _ in found[name].most_common()),
        }
        for name in sorted(of, key=lambda name: (right[name] - of[name], -of[name], name))
    ]


def _statistics(path: Path, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()) -> Array:
    counts = [[len(row), sum(term.right for term in row)] for row in judged(path, hypotheses, sources)]
    return np.array(counts, dtype=np.float64).reshape(-1, 2)


def accuracy(sums: Array) -> Array:
    """Per cent right of summed counts (..., 2): terms judged, terms right."""
    return share(sums[..., ::-1])


def _signature(path: Path, samples: int, seed: int) -> str:
    glossary = load(path)
    content = hash_text(glossary.model_dump_json())[:8]
    return (
        f"nrefs:0|bs:{samples}|seed:{seed}|count:distinct|glossary:{glossary.name}|terms:{len(glossary.entries)}"
        f"|hash:{content}|version:{glossary.version}"
    )


def metric_of(glossary: Path) -> Metric:
    """The metric by the glossary in a file, which is read when the first text is judged."""
    return Metric("terms", "terms", partial(_statistics, glossary), accuracy, partial(_signature, glossary))


TERMS = metric_of(OWN)
