"""Style as a metric: the share of rows in which the linter finds nothing.

score(STYLE, STYLE.statistics(["您好"], [""]))            # 0.0
breakdown(["您好"], [""])[4]                             # {"rule": "you", "findings": 1, "rows": 1, "of": 1}
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from doctune.lint.rules import RULE_NAMES, lint
from doctune.scoring.metrics import Array, Metric, share


def _counts(hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()) -> Array:
    return np.array([(not lint(text), 1) for text in hypotheses], dtype=np.float64)


def _signature(samples: int, seed: int) -> str:
    return f"bs:{samples}|seed:{seed}|rules:{'+'.join(RULE_NAMES)}|version:1"


STYLE = Metric("style", "rows in the guide's style", _counts, share, _signature)


def breakdown(
    hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """A row a rule: rule, how many findings, in how many rows, of how many."""
    found = [[finding.rule for finding in lint(text)] for text in hypotheses]
    return [
        {
            "rule": name,
            "findings": sum(rules.count(name) for rules in found),
            "rows": sum(name in rules for rules in found),
            "of": len(found),
        }
        for name in RULE_NAMES
    ]
