"""What the ratings say: means with intervals, paired preference, agreement between raters.

    verdict(ratings, ["base", "tuned"])
    # {"systems": {"base": {"mean": 3.1, "low": 2.8, "high": 3.4, "items": 60}, ...},
    #  "preferences": [{"system": "tuned", "over": "base", "wins": 31, "ties": 20, "losses": 9, "p_value": 0.0007}],
    #  "alpha": 0.71, "raters": 2, ...}

The unit is the item: what several raters gave one text is averaged first, so a busy rater does not make the interval
narrower. Preference is the exact sign test over items, by raters who rated both texts, ties left out. Agreement is Krippendorff's alpha for ordinal
ratings, which takes any number of raters and gaps: 1 is perfect, 0 is chance. It is our own, after his "Computing
Krippendorff's Alpha-Reliability" (2011), for the package of that name is under the GPL and this project is not.
"""

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from doctune.review import SCALE
from doctune.review.ratings import Rating
from doctune.scoring.metrics import resample

SAMPLES, SEED = 1000, 12345


def verdict(ratings: Sequence[Rating], systems: Sequence[str]) -> dict[str, Any]:
    """Plain data, the same for the same ratings in any order."""
    by_item = {system: _item_means(ratings, system) for system in systems}
    units: dict[tuple[int, str], dict[str, int]] = {}  # by text: one that two systems wrote was judged once
    for rating in ratings:
        units.setdefault((rating.item, rating.place), {})[rating.rater] = rating.value
    return {
        "raters": len({rating.rater for rating in ratings}),
        "ratings": sum(len(unit) for unit in units.values()),
        "items": len({rating.item for rating in ratings}),
        "systems": {system: _mean(list(by_item[system].values())) for system in systems if by_item[system]},
        "preferences": [_preference(new, over, ratings) for over, new in combinations(systems, 2)],
        "alpha": alpha([list(unit.values()) for unit in units.values()]),
    }


def alpha(units: Sequence[Sequence[int]]) -> float | None:
    """Krippendorff's ordinal alpha of the values that each unit got; None where no two values can be compared.

    Also None when all compared values are the same: then there is no variation that raters could agree on.
    """
    size = len(SCALE)
    coincidences: npt.NDArray[np.float64] = np.zeros((size, size))
    for values in units:
        if len(values) > 1:
            counts = np.bincount([value - SCALE[0] for value in values], minlength=size).astype(np.float64)
            coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(values) - 1)
    totals = coincidences.sum(axis=0)
    n = totals.sum()
    points = np.cumsum(totals) - totals / 2  # the middle of each value's ranks; distance is the ranks between
    distance = (points[:, None] - points[None, :]) ** 2
    expected = (np.outer(totals, totals) * distance).sum()
    if n == 0 or expected == 0:
        return None
    return round(float(1 - (n - 1) * (coincidences * distance).sum() / expected), 4)


def _item_means(ratings: Sequence[Rating], system: str) -> dict[int, float]:
    values: dict[int, list[int]] = {}
    for rating in ratings:
        if rating.system == system:
            values.setdefault(rating.item, []).append(rating.value)
    return {item: fmean(values[item]) for item in sorted(values)}


def _mean(values: Sequence[float]) -> dict[str, float]:
    """Mean over items and its 95 % bootstrap interval."""
    stats = np.array([[value, 1.0] for value in values])
    sums = resample(stats, SAMPLES, SEED)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    named = {"mean": fmean(values), "low": float(low), "high": float(high)}
    return {**{key: round(value, 4) for key, value in named.items()}, "items": len(values)}


def _preference(new: str, over: str, ratings: Sequence[Rating]) -> dict[str, Any]:
    """Item by item, by raters who rated both texts: else a strict rater's and a mild one's would be compared."""
    from scipy.stats import binomtest

    given = {(rating.rater, rating.item, rating.system): rating.value for rating in ratings}
    by_item: dict[int, list[int]] = {}
    for (rater, item, system), value in sorted(given.items()):
        if system == new and (rater, item, over) in given:
            by_item.setdefault(item, []).append(value - given[rater, item, over])
    differences = [fmean(of_raters) for of_raters in by_item.values()]
    wins, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    p_value = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return {
        "system": new,
        "over": over,
        "wins": wins,
        "ties": len(differences) - wins - losses,
        "losses": losses,
        "p_value": round(p_value, 4),
    }
