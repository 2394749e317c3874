"""Scores against sacreBLEU's API and command line, intervals, the translation memory, tables, the evaluate stage."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU as SacreBLEU
from sacrebleu.metrics.chrf import CHRF as SacreCHRF
from sacrebleu.significance import PairedTest

from doctune.errors import DoctuneError
from doctune.scoring import EvaluateParams
from doctune.scoring import metrics as metrics_module
from doctune.scoring.evaluation import (
    BASE,
    MEMORY,
    TUNED,
    Evaluation,
    Output,
    evaluate,
    summarise,
)
from doctune.scoring.memory import NEW_BELOW, Match, nearest
from doctune.scoring.metrics import BLEU, CHRF, METRICS, compare, estimate, resample, score
from doctune.scoring.report import (
    changes_markdown,
    largest_changes,
    markdown_summary,
    score_table,
    slice_scores,
    slices,
)
from doctune.scoring.rows import check_splits, hypotheses_of
from doctune.terms.glossary import OWN
from tasks.evaluate import main

ROOT = Path(__file__).parents[1]
PARAMS = EvaluateParams(bootstrap_samples=200, seed=12345, largest_changes=3, glossary=str(OWN), general="-", comet="")

# English, reference, base, tuned
SENTENCES = [
    ("The night watch feeds the cats.", "值夜班的人负责喂猫。", "夜间手表喂猫。", "值夜班的人喂猫。"),
    ("Set `retries` to 3.", "将 `retries` 设置为 3。", "设置重试到 3.", "将 `retries` 设置为 3。"),
    ("Tea is best below the boil.", "水未沸时，茶味最佳。", "水不沸腾时茶的味道最好。", "水未沸腾时，茶味最佳。"),
    ("Back up the archive first", "先备份归档", "首先备份存档", "先备份归档"),
    (
        "A job that fails twice is retried after a pause, and the pause doubles each time.",
        "失败两次的任务会在暂停后重试，而且每次暂停的时间都会加倍。",
        "失败两次的工作在暂停之后重试，暂停每次加倍。",
        "失败两次的任务会在暂停后重试，并且暂停时间每次加倍。",
    ),
    ("Overview", "概述", "概述", "概览"),
    ("The keeper writes the log by hand.", "看守人手写日志。", "管理员用手写日志。", "看守人手写日志。"),
    ("See [the map](/map/) of harbours.", "港口见[地图](/map/)。", "参见港口的地图。", "港口请参阅[地图](/map/)。"),
    (
        "Never run two schedulers on one queue.",
        "切勿在同一个队列上运行两个调度器。",
        "不要在一个队列上运行两个调度。",
        "切勿在一个队列上运行两个调度器。",
    ),
    ("The river is wide here", "这里河面很宽", "这条河在这里很宽", "河在此处很宽阔"),
]
REFERENCES = [row[1] for row in SENTENCES]
BASE_TEXTS = [row[2] for row in SENTENCES]
TUNED_TEXTS = [row[3] for row in SENTENCES]
KINDS = ["paragraph", "list_item", "paragraph", "heading", "paragraph", "title", "table_cell", "list_item"]

TRAIN = [
    {"en": "The river is wide there", "zh": "那里河面很宽"},
    {"en": "Feed the cats at\nnight.", "zh": "夜里\n喂猫。"},
    {"en": "Never run two schedulers on one queue.", "zh": "不要在一个队列上同时运行两个调度器。"},
    {"en": "Never run two schedulers on one queue.", "zh": "同一队列不可有两个调度器。"},
]


def rows_of_test() -> list[dict[str, Any]]:
    return [
        {"id": f"row{index}", "en": text[0], "zh": text[1], "page": "harbour.md", "kind": KINDS[index % len(KINDS)]}
        for index, text in enumerate(SENTENCES)
    ]


def translated(texts: list[str]) -> list[dict[str, Any]]:
    return [{"id": f"row{index}", "en": SENTENCES[index][0], "hyp": text} for index, text in enumerate(texts)]


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(rows_of_test(), TRAIN, {BASE: Output(BASE_TEXTS), TUNED: Output(TUNED_TEXTS)}, OWN)


def test_references_and_hypotheses_are_written_the_same_way_before_they_are_scored() -> None:
    odd = [text.replace("一", "⼀").replace("，", "，\u200b").replace("器", "\ufa38") for text in REFERENCES]
    assert odd != REFERENCES
    rows = [row | {"zh": zh} for row, zh in zip(rows_of_test(), odd, strict=True)]
    for test, base in ((rows_of_test(), odd), (rows, REFERENCES), (rows, odd)):
        scored = evaluate(test, TRAIN, {BASE: Output(base), TUNED: Output(base)}, OWN)
        assert scored.references == scored.outputs[BASE] == REFERENCES
        assert score(BLEU, scored.statistics[BASE]["bleu"]) == pytest.approx(100)


# ---- metrics ----

CORPORA = [
    pytest.param(BASE_TEXTS, REFERENCES, id="ten-sentences"),
    pytest.param(REFERENCES, REFERENCES, id="perfect"),
    pytest.param(["猫在睡觉。"], ["小猫正在睡觉。"], id="one-row"),
    pytest.param(["猫"], ["猫"], id="one-character-has-no-bigram"),
    pytest.param([""] * 3, REFERENCES[:3], id="all-empty"),
    pytest.param(["", *BASE_TEXTS[1:]], REFERENCES, id="one-empty"),
    pytest.param(["天 气 很 好"], ["今日下雨"], id="nothing-in-common"),
    pytest.param(["我们明天去河边"], ["明天我们在河边见面吧"], id="no-4-gram-so-smoothed"),
    pytest.param([text * 3 for text in BASE_TEXTS], REFERENCES, id="too-long"),
    pytest.param([text[: len(text) // 3] for text in REFERENCES], REFERENCES, id="too-short"),
    pytest.param(["第一项\n第二项 `x`"], ["第一项\n第二项 `y`"], id="two-lines"),
]


@pytest.mark.filterwarnings("error")  # dividing by an empty text's length must not warn
@pytest.mark.parametrize("hypotheses, references", CORPORA)
def test_scores_equal_sacrebleu(hypotheses: list[str], references: list[str]) -> None:
    wanted = {
        "bleu": SacreBLEU(tokenize="zh").corpus_score(hypotheses, [references]).score,
        "chrf": SacreCHRF().corpus_score(hypotheses, [references]).score,
    }
    for metric in METRICS:
        stats = metric.statistics(hypotheses, references)
        found = estimate(metric, stats, samples=100, seed=7)
        assert found.score == pytest.approx(wanted[metric.name], abs=1e-9), metric.name
        assert found.low <= found.score + 1e-9 and found.score - 1e-9 <= found.high


@pytest.mark.parametrize("hypotheses, references", CORPORA)
def test_each_row_of_chrf_is_the_sentence_score(hypotheses: list[str], references: list[str]) -> None:
    wanted = [SacreCHRF().sentence_score(hyp, [ref]).score for hyp, ref in zip(hypotheses, references, strict=True)]
    assert CHRF.corpus(CHRF.statistics(hypotheses, references)).tolist() == pytest.approx(wanted, abs=1e-9)


def test_scores_intervals_and_signatures_equal_sacrebleus_command(tmp_path: Path) -> None:
    for name, texts in (("ref.txt", REFERENCES), ("hyp.txt", BASE_TEXTS)):
        (tmp_path / name).write_text("\n".join(texts) + "\n", encoding="utf-8")
    command = "-m sacrebleu ref.txt -i hyp.txt -tok zh -m bleu chrf -w 9 --confidence --confidence-n 200 -f json"
    environment = {**os.environ, "SACREBLEU_SEED": "12345"}
    done = subprocess.run(
        [sys.executable, *command.split()], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    for metric, wanted in zip(METRICS, json.loads(done.stdout), strict=True):
        found = estimate(metric, metric.statistics(BASE_TEXTS, REFERENCES), samples=200, seed=12345)
        assert f"{found.score:.9f}" == f"{wanted['score']:.9f}", metric.name
        # sacreBLEU resamples in single precision
        assert (found.high - found.low) / 2 == pytest.approx(wanted["confidence_var"], rel=1e-6)
        assert metric.signature(200, 12345) == wanted["signature"]


def test_paired_bootstrap_equals_sacrebleus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    weak = [text if index % 3 else text[:-2] for index, text in enumerate(TUNED_TEXTS)]
    peers = {"BLEU": SacreBLEU(tokenize="zh"), "chrF2": SacreCHRF()}
    named: list[Any] = [("weak", weak), (TUNED, TUNED_TEXTS), (BASE, BASE_TEXTS)]
    wanted: Any
    _, wanted = PairedTest(named, peers, [REFERENCES], test_type="bs", n_samples=300)()
    for metric, name in ((BLEU, "BLEU"), (CHRF, "chrF2")):
        stats = {label: metric.statistics(texts, REFERENCES) for label, texts in named}
        for index, label in ((1, TUNED), (2, BASE)):
            found = compare(metric, stats[label], stats["weak"], samples=300, seed=12345)
            assert found.p_value == pytest.approx(wanted[name][index].p_value, abs=1e-9), (name, label)
            assert found.difference.score == pytest.approx(wanted[name][index].score - wanted[name][0].score, abs=1e-9)


def test_better_is_significant_and_equal_is_not() -> None:
    systems = {BASE: BASE_TEXTS, TUNED: TUNED_TEXTS}
    stats = {name: BLEU.statistics(texts * 5, REFERENCES * 5) for name, texts in systems.items()}
    better = compare(BLEU, stats[TUNED], stats[BASE], samples=200, seed=3)
    assert better.p_value == pytest.approx(1 / 201)
    assert 0 < better.difference.low < better.difference.score < better.difference.high
    worse = compare(BLEU, stats[BASE], stats[TUNED], samples=200, seed=3)
    assert worse.difference.high == pytest.approx(-better.difference.low)
    equal = compare(BLEU, stats[BASE], stats[BASE], samples=200, seed=3)
    assert (equal.difference.score, equal.difference.low, equal.difference.high, equal.p_value) == (0, 0, 0, 1)


def test_bootstrap_depends_on_the_seed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = CHRF.statistics(BASE_TEXTS, REFERENCES)
    first = resample(stats, samples=101, seed=5)
    assert first.shape == (101, stats.shape[1])
    assert np.array_equal(first, resample(stats, samples=101, seed=5))
    assert not np.array_equal(first, resample(stats, samples=101, seed=6))
    for at_once in (1, 37, 400):  # a block of one resample, of three, of forty
        monkeypatch.setattr(metrics_module, "_DRAWS_AT_ONCE", at_once)
        assert np.array_equal(first, resample(stats, samples=101, seed=5)), at_once


def test_the_interval_of_a_thousand_rows_holds_their_score() -> None:
    rng = np.random.default_rng(0)
    matches = np.sort(rng.integers(0, 40, (1000, 4)))[:, ::-1]
    stats = np.hstack([rng.integers(30, 60, (1000, 2)), matches, matches + 9]).astype(float)
    found = estimate(BLEU, stats, samples=1000, seed=1)
    assert found.low < found.score < found.high
    assert found.score == pytest.approx(score(BLEU, stats))


@pytest.mark.parametrize(
    "hypotheses, references",
    [pytest.param([], [], id="no-rows"), pytest.param(["一"], ["一", "二"], id="a-row-missing")],
)
def test_statistics_want_a_hypothesis_for_each_reference(hypotheses: list[str], references: list[str]) -> None:
    with pytest.raises(ValueError, match="wanted a hypothesis for each reference"):
        BLEU.statistics(hypotheses, references)


# ---- translation memory ----


@pytest.mark.parametrize(
    "query, sources, wanted",
    [
        pytest.param("Open the gate.", ["Open the gates.", "Open the gate.", "Shut it."], Match(1, 1.0), id="exact"),
        pytest.param("Open it.", ["Shut up.", "Open it.", "Open it."], Match(1, 1.0), id="first-of-exact-duplicates"),
        pytest.param("abcd", ["abce", "abcf"], Match(0, 0.75), id="first-of-equally-similar"),
        pytest.param("abcd", ["xyz!", "abxd"], Match(1, 0.75), id="nearest"),
        pytest.param("abcd", ["wxyz"], Match(0, 0.0), id="nothing-in-common"),
        pytest.param("", ["abc"], Match(0, 0.0), id="empty-query"),
    ],
)
def test_nearest(query: str, sources: list[str], wanted: Match) -> None:
    assert nearest([query], sources) == [wanted]


def test_nearest_of_many_queries_is_the_nearest_of_each() -> None:
    sources = [f"Pier {number} has {number % 7} boats" for number in range(60)] * 2
    queries = [f"Pier {number} has {number % 5} boats" for number in range(70)]  # several blocks
    together = nearest(queries, sources)
    assert together == [nearest([query], sources)[0] for query in queries]
    assert all(match.row < 60 for match in together)  # of duplicates the earliest


# ---- evaluation ----


@pytest.mark.parametrize(
    "change, message",
    [
        pytest.param(lambda rows: [rows[1], rows[0], *rows[2:]], "row 1: wanted id row0, got row1", id="order"),
        pytest.param(lambda rows: rows[:-1], "wanted 10 rows, as in the test set, got 9", id="missing-row"),
        pytest.param(lambda rows: [*rows, rows[-1]], "wanted 10 rows, as in the test set, got 11", id="row-twice"),
        pytest.param(lambda rows: [{**rows[0], "hyp": None}, *rows[1:]], "row 1: wanted text in 'hyp'", id="no-text"),
        pytest.param(lambda rows: [{"hyp": "无"}, *rows[1:]], "row 1: wanted text in 'id'", id="no-id"),
    ],
)
def test_hypotheses_of_other_rows_are_refused(change: Any, message: str) -> None:
    test, rows = rows_of_test(), translated(BASE_TEXTS)
    assert hypotheses_of(test, rows, Path("base.jsonl")) == BASE_TEXTS
    with pytest.raises(DoctuneError, match=message):
        hypotheses_of(test, change(rows), Path("base.jsonl"))


@pytest.mark.parametrize(
    "test, train, message",
    [
        pytest.param([], TRAIN, "test.jsonl holds no rows", id="empty-test"),
        pytest.param(rows_of_test(), [], "train.jsonl holds no rows", id="empty-train"),
        pytest.param([{**rows_of_test()[0], "kind": 3}], TRAIN, "row 1: wanted text in 'kind', got 3", id="wrong-type"),
        pytest.param(rows_of_test(), [TRAIN[0], {"en": "x"}], "row 2: wanted text in 'zh', got None", id="no-zh"),
    ],
)
def test_splits_of_another_shape_are_refused(test: list[Any], train: list[Any], message: str) -> None:
    with pytest.raises(DoctuneError, match=message):
        check_splits(test, train, Path("splits"))


def test_memory_copies_the_nearest_pair_joined_to_one_line(evaluation: Evaluation) -> None:
    exact = [row[0] for row in SENTENCES].index("Never run two schedulers on one queue.")
    assert evaluation.outputs[MEMORY][exact] == TRAIN[2]["zh"]
    assert evaluation.similarity[exact] == 1
    assert "夜里喂猫。" in evaluation.outputs[MEMORY]  # hard-wrapped in train
    near = [row[0] for row in SENTENCES].index("The river is wide here")
    assert evaluation.outputs[MEMORY][near] == "那里河面很宽"
    assert [index for index in range(len(SENTENCES)) if not evaluation.new[index]] == [exact, near]


def test_summary_holds_the_scores_of_all_rows_and_of_new_rows(evaluation: Evaluation) -> None:
    summary = summarise(evaluation, PARAMS)
    wanted = SacreBLEU(tokenize="zh").corpus_score(TUNED_TEXTS, [REFERENCES])
    assert summary["tuned"]["bleu"] == round(wanted.score, 4)
    assert summary["length_ratio"]["tuned"] == round(wanted.ratio, 4)
    assert (summary["rows"], summary["new_rows"]) == (10, 8)
    chosen = [index for index in range(10) if evaluation.new[index]]
    subset = [[texts[index] for index in chosen] for texts in (evaluation.outputs[MEMORY], REFERENCES)]
    assert summary["new"]["memory"]["chrf"] == round(SacreCHRF().corpus_score(subset[0], [subset[1]]).score, 4)
    assert summary["gain"]["bleu"] == pytest.approx(summary["tuned"]["bleu"] - summary["base"]["bleu"], abs=2e-4)
    assert summary["new"]["gain_over_memory"]["bleu_low"] > 0
    assert "tok:zh" in summary["signature"]["bleu"] and "nc:6" in summary["signature"]["chrf"]
    json.dumps(summary, allow_nan=False)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "count, texts",
    [pytest.param(10, [""] * 10, id="all-empty"), pytest.param(1, TUNED_TEXTS[:1], id="one-row")],
)
def test_degenerate_input_gets_numbers(count: int, texts: list[str]) -> None:
    test = rows_of_test()[:count]
    summary = summarise(evaluate(test, TRAIN, {BASE: Output(texts), TUNED: Output(texts)}, OWN), PARAMS)
    json.dumps(summary, allow_nan=False)
    blank = texts[0] == ""
    assert summary["empty"][TUNED] == (count if blank else 0)
    assert (summary["tuned"]["bleu"] == 0) == blank
    assert (summary["length_ratio"]["tuned"] == 0) == blank
    assert (summary["gain"]["bleu"], summary["gain"]["p_value"]) == (0, 1)
    low, high = summary["tuned"]["chrf_low"], summary["tuned"]["chrf_high"]
    assert low == high == summary["tuned"]["chrf"]


def test_without_new_rows_that_group_is_empty_and_the_tables_say_so() -> None:
    known = [{"en": row[0], "zh": row[1]} for row in SENTENCES]
    summary = summarise(
        evaluate(rows_of_test(), known, {BASE: Output(BASE_TEXTS), TUNED: Output(TUNED_TEXTS)}, OWN), PARAMS
    )
    assert (summary["new_rows"], summary["new"]) == (0, {})
    assert summary["memory"]["bleu"] == pytest.approx(100)
    assert "No row is new." in markdown_summary(summary)
    assert score_table(summary["new"]) == []


# ---- report ----


@pytest.mark.parametrize("group", ["kind", "page", "words", "similarity"])
def test_every_row_is_in_one_slice_of_each_group(evaluation: Evaluation, group: str) -> None:
    chosen = [item for item in slices(evaluation) if item.group == group]
    assert np.sum([item.where for item in chosen], axis=0).tolist() == [1] * len(SENTENCES)
    assert all(item.where.any() for item in chosen)
    assert all(left.name < right.name and left.position < right.position for left, right in pairwise(chosen))


def test_slices_have_the_scores_of_their_rows(evaluation: Evaluation) -> None:
    found = {(row["slice"], row["system"]): row for row in slice_scores(evaluation, PARAMS)}
    chosen = [index for index, row in enumerate(rows_of_test()) if row["kind"] == "list_item"]
    wanted = SacreCHRF().corpus_score([BASE_TEXTS[i] for i in chosen], [[REFERENCES[i] for i in chosen]]).score
    row = found["list_item", BASE]
    assert (row["rows"], row["chrf"]) == (len(chosen), round(wanted, 4))
    assert found["01-05 words", TUNED]["rows"] == sum(len(text[0].split()) <= 5 for text in SENTENCES)
    assert found["0.9-1.0", MEMORY]["rows"] == int((evaluation.similarity >= 0.9).sum())
    below = [row for row in found.values() if row["group"] == "similarity" and row["position"] < NEW_BELOW]
    assert sum(row["rows"] for row in below if row["system"] == TUNED) == int(evaluation.new.sum()) == 8


def test_largest_changes_are_the_best_and_the_worst(evaluation: Evaluation) -> None:
    delta = {
        f"row{index}": SacreCHRF().sentence_score(text[3], [text[1]]).score
        - SacreCHRF().sentence_score(text[2], [text[1]]).score
        for index, text in enumerate(SENTENCES)
    }
    found = largest_changes(evaluation, 3)
    gains = [row["id"] for row in found if row["delta"] > 0]
    losses = [row["id"] for row in found if row["delta"] < 0]
    ranked = sorted(delta, key=lambda name: delta[name])
    assert gains == ranked[::-1][:3]
    assert losses == [name for name in ranked if delta[name] < 0][:3] and losses
    assert [row["id"] for row in found] == gains + losses
    for row in found:
        assert list(row) == ["id", "page", "kind", "en", "ref", "base", "tuned", "memory", "delta"]
        assert row["delta"] == round(delta[row["id"]], 4)


@pytest.mark.parametrize(
    "text, cell",
    [
        pytest.param("甲|乙", r"甲\|乙", id="pipe"),
        pytest.param("第一行\n第二行", "第一行<br>第二行", id="newline"),
        pytest.param("<script>`x`</script>", r"&lt;script>\`x\`&lt;/script>", id="html-and-code"),
        pytest.param(r"甲\|乙", r"甲\\\|乙", id="escaped-pipe"),
        pytest.param("[图](http://x)", r"\[图\](http://x)", id="link"),
        pytest.param("&lt; 与 *强调*", r"&amp;lt; 与 \*强调\*", id="entity-and-emphasis"),
    ],
)
def test_texts_cannot_break_the_table_of_changes(text: str, cell: str) -> None:
    row = {"page": "docs/a.md", "en": "Gate", "ref": "门", "base": "门", "memory": "门", "tuned": text, "delta": -4.25}
    lines = changes_markdown([row]).splitlines()
    assert f"| -4.2 | Gate | 门 | 门 | {cell} | 门 | docs/a.md |" in lines
    assert "None." in lines  # no gains


def test_tables_for_people(evaluation: Evaluation) -> None:
    summary = summarise(evaluation, PARAMS)
    table = score_table(summary)
    assert [row[0] for row in table] == ["translation memory", "base", "tuned"]
    tuned = summary["tuned"]
    assert table[2][1:3] == (f"{tuned['bleu']:.1f}", f"{tuned['bleu_low']:.1f} to {tuned['bleu_high']:.1f}")
    text = markdown_summary(summary)
    assert "| " + " | ".join(table[2]) + " |" in text.splitlines()
    assert "| 8 new rows | BLEU | 95 % interval | chrF | 95 % interval |" in text.splitlines()
    assert f"Tuned against base: {summary['gain']['bleu']:+.1f} BLEU" in text
    assert summary["signature"]["bleu"] in text


# ---- stage ----


def write_inputs(folder: Path, base: list[dict[str, Any]]) -> dict[str, Path]:
    tuned = translated(TUNED_TEXTS)
    rows = {
        "splits/test": rows_of_test(),
        "splits/train": TRAIN,
        "base": base,
        "tuned": tuned,
        "general": rows_of_test(),
    }
    rows |= {"general-base": translated(BASE_TEXTS), "general-tuned": tuned}
    (folder / "splits").mkdir(parents=True)
    for name, content in rows.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    params = "evaluate:\n  bootstrap_samples: 100\n  seed: 4\n  largest_changes: 2\n"
    params += f"  glossary: {OWN}\n  general: general.jsonl\n  comet: ''\n"
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    (folder / "curves.csv").write_text("step,seconds,loss,eval_loss\n10,1.0,3.1,\n20,2.0,2.4,2.6\n", encoding="utf-8")
    systems = ("base", "tuned", "general-base", "general-tuned")
    files = {name.replace("-", "_"): Path(f"{name}.jsonl") for name in systems}
    return {"splits": Path("splits"), **files, "curves": Path("curves.csv")}


def outputs_in(name: str) -> dict[str, Path]:
    files = {"metrics": "metrics.json", "plots": "plots", "changes": "changes.jsonl", "page": "report.html"}
    return {option: Path(name, file) for option, file in files.items()}


def test_stage_writes_everything_and_the_same_bytes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = write_inputs(tmp_path, translated(BASE_TEXTS))
    written = []
    for name in ("once", "twice"):
        main(**inputs, **outputs_in(name))
        folder = tmp_path / name
        written.append({p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert written[0] == written[1]
    plots = {f"plots/{stem}.{end}" for stem in ("scores", "kind", "words", "similarity") for end in ("json", "png")}
    assert set(written[0]) == {"metrics.json", "changes.jsonl", "changes.md", "report.html"} | plots
    assert all(content.startswith(b"\x89PNG") for path, content in written[0].items() if path.endswith(".png"))
    summary = json.loads(written[0]["metrics.json"])
    bars = {row["bar"]: row["bleu"] for row in json.loads(written[0]["plots/scores.json"])}
    assert bars == {name: summary[key]["bleu"] for name, key in zip(bars, (MEMORY, BASE, TUNED), strict=True)}
    assert {BASE, TUNED, MEMORY, "similarity"} <= set(json.loads(written[0]["plots/similarity.json"])[0])
    assert summary["general"]["tuned"]["chrf"] == summary["tuned"]["chrf"]  # the same rows, here
    html = written[0]["report.html"].decode("utf-8")
    for told in (
        "General text, ",
        "human reference",
        "Loss, tuned",
        "Where it goes wrong",
        "tuned minus base",
        "Without COMET",
    ):
        assert told in html, told
    printed = capsys.readouterr().out
    assert "translation memory" in printed and f"{summary['tuned']['bleu']:.1f}" in printed


def test_stage_refuses_misordered_hypotheses_with_one_line(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path, translated(BASE_TEXTS)[::-1])
    options = [
        text for key, path in (inputs | outputs_in("out")).items() for text in (f"--{key.replace('_', '-')}", str(path))
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tasks.evaluate", *options]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "doctune: error: base.jsonl, row 1: wanted id row0, got row9; run its translate stage again (dvc repro)"
    ]
    assert not (tmp_path / "out").exists()
