"""The numbers that gates ask for: what ships, the champion's and PyTorch's translations of the same test rows, scored.

    found, evaluation = gather(store, candidate, champion, knobs, places)
    found.scores["bleu"], found.against.p_value

The test rows are those of the checkout; the gate "splits" asks that the candidate was made from the same splits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctune.errors import DoctuneError
from doctune.files import hash_path, read_json, read_jsonl
from doctune.near import NGRAMS
from doctune.promotion.gates import Against, Evidence
from doctune.promotion.params import PromoteParams
from doctune.promotion.shipped import DoesNotRun, translations
from doctune.promotion.smoke import SENTENCES, problems
from doctune.pyfunc import ONNX
from doctune.registry.champions import ROLLED_BACK
from doctune.registry.curves import curves_of
from doctune.registry.packages import weights_in
from doctune.registry.store import Store
from doctune.registry.versions import DATA_HASH, MODEL_HASH, ONNX_HASH, Version, fetch, shipped_of
from doctune.scoring import EvaluateParams
from doctune.scoring.rows import check_general, check_splits, hypotheses_of
from doctune.splitting import SplitParams

if TYPE_CHECKING:
    from doctune.scoring.evaluation import Evaluation

CANDIDATE, CHAMPION, PYTORCH = "candidate", "champion", "pytorch"
SMOKE, TEST, GENERAL = "smoke", "test", "general"
SHOWN = ("bleu", "chrf", "rouge_l", "terms", "structure", "structure_rows", "style", "degenerate")


@dataclass(frozen=True)
class Places:
    """What the pipeline left in the checkout, and where translations are kept."""

    splits: Path
    hypotheses: Path  # of the tuned model, by PyTorch; the export's report says of which export
    general_base: Path  # of the base, on general text
    export_report: Path
    memo: Path


@dataclass(frozen=True)
class Knobs:
    """The sections of params.yaml that promotion reads."""

    promote: PromoteParams
    evaluate: EvaluateParams
    split: SplitParams


def gather(
    store: Store, candidate: Version, champion: Version | None, knobs: Knobs, places: Places
) -> tuple[Evidence, "Evaluation"]:
    """Translate, score and count. DoesNotRun where the candidate's package does not; DoctuneError for all else."""
    import numpy as np

    from doctune.leakage import leakage, leaked
    from doctune.scoring.evaluation import Output, evaluate, gain, scores, with_comet

    limits, glossary = knobs.promote, Path(knobs.evaluate.glossary)
    test, train = read_jsonl(places.splits / "test.jsonl"), read_jsonl(places.splits / "train.jsonl")
    check_splits(test, train, places.splits)
    general = general_rows(knobs.evaluate) if limits.max_general_loss is not None else []
    parts = {SMOKE: SENTENCES, TEST: _english(test), **({GENERAL: _english(general)} if general else {})}
    folder, digest = _package(store, candidate)
    answers = translations(places.memo, folder, digest, parts, fresh=(SMOKE,))
    outputs = {CANDIDATE: Output(answers[TEST])}
    if champion is not None:
        outputs[CHAMPION] = Output(_champion(store, champion, places, parts[TEST]))
    if limits.max_int8_loss is not None:
        outputs[PYTORCH] = Output(_pytorch(store, candidate, _decoding(folder), places, test))
    names = wanted(limits)
    if "comet" in names:
        outputs = with_comet(test, outputs, knobs.evaluate.comet)
    evaluation = evaluate(test, train, outputs, glossary, names)
    everywhere = np.ones(len(test), dtype=bool)
    against = None
    if champion is not None:
        gained = gain(evaluation, CANDIDATE, CHAMPION, everywhere, knobs.evaluate)
        theirs = scores(evaluation, CHAMPION, everywhere, knobs.evaluate)
        against = Against(champion.number, gained["bleu"], gained["p_value"], _worse(evaluation, gained), theirs)
    in_train = None
    if limits.max_leaked is not None:
        in_train = leaked(leakage(train, [], test, knobs.split.near, NGRAMS)["test_in_train"])
    base = read_jsonl(places.general_base) if general else []
    evidence = Evidence(
        smoke=problems(answers[SMOKE]),
        scores=scores(evaluation, CANDIDATE, everywhere, knobs.evaluate),
        parity=_bleu(evaluation, PYTORCH) - _bleu(evaluation, CANDIDATE) if PYTORCH in outputs else None,
        leaked=in_train,
        other_splits=other_splits(candidate, places.splits),
        general=_chrf(general, answers[GENERAL]) if general else None,
        general_base=_chrf(general, hypotheses_of(general, base, places.general_base)) if general else None,
        rolled_back=candidate.tags.get(ROLLED_BACK),
        against=against,
    )
    return evidence, evaluation


def page(
    store: Store, evaluation: "Evaluation", gates: Sequence[Mapping[str, Any]], version: Version, knobs: Knobs
) -> str:
    """What people look at: the candidate beside the champion, or beside PyTorch where there is none, and the gates.

    Its losses are those of the run that trained it. Empty where it was judged alone.
    """
    from doctune.report.gather import scored
    from doctune.report.page import LOSSES, render

    over = next((name for name in (CHAMPION, PYTORCH) if name in evaluation.outputs), None)
    if over is None:
        return ""
    title = f"Version {version.number} of {version.name}, as it ships"
    curves = {CANDIDATE: curves_of(store, version.run_id, LOSSES)}
    return render(scored(evaluation, knobs.evaluate, (CANDIDATE, over), curves, gates, title=title))


def wanted(limits: PromoteParams) -> set[str]:
    """The metrics that gates ask for, and those that people look at first. TER and COMET are slow: only where a gate asks for them."""
    return {*SHOWN, *limits.floors, *limits.ceilings, *limits.losses}


def other_splits(version: Version, splits: Path) -> str | None:
    """Why the test rows here may be rows that the version learnt; None where it was made from the splits here."""
    made, here = version.tags.get(DATA_HASH), hash_path(splits)
    if made == here:
        return None
    commit = version.tags.get("git_commit", "unknown")
    return (
        f"made from splits {(made or 'unknown')[:12]}, {splits} is {here[:12]} "
        f"(git checkout {commit[:12]}, dvc checkout, if that commit is theirs)"
    )


def general_rows(evaluate: EvaluateParams) -> list[dict[str, Any]]:
    """The rows of general text that `evaluate.general` names."""
    path = Path(evaluate.general)
    rows = read_jsonl(path)
    check_general(rows, path)
    return rows


def _english(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [row["en"] for row in rows]


def _package(store: Store, version: Version) -> tuple[Path, str]:
    """The folder of what a version ships and its hash; DoesNotRun unless it holds what was exported."""
    folder = fetch(store, shipped_of(version))
    digest, weights = version.tags[ONNX_HASH], weights_in(folder) / ONNX
    if not weights.is_dir() or (got := hash_path(weights)) != digest:
        what = got[:12] if weights.is_dir() else "no such folder"
        raise DoesNotRun(
            f"what version {version.number} ships is not what was exported: wanted {digest[:12]}, got {what}"
        )
    return folder, digest


def _decoding(folder: Path) -> dict[str, Any] | None:
    """How what ships decodes; None where it does not say."""
    from doctune.onnx.runtime import SHIPPED_FILE

    file = weights_in(folder) / ONNX / SHIPPED_FILE
    return read_json(file)["decoding"] if file.is_file() else None


def _champion(store: Store, champion: Version, places: Places, texts: Sequence[str]) -> list[str]:
    try:
        return translations(places.memo, *_package(store, champion), {TEST: texts})[TEST]
    except DoctuneError as error:
        raise DoctuneError(
            f"champion {champion.number} of {champion.name} cannot be compared with: {error}; "
            "`doctune rollback` returns to the one before, `doctune promote --force REASON` replaces it unjudged"
        ) from None


def _pytorch(
    store: Store, version: Version, decoding: dict[str, Any] | None, places: Places, test: Sequence[dict[str, Any]]
) -> list[str]:
    """PyTorch's translations, decoded as what ships is: those that it was exported beside, if they are here, else made here."""
    exported = read_json(places.export_report) if places.export_report.is_file() else {}
    here = hash_path(places.hypotheses) if places.hypotheses.is_file() else None
    if (exported.get("onnx_hash"), exported.get("hypotheses_hash")) == (version.tags[ONNX_HASH], here):
        return hypotheses_of(test, read_jsonl(places.hypotheses), places.hypotheses)
    try:
        folder, parts = fetch(store, version.source), {TEST: _english(test)}
        return translations(places.memo, folder, version.tags[MODEL_HASH], parts, decoding=decoding)[TEST]
    except DoesNotRun as error:  # what ships may run all the same: this says nothing against it
        raise DoctuneError(
            f"the PyTorch model of version {version.number} cannot be compared with: {error}; promote it from the "
            "checkout that made it, or set promote.max_int8_loss to null"
        ) from None


def _worse(evaluation: "Evaluation", gained: dict[str, float]) -> dict[str, float]:
    """By metric: how much worse the candidate is, whichever way is better."""
    return {
        metric.name: (-gained[metric.name] if metric.higher_is_better else gained[metric.name]) + 0.0
        for metric in evaluation.metrics
        if metric.name in gained
    }


def _bleu(evaluation: "Evaluation", system: str) -> float:
    from doctune.scoring.metrics import BLEU, score

    return score(BLEU, evaluation.statistics[system][BLEU.name])


def _chrf(rows: Sequence[dict[str, Any]], answers: Sequence[str]) -> float:
    from doctune.scoring.metrics import CHRF, score
    from doctune.text import flatten, normalise

    references = [flatten(row["zh"], "zh") for row in rows]
    return score(CHRF, CHRF.statistics([normalise(text) for text in answers], references, _english(rows)))
