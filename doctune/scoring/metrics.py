"""Corpus metrics over sufficient statistics, so that a bootstrap is one matrix product.

    stats = BLEU.statistics(["Pod 正在运行。"], ["Pod 正在运行。"])        # (rows, k) counts, one line a row
    estimate(BLEU, stats, samples=1000, seed=1)                      # Estimate(score=100.0, low=100.0, high=100.0)

A metric is three functions: text to counts per row, summed counts to a score, and its signature. Whatever adds up over
rows (TER, ROUGE-L, precision of kept markup) fits, and then has slices, intervals and paired tests for nothing. Counts
come from sacreBLEU and the scores equal its own; resamples, interval bounds and p-values follow its `--confidence`,
`--paired-bs` and `--paired-ar`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as SacreMetric

Array = npt.NDArray[np.float64]

_DRAWS_AT_ONCE = 1 << 21  # bounds memory to about 50 MB, whatever the corpus and the number of resamples
_ORDER = 4
_CHAR_ORDER = 6
_BETA_SQUARED = 4.0


class Statistics(Protocol):
    """Counts (rows, k) of hypotheses against references, row by row; `sources` is for metrics that read the English."""

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()) -> Array: ...


@dataclass(frozen=True)
class Metric:
    name: str  # key in metrics.json
    label: str  # for people
    statistics: Statistics
    corpus: Callable[[Array], Array]  # summed statistics (..., k) -> scores (...)
    signature: Callable[[int, int], str]  # (bootstrap samples, seed) -> sacreBLEU's signature, or one of its form
    higher_is_better: bool = True


@dataclass(frozen=True)
class Estimate:
    """A score or a difference of scores, and the bounds of its 95 % bootstrap interval."""

    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """System minus baseline, its 95 % interval, and the p-values of two paired tests."""

    difference: Estimate
    p_value: float  # of the bootstrap
    randomised: float  # of approximate randomisation


def bleu(sums: Array) -> Array:
    """BLEU ("exp" smoothing) of summed counts (..., 10): lengths of hypothesis and reference, 4 matches, 4 totals."""
    hyp_len, ref_len = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2 : 2 + _ORDER], sums[..., 2 + _ORDER :]
    missed = (correct == 0) & (total > 0)
    halvings = np.cumsum(missed, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(missed, 100.0 / (np.exp2(halvings) * total), 100.0 * correct / total)
        brevity = np.where(hyp_len < ref_len, np.exp(1.0 - ref_len / hyp_len), 1.0)
        score = brevity * np.exp(np.log(precision).sum(axis=-1) / _ORDER)
    defined = (correct.sum(axis=-1) > 0) & (total > 0).all(axis=-1)
    return np.where(defined, score, 0.0)


def chrf(sums: Array) -> Array:
    """chrF2 of summed counts (..., 18): character 1- to 6-grams, each how many in hypothesis, in reference, in both."""
    hyp, ref, both = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    valid = (hyp > 0) & (ref > 0)
    orders = np.maximum(valid.sum(axis=-1), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(valid, both / hyp, 0.0).sum(axis=-1) / orders
        recall = np.where(valid, both / ref, 0.0).sum(axis=-1) / orders
        score = 100.0 * (1.0 + _BETA_SQUARED) * precision * recall / (_BETA_SQUARED * precision + recall)
    return np.where(precision + recall > 0, score, 0.0)


def _sacre_bleu() -> "SacreMetric":
    from sacrebleu.metrics.bleu import BLEU as SacreBLEU

    return SacreBLEU(tokenize="zh", max_ngram_order=_ORDER)


def _sacre_chrf() -> "SacreMetric":
    from sacrebleu.metrics.chrf import CHRF as SacreCHRF

    return SacreCHRF(char_order=_CHAR_ORDER, word_order=0, beta=2)


def _statistics(
    make: Callable[[], "SacreMetric"], hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()
) -> Array:
    check_paired(hypotheses, references)
    # sacreBLEU has no public way to counts per row; its own significance tests go through this method too.
    return np.asarray(make()._extract_corpus_statistics(hypotheses, [references]), dtype=np.float64)


def check_paired(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if not hypotheses or len(hypotheses) != len(references):
        raise ValueError(f"wanted a hypothesis for each reference, got {len(hypotheses)} and {len(references)}")


def sacre_signature(make: Callable[[], "SacreMetric"], samples: int, seed: int) -> str:
    metric: Any = make()
    metric.num_refs, metric.n_bootstrap, metric.seed = 1, samples, seed
    return str(metric.get_signature())


BLEU = Metric("bleu", "BLEU", partial(_statistics, _sacre_bleu), bleu, partial(sacre_signature, _sacre_bleu))
CHRF = Metric("chrf", "chrF", partial(_statistics, _sacre_chrf), chrf, partial(sacre_signature, _sacre_chrf))
METRICS = (BLEU, CHRF)  # what tables and plots lead with; `judged.all_metrics` is what is scored


def not_of_texts(hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()) -> Array:
    """The `statistics` of a metric whose counts come from a model, not from texts."""
    raise TypeError("wanted the counts that a model measured (likelihood.py, comet.py), got texts")


def share(sums: Array, of_nothing: float = 100.0) -> Array:
    """Per cent that summed counts (..., 2) make: the first in the second; `of_nothing` where the second is 0."""
    part, whole = sums[..., 0], sums[..., 1]
    return np.where(whole > 0, 100.0 * part / np.maximum(whole, 1.0), of_nothing)


def score(metric: Metric, stats: Array) -> float:
    """Corpus score of the rows in `stats` (rows, k)."""
    return float(metric.corpus(stats.sum(axis=0)))


def estimate(metric: Metric, stats: Array, samples: int, seed: int) -> Estimate:
    """Corpus score of `stats` (rows, k) with its interval."""
    return _with_bounds(score(metric, stats), metric.corpus(resample(stats, samples, seed)))


def compare(metric: Metric, stats: Array, baseline: Array, samples: int, seed: int) -> Comparison:
    """Paired tests of a system against a baseline on the same rows: both (rows, k), row by row the same reference.

    The p-value of the bootstrap is sacreBLEU's (`--paired-bs`, after Moses): how often a resample's absolute difference,
    centred on the mean one, reaches the real one. Two equal systems get 1 here, not sacreBLEU's 1 / (samples + 1): a
    difference of nothing is never significant.
    """
    if stats.shape != baseline.shape:
        raise ValueError(f"wanted statistics of the same rows, got shapes {stats.shape} and {baseline.shape}")
    difference = score(metric, stats) - score(metric, baseline)
    differences = metric.corpus(resample(stats, samples, seed)) - metric.corpus(resample(baseline, samples, seed))
    centred = np.abs(differences) - np.abs(differences).mean()
    reached = int(np.count_nonzero(centred >= abs(difference)))
    return Comparison(
        _with_bounds(difference, differences),
        (reached + 1) / (samples + 1),
        randomise(metric, stats, baseline, samples, seed),
    )


def randomise(metric: Metric, stats: Array, baseline: Array, trials: int, seed: int) -> float:
    """p-value of approximate randomisation (sacreBLEU's `--paired-ar`, after multeval).

    How often two systems that swap each row by the toss of a coin differ as much as the real ones do. sacreBLEU wants
    them to differ by more; here as much is enough, so equal systems get 1 and a handful of rows is never significant
    by being tied.
    """
    rng = np.random.default_rng(seed)
    both, swing = (stats + baseline).sum(axis=0), stats - baseline
    real = abs(score(metric, stats) - score(metric, baseline))
    block, reached = max(1, _DRAWS_AT_ONCE // len(stats)), 0
    for start in range(0, trials, block):
        kept = rng.integers(2, size=(min(block, trials - start), len(stats)), dtype=bool)
        first = baseline.sum(axis=0) + kept @ swing
        differences = np.abs(metric.corpus(first) - metric.corpus(both - first))
        reached += int(np.count_nonzero(differences >= real - 1e-9))
    return (reached + 1) / (trials + 1)


def resample(stats: Array, samples: int, seed: int) -> Array:
    """Sums (samples, k) over rows of `stats` (rows, k) drawn with replacement.

    The draws depend on the number of rows, `samples` and `seed` only: two systems scored on the same rows share them.
    """
    rows = len(stats)
    return np.concatenate([counts @ stats for counts in _draws(rows, samples, seed)])


def _draws(rows: int, samples: int, seed: int) -> Iterator[Array]:
    """How often each row is drawn in each resample, in blocks (some samples, rows)."""
    rng = np.random.default_rng(seed)
    block = max(1, _DRAWS_AT_ONCE // rows)
    for start in range(0, samples, block):
        size = min(block, samples - start)
        drawn = rng.choice(rows, size=(size, rows), replace=True)
        drawn += np.arange(size)[:, None] * rows
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)


def _with_bounds(value: float, resampled: Array) -> Estimate:
    """The bounds that leave 1/40 of the resamples on either side, as sacreBLEU counts them."""
    ordered = np.sort(resampled)
    outside = len(ordered) // 40
    return Estimate(value, float(ordered[outside]), float(ordered[-outside - 1]))
