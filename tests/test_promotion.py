"""The gates as pure functions: every limit refuses for its own reason, and says by how much."""

from dataclasses import replace
from pathlib import Path

import pytest

from doctune.errors import DoctuneError
from doctune.promotion.evidence import wanted
from doctune.promotion.gates import Against, Evidence, judge, refused
from doctune.promotion.params import PromoteParams
from doctune.promotion.smoke import SENTENCES, problems
from doctune.pyfunc import _load_pyfunc
from doctune.scoring.evaluation import Output, evaluate

GLOSSARY = Path(__file__).parents[1] / "doctune" / "terms" / "glossary.yaml"
PARAMS = PromoteParams(
    min_bleu_gain=0.5,
    max_p_value=0.05,
    floors={"structure": 90.0},
    ceilings={"degenerate": 2.0},
    losses={"structure": 1.0},
    max_general_loss=3.0,
    max_int8_loss=1.0,
    max_leaked=0,
)
SCORES = {"structure": 95.0, "degenerate": 0.0}
AGAINST = Against("3", 1.5, 0.01, {"structure": -0.5}, SCORES)
GOOD = Evidence([], SCORES, parity=0.2, leaked=0, general=40.0, general_base=41.0, against=AGAINST)


def test_a_better_model_passes_and_a_first_one_is_asked_the_absolute_gates_only() -> None:
    assert refused(judge(GOOD, PARAMS)) == ""
    first = judge(replace(GOOD, against=None), PARAMS)
    assert refused(first) == "" and len(first) == len(judge(GOOD, PARAMS)) - 3


@pytest.mark.parametrize(
    ("evidence", "gate", "short"),
    [
        pytest.param(replace(GOOD, smoke=["空的"]), "smoke", "", id="says nothing"),
        pytest.param(replace(GOOD, leaked=7), "leakage", "7 too high", id="trained on the test set"),
        pytest.param(replace(GOOD, other_splits="other"), "splits", "", id="of other splits"),
        pytest.param(replace(GOOD, parity=4.0), "parity", "3.00 too high", id="int8 differs"),
        pytest.param(replace(GOOD, scores=SCORES | {"structure": 87.5}), "structure", "2.50 too low", id="backticks"),
        pytest.param(replace(GOOD, scores=SCORES | {"degenerate": 9.0}), "degenerate", "7.00 too high", id="repeats"),
        pytest.param(replace(GOOD, general=30.0), "forgetting", "8.00 too high", id="forgot"),
        pytest.param(replace(GOOD, rolled_back="昨天"), "rolled back", "", id="rolled back"),
        pytest.param(replace(GOOD, against=replace(AGAINST, bleu_gain=0.2)), "gain", "0.30 too low", id="too small"),
        pytest.param(replace(GOOD, against=replace(AGAINST, p_value=0.2)), "significance", "", id="by chance"),
        pytest.param(
            replace(GOOD, against=replace(AGAINST, worse={"structure": 2.0})),
            "structure loss",
            "1.00 too high",
            id="loss",
        ),
    ],
)
def test_each_gate_refuses_for_its_own_reason(evidence: Evidence, gate: str, short: str) -> None:
    failed = [found for found in judge(evidence, PARAMS) if not found.passed]
    assert [(found.gate, found.short) for found in failed] == [(gate, short)]


@pytest.mark.parametrize(
    "evidence",
    [
        replace(GOOD, scores={}),
        replace(GOOD, scores=SCORES | {"structure": float("nan")}),
        replace(GOOD, parity=None),
        replace(GOOD, parity=float("nan")),
        replace(GOOD, leaked=None),
        replace(GOOD, general=None),
        replace(GOOD, general_base=None),
        replace(GOOD, against=replace(AGAINST, worse={})),
        replace(GOOD, against=replace(AGAINST, bleu_gain=float("nan"))),
    ],
    ids=["metric", "no number", "parity", "no parity", "leakage", "general", "base", "loss", "gain"],
)
def test_what_was_not_measured_is_an_error(evidence: Evidence) -> None:
    with pytest.raises(DoctuneError, match="was not measured"):
        judge(evidence, PARAMS)


def test_only_what_gates_and_people_ask_for_is_counted() -> None:
    assert "ter" not in wanted(PARAMS)
    assert "ter" in wanted(PARAMS.model_copy(update={"ceilings": {"ter": 60.0}}))
    row = {"id": "1", "en": "Wait for the node.", "zh": "等待该节点。", "page": "a.md", "kind": "paragraph"}
    evaluation = evaluate([row], [], {"x": Output(["等待该结点。"])}, GLOSSARY, {"terms", "bleu"})
    assert [metric.name for metric in evaluation.metrics] == ["bleu", "terms"]
    assert set(evaluation.statistics["x"]) == {"bleu", "terms"} and set(evaluation.statistics["reference"]) == {"terms"}


def test_smoke() -> None:
    assert problems(["等待该 Pod。"] * len(SENTENCES)) == []
    assert problems(["Wait."] * len(SENTENCES)) and problems(["等待", "", *["等待"] * 4]) and problems([])


def test_pytorch_decodes_as_it_is_told(monkeypatch, tmp_path):
    (tmp_path / "model").mkdir()
    opened = []
    monkeypatch.setattr("doctune.translation.load_translator", lambda *given: opened.append(given))
    for decoding in (None, {"beams": 4, "batch_tokens": 4096, "max_new_tokens": 64}):
        _load_pyfunc(str(tmp_path), {"decoding": decoding} if decoding else None)
    assert [given[2].beams for given in opened] == [1, 4] and opened[1][2].max_new_tokens == 64
    with pytest.raises(DoctuneError, match="decoding"):
        _load_pyfunc(str(tmp_path), {"decoding": {"beams": 0}})
