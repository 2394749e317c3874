"""Systems scored on the same test rows: the numbers of `metrics.json`.

    outputs = {BASE: ["Pod 正在运行。"], TUNED: ["该 Pod 正在运行。"]}
    evaluation = evaluate(test, train, outputs)                  # adds the translation memory as a third system
    metrics = summarise(evaluation, EvaluateParams(bootstrap_samples=1000, seed=1, largest_changes=20))
    metrics["tuned"]                                             # {"bleu": ..., "bleu_low": ..., "bleu_high": ..., ...}

Text is counted once per system and metric; every slice, interval and test afterwards works on the counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from doctune.errors import DoctuneError
from doctune.scoring import EvaluateParams
from doctune.scoring.memory import NEW_BELOW, nearest
from doctune.scoring.metrics import BLEU, METRICS, Array, Estimate, Metric, compare, estimate
from doctune.text import flatten, normalise

BASE, TUNED, MEMORY = "base", "tuned", "memory"

Row = dict[str, Any]
Selection = npt.NDArray[np.bool_]

TEST_FIELDS = ("id", "en", "zh", "page", "kind")
_TRAIN_FIELDS = ("en", "zh")


@dataclass(frozen=True)
class Evaluation:
    """Test rows and what each system made of them; lists and arrays are row by row in the order of the test file."""

    rows: list[Row]
    sources: list[str]  # flattened English
    references: list[str]  # flattened Chinese, normalised
    outputs: dict[str, list[str]]  # by system, normalised as the references are
    statistics: dict[str, dict[str, Array]]  # by system and metric name, each (rows, k)
    similarity: Array  # (rows,), of the nearest training source, 0 to 1

    @property
    def new(self) -> Selection:
        """Which rows have no near duplicate among the training sources."""
        return self.similarity < NEW_BELOW


def check_rows(rows: Sequence[Row], fields: Sequence[str], where: Path) -> None:
    """Raise DoctuneError unless there are rows and each has all `fields` as strings."""
    if not rows:
        raise DoctuneError(f"{where} holds no rows, wanted at least one; check the report of the stage that writes it")
    for number, row in enumerate(rows, 1):
        for field in fields:
            if not isinstance(row.get(field), str):
                got = f"{where}, row {number}: wanted text in {field!r}, got {row.get(field)!r}"
                raise DoctuneError(f"{got}; run the stage that writes it again (dvc repro)")


def check_splits(test: Sequence[Row], train: Sequence[Row], folder: Path) -> None:
    """Raise DoctuneError unless both splits have rows of the shape that evaluation needs."""
    check_rows(test, TEST_FIELDS, folder / "test.jsonl")
    check_rows(train, _TRAIN_FIELDS, folder / "train.jsonl")


def hypotheses_of(test: Sequence[Row], translated: Sequence[Row], where: Path) -> list[str]:
    """The system's Chinese for each test row; raises DoctuneError unless ids are the test's, in the same order."""
    again = "run its translate stage again (dvc repro)"
    if len(translated) != len(test):
        raise DoctuneError(f"{where}: wanted {len(test)} rows, as in the test set, got {len(translated)}; {again}")
    check_rows(translated, ("id", "hyp"), where)
    for number, (wanted, got) in enumerate(zip(test, translated, strict=True), 1):
        if wanted["id"] != got["id"]:
            raise DoctuneError(f"{where}, row {number}: wanted id {wanted['id']}, got {got['id']}; {again}")
    return [row["hyp"] for row in translated]


def evaluate(test: Sequence[Row], train: Sequence[Row], outputs: Mapping[str, Sequence[str]]) -> Evaluation:
    """Count everything that scoring needs. `outputs`: by system, one Chinese text for each test row."""
    sources = [flatten(row["en"], "en") for row in test]
    references = [flatten(row["zh"], "zh") for row in test]
    matches = nearest(sources, [flatten(row["en"], "en") for row in train])
    everyone = {name: [normalise(text) for text in texts] for name, texts in outputs.items()}
    everyone[MEMORY] = [flatten(train[match.row]["zh"], "zh") for match in matches]
    return Evaluation(
        rows=list(test),
        sources=sources,
        references=references,
        outputs=everyone,
        statistics={
            name: {metric.name: metric.statistics(texts, references, sources) for metric in METRICS}
            for name, texts in everyone.items()
        },
        similarity=np.array([match.similarity for match in matches]),
    )


def scores(evaluation: Evaluation, system: str, where: Selection, params: EvaluateParams) -> dict[str, float]:
    """Each metric of a system on the rows selected by `where` (at least one), with its interval: bleu, bleu_low, ..."""
    found: dict[str, float] = {}
    for metric in METRICS:
        stats = evaluation.statistics[system][metric.name][where]
        found |= _flat(metric, estimate(metric, stats, params.bootstrap_samples, params.seed))
    return found


def gain(evaluation: Evaluation, system: str, over: str, where: Selection, params: EvaluateParams) -> dict[str, float]:
    """Each metric of `system` minus that of `over` on the selected rows, its interval, and the paired p-value."""
    found: dict[str, float] = {}
    for metric in METRICS:
        stats, baseline = (evaluation.statistics[name][metric.name][where] for name in (system, over))
        comparison = compare(metric, stats, baseline, params.bootstrap_samples, params.seed)
        found |= _flat(metric, comparison.difference)
        found["p_value" if metric is BLEU else f"{metric.name}_p_value"] = round(comparison.p_value, 4)
    return found


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
        "new": new,
        "gain": gain(evaluation, TUNED, BASE, everywhere, params),
        "gain_over_memory": gain(evaluation, TUNED, MEMORY, everywhere, params),
        "length_ratio": {name: _length_ratio(evaluation.statistics[name][BLEU.name]) for name in systems},
        "empty": {name: sum(not text.strip() for text in evaluation.outputs[name]) for name in systems},
        "signature": {metric.name: metric.signature(params.bootstrap_samples, params.seed) for metric in METRICS},
    }


def _flat(metric: Metric, value: Estimate) -> dict[str, float]:
    """Four decimals: the last bits of a logarithm differ between processors, the bytes of metrics.json must not."""
    name = metric.name
    named = {name: value.score, f"{name}_low": value.low, f"{name}_high": value.high}
    return {key: round(number, 4) + 0.0 for key, number in named.items()}  # + 0.0 turns -0.0 into 0.0


def _length_ratio(bleu_statistics: Array) -> float:
    hypothesis, reference = bleu_statistics[:, :2].sum(axis=0)
    return round(float(hypothesis / reference), 4) if reference else 0.0
