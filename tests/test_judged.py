"""TER, ROUGE-L and approximate randomisation against sacreBLEU and counted by hand; which metrics an evaluation holds."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU as SacreBLEU
from sacrebleu.metrics.lib_ter import translation_edit_rate
from sacrebleu.metrics.ter import TER as SacreTER
from sacrebleu.significance import PairedTest

from doctune.scoring import EvaluateParams
from doctune.scoring.evaluation import BASE, MEMORY, TUNED, Output, evaluate, summarise
from doctune.scoring.judged import all_metrics
from doctune.scoring.likelihood import likelihoods
from doctune.scoring.metrics import BLEU, compare, estimate, randomise, score
from doctune.scoring.rouge import ROUGE_L
from doctune.scoring.ter import TER, edits
from doctune.terms.glossary import OWN

REFERENCES = [
    "渡船每小时开出一班。",
    "将 `port` 设为 80。",
    "灯塔在夜里发光。",
    "先收网，再回港。",
    "潮水退去后再修船。",
]
WEAK = ["渡轮每个小时走。", "设置port到 80.", "夜里灯塔有光", "回港之前收起网。", "修船在潮水退后。"]
STRONG = ["渡船每小时开一班。", "将 `port` 设为 80。", "灯塔夜里发光。", "先收网再回港。", "退潮后再修船。"]


def test_scores_and_signature_equal_sacrebleus_command(tmp_path):
    for name, texts in (("ref.txt", REFERENCES), ("hyp.txt", WEAK)):
        (tmp_path / name).write_text("\n".join(texts) + "\n", encoding="utf-8")
    options = "--ter-normalized --ter-asian-support --ter-case-sensitive -w 9 --confidence --confidence-n 200 -f json"
    command = [sys.executable, *["-m", "sacrebleu", "ref.txt", "-i", "hyp.txt", "-m", "ter"], *options.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    wanted = json.loads(done.stdout)
    assert f"{score(TER, TER.statistics(WEAK, REFERENCES)):.9f}" == f"{wanted['score']:.9f}"
    assert TER.signature(200, 12345) == wanted["signature"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "hypotheses, references",
    [
        pytest.param(REFERENCES, REFERENCES, id="perfect"),
        pytest.param(WEAK, REFERENCES, id="weak"),
        pytest.param([""] * 5, REFERENCES, id="empty"),
        pytest.param(["多出来的话"], [""], id="no-reference"),
        pytest.param([""], [""], id="nothing-at-all"),
    ],
)
def test_ter_equals_sacrebleus(hypotheses, references):
    peer = SacreTER(normalized=True, asian_support=True, case_sensitive=True)
    wanted = peer.corpus_score(hypotheses, [references]).score
    found = estimate(TER, TER.statistics(hypotheses, references), samples=100, seed=1)
    assert found.score == pytest.approx(wanted, abs=1e-9)
    assert found.low <= found.score <= found.high


@given(
    st.lists(st.sampled_from("潮水退去后再修船a"), max_size=70),
    st.lists(st.sampled_from("潮水退去后再修船a"), max_size=70),
)
@settings(max_examples=60, deadline=None)
def test_edits_are_sacrebleus(hypothesis, reference):
    wanted, _ = translation_edit_rate(hypothesis, reference) if hypothesis else (len(reference), 0)
    assert edits(hypothesis, reference) == wanted


def test_edits_are_sacrebleus_where_paths_leave_its_beam():
    reference = [*"先收网再回港", *"潮水退去后再修船" * 9]
    hypothesis = [*"潮水退去后再修船" * 8, *"灯塔" * 20, *"再回港先收网"]
    assert edits(hypothesis, reference) == translation_edit_rate(hypothesis, reference)[0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "hypothesis, reference, wanted",
    [
        pytest.param("灯塔发光", "灯塔发光", 100, id="equal"),
        pytest.param("塔灯", "灯塔", 50, id="order-counts"),  # one of two in order
        pytest.param("灯光", "灯塔发光", 200 * 2 / 6, id="subsequence-with-gaps"),
        pytest.param("设置 port", "port 设置", 200 * 2 / 6, id="a-latin-word-is-one-token"),
        pytest.param("猫", "鱼", 0, id="nothing-in-common"),
        pytest.param("", "", 0, id="both-empty"),
    ],
)
def test_rouge_l(hypothesis, reference, wanted):
    assert score(ROUGE_L, ROUGE_L.statistics([hypothesis], [reference])) == pytest.approx(wanted)


def test_approximate_randomisation_agrees_with_sacrebleus(monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    mixed = [weak if index % 2 else strong for index, (weak, strong) in enumerate(zip(WEAK, STRONG, strict=True))]
    named = [("mixed", mixed), ("strong", STRONG), ("weak", WEAK)]
    _, peer = PairedTest(named, {"BLEU": SacreBLEU(tokenize="zh")}, [REFERENCES], test_type="ar", n_samples=2000)()
    stats = {name: BLEU.statistics(texts, REFERENCES) for name, texts in named}
    for index, name in ((1, "strong"), (2, "weak")):
        found = randomise(BLEU, stats[name], stats["mixed"], trials=2000, seed=12345)
        # With few rows many tosses give just the real difference: those count here and not in sacreBLEU.
        swaps = np.abs(stats[name] - stats["mixed"]).sum(axis=1).astype(bool).sum()
        assert 0 <= found - peer["BLEU"][index].p_value <= 2 * 0.5**swaps + 0.05, name


def test_randomisation_knows_better_from_equal():
    stats = {name: TER.statistics(texts * 6, REFERENCES * 6) for name, texts in (("weak", WEAK), ("strong", STRONG))}
    better = compare(TER, stats["strong"], stats["weak"], samples=200, seed=3)
    assert better.difference.score < 0 and better.randomised < 0.01
    assert compare(TER, stats["weak"], stats["weak"], samples=200, seed=3).randomised == 1


def test_an_evaluation_has_every_metric_with_signature_interval_and_both_p_values():
    test = [
        {"id": str(number), "en": f"Line {number}.", "zh": zh, "page": "tasks/a.md", "kind": "paragraph"}
        for number, zh in enumerate(REFERENCES)
    ]
    train = [{"en": "Something else.", "zh": "别的。"}]
    params = EvaluateParams(bootstrap_samples=100, seed=1, largest_changes=1, glossary=str(OWN), general="-", comet="")
    outputs = {
        BASE: Output(WEAK, likelihoods([{"nats": 12.5, "tokens": 5}] * 5, REFERENCES)),
        TUNED: Output(STRONG, likelihoods([{"nats": 2.5, "tokens": 5}] * 5, REFERENCES)),
    }
    summary = summarise(evaluate(test, train, outputs, OWN), params)
    assert summary["skipped"] == {"comet": "evaluate.comet names no checkpoint"}
    for metric in all_metrics(OWN)[:-1]:
        for system in (BASE, TUNED):
            low, value, high = (summary[system][metric.name + end] for end in ("_low", "", "_high"))
            assert low <= value <= high
        assert 0 < summary["gain"][f"{metric.name}_ar_p_value"] <= 1
        assert summary["signature"][metric.name]
    assert all(summary["gain"][name] > 0 for name in ("bleu", "chrf", "rouge_l")) and summary["gain"]["ter"] < 0
    assert summary["tuned"]["perplexity"] == pytest.approx(np.exp(0.5), abs=1e-4)
    characters = sum(map(len, REFERENCES))
    assert summary["base"]["perplexity_character"] == pytest.approx(np.exp(12.5 * 5 / characters), abs=1e-4)
    assert summary["reference"]["degenerate"] == 0 and "bleu" not in summary["reference"]
    assert "ter" not in summary[MEMORY] and "rouge_l" in summary[MEMORY]
