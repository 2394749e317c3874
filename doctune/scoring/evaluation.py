"""Systems scored on the same test rows: the numbers of `metrics.json`.

    outputs = {BASE: Output(["Pod 正在运行。"]), TUNED: Output(["该 Pod 正在运行。"])}
    evaluation = evaluate(test, train, outputs, glossary)        # adds the translation memory as a third system
    metrics = summarise(evaluation, params)
    metrics["tuned"]                                             # {"bleu": ..., "bleu_low": ..., "bleu_high": ..., ...}

Text is counted once per system and metric; every slice, interval and test afterwards works on the counts.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from doctune.rows import Row
from doctune.scoring import EvaluateParams, comet
from doctune.scoring.judged import COMPARED, REFERENCE, SLOW, all_metrics, judged
from doctune.scoring.likelihood import likelihoods
from doctune.scoring.memory import NEW_BELOW, nearest
from doctune.scoring.metrics import BLEU, Array, Estimate, Metric, compare, estimate
from doctune.scoring.rows import hypotheses_of
from doctune.text import flatten, normalise

BASE, TUNED, MEMORY = "base", "tuned", "memory"

Selection = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Output:
    """A system's Chinese for each row, and what else is known of it, by metric: each (rows, k)."""

    texts: Sequence[str]
    measured: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Test rows and what each system made of them; lists and arrays are row by row in the order of the test file."""

    rows: list[Row]
    sources: list[str]  # flattened English
    references: list[str]  # flattened Chinese, normalised
    outputs: dict[str, list[str]]  # by system, normalised as the references are
    metrics: tuple[Metric, ...]
    statistics: dict[
        str, dict[str, Array]
    ]  # by system (REFERENCE too) and metric name, each (rows, k); not all have all
    similarity: Array  # (rows,), of the nearest training source, 0 to 1

    @property
    def new(self) -> Selection:
        """Which rows have no near duplicate among the training sources."""
        return self.similarity < NEW_BELOW


def output_of(test: Sequence[Row], translated: Sequence[Row], where: Path) -> Output:
    """What a translate stage wrote of the test rows; raises DoctuneError unless ids are the test's, in the same order."""
    texts = hypotheses_of(test, translated, where)
    return Output(texts, likelihoods(translated, [flatten(row["zh"], "zh") for row in test]))


def with_comet(test: Sequence[Row], outputs: Mapping[str, Output], checkpoint: str) -> dict[str, Output]:
    """The same outputs, judged by COMET; as they were where that cannot be (see comet.why_not)."""
    if comet.why_not(checkpoint):
        return dict(outputs)
    texts = {name: [normalise(text) for text in output.texts] for name, output in outputs.items()}
    sources, references = ([flatten(row[key], key) for row in test] for key in ("en", "zh"))
    found = comet.judge(checkpoint, sources, texts, references)
    return {name: replace(out, measured={**out.measured, "comet": found[name]}) for name, out in outputs.items()}


def evaluate(
    test: Sequence[Row],
    train: Sequence[Row],
    outputs: Mapping[str, Output],
    glossary: Path,
    only: Collection[str] | None = None,
) -> Evaluation:
    """Count everything that scoring needs. Without training rows there is no translation memory, and every row is new.

    `only`: names of the metrics that are counted, for a caller who waits; None: all.
    """
    sources = [flatten(row["en"], "en") for row in test]
    references = [flatten(row["zh"], "zh") for row in test]
    everyone = {name: [normalise(text) for text in output.texts] for name, output in outputs.items()}
    similarity = np.zeros(len(test))
    if train:
        matches = nearest(sources, [flatten(row["en"], "en") for row in train])
        similarity = np.array([match.similarity for match in matches])
        everyone[MEMORY] = [flatten(train[match.row]["zh"], "zh") for match in matches]
    metrics = tuple(metric for metric in all_metrics(glossary) if only is None or metric.name in only)
    counted = {metric.name for metric in metrics}
    alone = tuple(metric for metric in judged(glossary) if metric.name in counted)
    statistics = {
        name: {
            metric.name: metric.statistics(texts, references, sources)
            for metric in COMPARED + alone
            if metric.name in counted and (name != MEMORY or metric.name not in SLOW)
        }
        for name, texts in everyone.items()
    }
    for name, output in outputs.items():
        statistics[name] |= output.measured
    statistics[REFERENCE] = {metric.name: metric.statistics(references, references, sources) for metric in alone}
    return Evaluation(
        rows=list(test),
        sources=sources,
        references=references,
        outputs=everyone,
        metrics=metrics,
        statistics=statistics,
        similarity=similarity,
    )


def scores(evaluation: Evaluation, system: str, where: Selection, params: EvaluateParams) -> dict[str, float]:
    """Each metric of a system on the rows selected by `where` (at least one), with its interval: bleu, bleu_low, ..."""
    found: dict[str, float] = {}
    for metric, (stats,) in _both(evaluation, (system,), where):
        found |= _flat(metric, estimate(metric, stats, params.bootstrap_samples, params.seed))
    return found


def gain(evaluation: Evaluation, system: str, over: str, where: Selection, params: EvaluateParams) -> dict[str, float]:
    """Each metric of `system` minus that of `over` on the selected rows, its interval, and p-values of both tests."""
    found: dict[str, float] = {}
    for metric, (stats, baseline) in _both(evaluation, (system, over), where):
        comparison = compare(metric, stats, baseline, params.bootstrap_samples, params.seed)
        found |= _flat(metric, comparison.difference)
        found["p_value" if metric is BLEU else f"{metric.name}_p_value"] = round(comparison.p_value, 4)
        found[f"{metric.name}_ar_p_value"] = round(comparison.randomised, 4)
    return found


def _both(evaluation: Evaluation, systems: Sequence[str], where: Selection) -> Iterator[tuple[Metric, list[Array]]]:
    """The metrics that all of the systems have, with each one's counts of the selected rows."""
    for metric in evaluation.metrics:
        if all(metric.name in evaluation.statistics[name] for name in systems):
            yield metric, [evaluation.statistics[name][metric.name][where] for name in systems]


def summarise(evaluation: Evaluation, params: EvaluateParams) -> dict[str, Any]:
    """`metrics.json`: every system on all rows and on new rows, differences, lengths, empty outputs, signatures.

    The group "new" is empty when no row is new. Lengths are in sacreBLEU's tokens: hypotheses over references.
    """
    everywhere = np.ones(len(evaluation.rows), dtype=bool)
    systems = list(evaluation.outputs)
    new: dict[str, Any] = {}
    if evaluation.new.any():
        new = {name: scores(evaluation, name, evaluation.new, params) for name in systems}
        new["gain"] = gain(evaluation, TUNED, BASE, evaluation.new, params)
        new["gain_over_memory"] = gain(evaluation, TUNED, MEMORY, evaluation.new, params)
    return {
        "rows": len(evaluation.rows),
        "new_rows": int(evaluation.new.sum()),
        **{name: scores(evaluation, name, everywhere, params) for name in systems},
        REFERENCE: scores(evaluation, REFERENCE, everywhere, params),
        "new": new,
        "gain": gain(evaluation, TUNED, BASE, everywhere, params),
        "gain_over_memory": gain(evaluation, TUNED, MEMORY, everywhere, params),
        "length_ratio": {name: _length_ratio(evaluation.statistics[name][BLEU.name]) for name in systems},
        **notes(evaluation, params),
    }


def notes(evaluation: Evaluation, params: EvaluateParams) -> dict[str, Any]:
    """What stands beside scores: empty outputs by system, why a metric is missing, how each was computed."""
    return {
        "empty": {name: sum(not text.strip() for text in texts) for name, texts in evaluation.outputs.items()},
        "skipped": {"comet": reason} if (reason := comet.why_not(params.comet)) else {},
        "signature": signatures(params),
    }


def signatures(params: EvaluateParams) -> dict[str, str]:
    """How each metric was computed, by name; COMET's, where it is there, names its checkpoint."""
    metrics = all_metrics(Path(params.glossary), params.comet)
    absent = {"comet"} if comet.why_not(params.comet) else set()
    return {m.name: m.signature(params.bootstrap_samples, params.seed) for m in metrics if m.name not in absent}


def general_summary(evaluation: Evaluation, params: EvaluateParams) -> dict[str, Any]:
    """The group "general" of `metrics.json`: base and tuned on text from elsewhere, and what fine-tuning gained or forgot."""
    everywhere = np.ones(len(evaluation.rows), dtype=bool)
    return {
        "rows": len(evaluation.rows),
        **{name: scores(evaluation, name, everywhere, params) for name in (BASE, TUNED)},
        "gain": gain(evaluation, TUNED, BASE, everywhere, params),
    }


def _flat(metric: Metric, value: Estimate) -> dict[str, float]:
    """Four decimals: the last bits of a logarithm differ between processors, the bytes of metrics.json must not."""
    name = metric.name
    named = {name: value.score, f"{name}_low": value.low, f"{name}_high": value.high}
    return {key: round(number, 4) + 0.0 for key, number in named.items()}  # + 0.0 turns -0.0 into 0.0


def _length_ratio(bleu_statistics: Array) -> float:
    hypothesis, reference = bleu_statistics[:, :2].sum(axis=0)
    return round(float(hypothesis / reference), 4) if reference else 0.0
