"""The one-page report: differences, untrusted texts, unknown metrics, any number of systems, and a real browser."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from doctune.errors import DoctuneError
from doctune.files import write_jsonl
from doctune.report.charts import Bar, Group, Line, _ticks, bars, lines
from doctune.report.diff import Piece, pieces
from doctune.report.faults import Faults, faults
from doctune.report.gather import Page, checked_gates, compare, curve_points, metric_names, p_values, page_of
from doctune.report.page import render, seen
from doctune.report.systems import named_files, outputs_of
from doctune.scoring import EvaluateParams
from doctune.scoring.evaluation import Output, evaluate, general_summary, signatures, summarise
from doctune.scoring.judged import all_metrics
from doctune.scoring.report import largest_changes, slice_scores
from doctune.terms.glossary import OWN

PARAMS = EvaluateParams(
    bootstrap_samples=100, seed=3, largest_changes=5, glossary=str(OWN), general="general.jsonl", comet=""
)
TEXTS = [
    ("The lamp is lit at dusk.", "黄昏时点灯。", "灯在黄昏。", "黄昏时点亮灯。"),
    ("Set `depth` to 4.", "将 `depth` 设为 4。", "设深度为 4。", "将 `depth` 设为 4。"),
    ("The ferry leaves at noon.", "渡船正午出发。", "渡船正午出发。", "渡轮在中午离开。"),
    ("Nobody reads the old map.", "没人看那张旧地图。", "没有人读旧地图。", "没人看旧地图。"),
]
EVIL = '<script>alert("x")</script>\u202e<img src=x onerror=alert(1)>'
GATES = [
    {"gate": "structure", "wanted": "at least 95.0", "got": 91.27, "passed": False},
    {"gate": "<b>leakage</b>", "wanted": 0, "got": 0, "passed": True},
]


def rows() -> list[dict[str, Any]]:
    kinds = ["paragraph", "list_item", "paragraph", "heading"]
    return [
        {"id": f"r{i}", "en": en, "zh": zh, "page": f"tasks/\u202e{'a-long-name-' * 8}{i}.md", "kind": kinds[i]}
        for i, (en, zh, *_) in enumerate(TEXTS)
    ]


TRAIN = [{"en": "The lamp is lit at dawn.", "zh": "黎明时点灯。"}]
GENERAL = [{"id": f"g{i}", "en": en, "zh": zh} for i, (en, zh, *_) in enumerate(TEXTS[2:])]
OUTPUTS = {
    "base": [row[2] for row in TEXTS],
    "full": [row[3] for row in TEXTS],
    "lora": [TEXTS[0][3], EVIL, *(row[3] for row in TEXTS[2:])],
}
CURVES = {"lora": {"loss": [(10.0, 3.0), (20.0, 2.0)], "eval_loss": [(20.0, 2.2)]}}


def outputs(*names: str, rows: slice = slice(None)) -> dict[str, Output]:
    return {name: Output(OUTPUTS[name][rows]) for name in names}


def three() -> Page:
    elsewhere = (GENERAL, outputs("base", "lora", rows=slice(2, None)))
    return compare(rows(), TRAIN, outputs(*OUTPUTS), PARAMS, ("lora", "base"), CURVES, GATES, elsewhere)


@pytest.fixture(scope="module")
def page() -> Page:
    return three()


@pytest.fixture(scope="module")
def html(page: Page) -> str:
    return render(page)


@pytest.mark.parametrize(
    ("hypothesis", "reference", "wanted"),
    [
        pytest.param("点灯。", "点灯。", [Piece("same", "点灯。")], id="equal"),
        pytest.param("点亮灯。", "点灯。", [("same", "点"), ("extra", "亮"), ("same", "灯。")], id="one-character"),
        pytest.param("", "点灯", [("missing", "点灯")], id="empty"),
        pytest.param(
            "用 kubelet", "用 kubectl", [("same", "用 "), ("missing", "kubectl"), ("extra", "kubelet")], id="word"
        ),
    ],
)
def test_pieces(hypothesis: str, reference: str, wanted: list[Any]) -> None:
    wanted = [Piece(*item) if isinstance(item, tuple) else item for item in wanted]
    found = pieces(hypothesis, reference)
    assert sorted(found, key=repr) == sorted(wanted, key=repr)


@given(st.text("点灯亮 ab-./1", max_size=30), st.text("点灯亮 ab-./1", max_size=30))
@settings(max_examples=60, deadline=None)
def test_pieces_lose_nothing_of_either_text(hypothesis: str, reference: str) -> None:
    found = pieces(hypothesis, reference)
    assert "".join(piece.text for piece in found if piece.kind != "missing") == hypothesis
    assert "".join(piece.text for piece in found if piece.kind != "extra") == reference


# no subnormal numbers: a library that torch loads switches them off for the whole process
@given(st.floats(-1e6, 1e6, allow_subnormal=False), st.floats(1e-3, 1e6))
@settings(max_examples=60, deadline=None)
def test_ticks_are_few_and_cover_the_values(least: float, span: float) -> None:
    ticks = _ticks(least, least + span)
    slack = 1e-6 * (abs(least) + span)
    assert 2 <= len(ticks) <= 8 and ticks[0] <= least + slack and ticks[-1] >= least + span - slack


def test_charts_escape_their_texts_and_draw_nothing_of_nothing() -> None:
    picture = str(bars([Group("<x>", "3 rows", [Bar(0, "a&b", -3.0, -4.0, -1.0), Bar(1, "c", 8.0)])], "t"))
    assert "<x>" not in picture and "&lt;x&gt;" in picture and "a&amp;b" in picture
    assert lines([Line(0, "loss", [])], "t", "x", "y") == ""
    assert str(lines([Line(0, "loss", [(1, 2.0)])], "t", "x", "y")).count("<circle") == 1  # one point is a chart, too


def test_every_system_metric_gate_and_curve_is_there(page: Page, html: str) -> None:
    assert page.systems == ("memory", "base", "full", "lora")
    for text in (
        "full minus base",
        "lora minus base",
        "New rows",
        "✗ failed",
        "✓ passed",
        "91.27",
        "Loss, lora",
        "eval loss",
    ):
        assert text in html
    assert html.count("<article>") == len(page.changes) > 0
    assert all(abs(sum(share for _, share in ratios) - 100) < 1e-9 for ratios in page.ratios.values())


def test_texts_are_escaped_and_the_page_reaches_for_nothing(html: str) -> None:
    assert "<script" not in html and "<img" not in html and "<b>leakage" not in html
    assert "⟨U+202E⟩" in html and "\u202e" not in html
    tags: list[tuple[str, dict[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(html)
    assert len(tags) > 200 and not {tag for tag, _ in tags} & {"script", "img", "link", "a", "iframe", "object", "base"}
    assert not {
        name for _, attributes in tags for name in attributes if name in ("src", "href", "style") or name[:2] == "on"
    }
    assert not re.search(r"url\(|@import|https?://", html)
    assert "default-src &#39;none&#39;" in html and "unsafe" not in html


def test_the_same_facts_are_the_same_bytes(html: str) -> None:
    assert render(three()) == html


def test_every_score_of_every_system_is_there_by_its_label(page: Page, html: str) -> None:
    whole, new, general = page.tables
    assert list(whole.scores) == ["reference", "memory", "base", "full", "lora"]
    assert "bleu" not in whole.scores["reference"] and "ter" not in whole.scores["memory"]
    assert list(general.scores) == ["base", "lora"] and list(general.differences) == ["lora minus base"]
    assert "reference" not in new.scores and set(whole.differences) >= {"full minus base", "lora minus base"}
    measured = {"perplexity", "perplexity_character", "comet"}  # of models: these systems gave their texts alone
    labels = [metric.label for metric in all_metrics(OWN) if metric.name not in measured]
    for label in labels:
        assert html.count(f'<tr><th scope="row">{escape(label)}<') == 6, label
    row = html.partition('<tr><th scope="row">BLEU</th>')[2].partition("</tr>")[0]
    assert row.count("<td") == 5 and row.rstrip().endswith("<td></td>")  # the reference has no BLEU: an empty cell
    assert "Without COMET: evaluate.comet names no checkpoint." in html and "<dt>COMET</dt>" not in html
    assert "human reference" in html and "General text, 2 rows" in html


def test_where_it_goes_wrong(page: Page) -> None:
    tables = {table.title.partition(":")[0]: table for table in page.breakdowns}
    markup = tables["Markup"]
    assert markup.header == ("kind", "wanted", "memory", "base", "full", "lora", "reference")
    assert markup.rows[0][:2] == ("code", 1) and markup.rows[0][-2:] == (0.0, 100.0)
    assert all(0 < len(table.rows) <= 15 for table in page.breakdowns)
    perfect = {"perfect": Output([row["zh"] for row in rows()])}
    assert not [t for t in faults(evaluate(rows(), [], perfect, OWN), OWN, "perfect") if "Markup" in t.title]


def test_metrics_json_with_metrics_nobody_told_the_page_of() -> None:
    texts = {"base": Output(OUTPUTS["base"]), "tuned": Output(OUTPUTS["full"])}
    evaluation = evaluate(rows(), TRAIN, texts, OWN)
    summary = summarise(evaluation, PARAMS) | {"general": general_summary(evaluation, PARAMS)}
    summary["tuned"] |= {"new_fangled": 77.7, "new_fangled_low": 70.1, "new_fangled_high": 80.2}
    summary["base"] |= {"new_fangled": None, "chrf": float("nan")}
    del summary["base"]["terms"], summary["reference"], summary["new"]["memory"]
    summary["gain"] |= {"new_fangled": 1.5, "new_fangled_ar_p_value": 0.0321}
    slices, found = slice_scores(evaluation, PARAMS), largest_changes(evaluation, 5)
    wrong = [Faults("Terms", ("term", "of"), [("<i>灯", 3)])]
    html = render(page_of(evaluation, summary, slices, found, ("tuned", "base"), breakdowns=wrong))
    for text in (
        "new fangled",
        "70.1 to 80.2",
        "General text, 4 rows",
        "ar p = 0.0321",
        "No promotion",
        "&lt;i&gt;灯",
        "length ratio",
    ):
        assert text in html
    assert "nan" not in html


def test_a_signature_names_the_checkpoint_of_comet_where_comet_is(monkeypatch) -> None:
    monkeypatch.setattr("doctune.scoring.comet._program", lambda: None)
    assert "comet" not in signatures(PARAMS.model_copy(update={"comet": "my/comet"})), (
        "a score that is not there has none"
    )
    monkeypatch.setattr("doctune.scoring.comet._program", lambda: "comet-score")
    assert "checkpoint:my/comet" in signatures(PARAMS.model_copy(update={"comet": "my/comet"}))["comet"]


def test_the_page_is_an_artifact_of_the_run_that_trained_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, html: str
) -> None:
    """What register does, in a real store; a page that changed is logged again, one that did not is not."""
    from mlflow import MlflowClient

    from doctune.files import write_text
    from doctune.registry import api as registry
    from tests.test_registry import write_files

    uri = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    path = tmp_path / "work" / "reports" / "report.html"
    files = replace(write_files(tmp_path / "work"), page=path)
    store = registry.connect(tmp_path)
    run_id, _ = registry.ensure_run(store, files)
    client = MlflowClient(uri)
    for text in (html, html.replace("Translation report", "Another report")):
        write_text(path, text)
        assert registry.log_evaluation(store, run_id, files) and not registry.log_evaluation(store, run_id, files)
        (logged,) = [item.path for item in client.list_artifacts(run_id, "evaluation") if item.path.endswith("html")]
        assert logged == "evaluation/report.html"
        assert Path(client.download_artifacts(run_id, logged)).read_text(encoding="utf-8") == text


def test_metric_names_and_p_values() -> None:
    gain = {"bleu": 1.0, "bleu_low": 0.5, "bleu_high": 2.0, "p_value": 0.01, "chrf": 2.0, "chrf_p_value": 0.02}
    assert metric_names([gain]) == ["bleu", "chrf"]
    assert p_values(gain, "bleu") == [("", 0.01)] and p_values(gain, "chrf") == [("", 0.02)]
    gain = {"p_value": 0.01, "structure": 1.0, "structure_rows": 2.0, "structure_p_value": 0.2}
    gain |= {"structure_rows_p_value": 0.3, "structure_rows_ar_p_value": 0.4}
    assert p_values(gain, "structure") == [("", 0.2)] and p_values(gain, "bleu") == []
    assert p_values(gain, "structure_rows") == [("", 0.3), ("ar", 0.4)]


def test_unseen_characters_are_shown_by_code() -> None:
    assert seen("a\x00b\u200b灯\n\ufeff") == "a⟨U+0000⟩b⟨U+200B⟩灯\n⟨U+FEFF⟩"


def test_curves(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("step,seconds,loss,eval_loss\n10,1.0,3.5,\n20,2.0,nan,2.5\n", encoding="utf-8")
    assert curve_points(path) == {"seconds": [(10, 1.0), (20, 2.0)], "loss": [(10, 3.5)], "eval_loss": [(20, 2.5)]}
    path.write_text("step,loss\n10,high\n", encoding="utf-8")
    with pytest.raises(DoctuneError, match="numbers in .*curves.csv"):
        curve_points(path)


@pytest.mark.parametrize("gates", [{}, "x", [1], [{"gate": "a"}], [{**GATES[0], "passed": "yes"}]])
def test_what_is_no_gate_is_refused(gates: Any) -> None:
    with pytest.raises(DoctuneError, match="wanted"):
        checked_gates(gates)


@pytest.mark.parametrize(
    "argument",
    [["base"], ["=x"], ["a b=x"], ["memory=x"], ["reference=x"], ["new=x"], ["en=x"], ["a=x", "a=y"], ["a="]],
)
def test_what_names_no_system_is_refused(argument: list[str]) -> None:
    with pytest.raises(DoctuneError, match="wanted"):
        named_files(argument)


@pytest.mark.parametrize("pair", [("nobody", "base"), ("base", "base")])
def test_what_cannot_be_compared_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(DoctuneError, match="to compare"):
        compare(rows(), TRAIN, outputs(*OUTPUTS), PARAMS, pair)


def test_general_text_needs_the_system_that_others_are_compared_with() -> None:
    for names, wanted in ((("lora",), "general text by 'base'"), (("base", "lora"), None)):
        elsewhere = (GENERAL, outputs(*names, rows=slice(2, None)))
        if wanted:
            with pytest.raises(DoctuneError, match=wanted):
                compare(rows(), TRAIN, outputs("base", "lora"), PARAMS, ("lora", "base"), general=elsewhere)
        else:
            found = compare(rows(), TRAIN, outputs("base", "lora"), PARAMS, ("lora", "base"), general=elsewhere)
            assert found.tables[-1].title.startswith("General text")


def test_the_command_puts_three_systems_on_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from doctune.cli import app

    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "splits" / "test.jsonl", rows())
    write_jsonl(tmp_path / "splits" / "train.jsonl", TRAIN)
    measured = {"nats": 12.0, "tokens": 6}  # as translate stages write it; files of other tools have no such thing
    for name, texts in OUTPUTS.items():
        extra = measured if name == "lora" else {}
        write_jsonl(tmp_path / f"{name}.jsonl", [{"id": f"r{i}", "hyp": text, **extra} for i, text in enumerate(texts)])
    arguments = [part for name in OUTPUTS for part in ("--system", f"{name}={name}.jsonl")]
    command = ["report", *arguments, "--splits", "splits", "--out", "out.html"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    written = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "lora minus base" in written and "4 systems" in written and "7.39" in written  # exp(12 / 6)
    assert outputs_of(rows(), named_files(["base=base.jsonl"])) == {"base": Output(OUTPUTS["base"])}
    write_jsonl(tmp_path / "general.jsonl", GENERAL)
    write_jsonl(tmp_path / "general.base.jsonl", [{"id": row["id"], "hyp": row["zh"]} for row in GENERAL])
    values = PARAMS.model_dump() | {"bootstrap_samples": 100}
    (tmp_path / "params.yaml").write_text(f"evaluate: {json.dumps(values)}\n", encoding="utf-8")
    general = [part for name in ("base", "full") for part in ("--general", f"{name}=general.base.jsonl")]
    done = CliRunner().invoke(app, [*command, *general])
    assert done.exit_code == 0, done.output
    assert "General text, 2 rows" in (tmp_path / "out.html").read_text(encoding="utf-8")


CHROMIUM = shutil.which("chromium")


def chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--enable-logging=stderr", "--v=0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)


# The narrow frame is the telephone, the page around it measures: headless windows are never narrower than 500 pixels.
# Contrast as WCAG has it, of every text against the nearest background behind it.
PROBE = """<!doctype html><meta charset=utf-8><iframe id=f width=360 height=700 sandbox="allow-same-origin"
srcdoc="PAGE"></iframe><p id=out></p><script>
const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const parts = (css) => css.match(/[0-9.]+/g).map(Number);
const light = (css) => { const [r, g, b] = parts(css).map(channel); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
f.onload = () => {
  const page = f.contentDocument, look = (e) => f.contentWindow.getComputedStyle(e);
  const behind = (e) => !e ? "rgb(255, 255, 255)" : parts(look(e).backgroundColor)[3] === 0 ? behind(e.parentElement)
    : look(e).backgroundColor;
  let least = [99, ""];
  for (const details of page.querySelectorAll("details")) details.open = true;
  for (const e of page.querySelectorAll("body *:not(title)")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(e.closest("svg") ? look(e).fill : look(e).color), light(behind(e))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < least[0]) least = [contrast, e.tagName + ": " + e.textContent.slice(0, 40)];
  }
  out.textContent = JSON.stringify({scroll: page.scrollingElement.scrollWidth, width: f.contentWindow.innerWidth,
    font: look(page.body).fontSize, paper: look(page.body).backgroundColor, contrast: least[0], worst: least[1],
    chart: page.querySelector(".charts figure svg").getBoundingClientRect().width});
};</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: the page is not tried in a browser")
@pytest.mark.parametrize(("scheme", "paper"), [("1", "rgb(255, 255, 255)"), ("0", "rgb(20, 25, 31)")])
def test_a_browser_shows_the_page_on_a_telephone(html: str, tmp_path: Path, scheme: str, paper: str) -> None:
    probe = PROBE.replace("PAGE", html.replace("&", "&amp;").replace('"', "&quot;"))
    (tmp_path / "probe.html").write_text(probe, encoding="utf-8")
    dark = f"--blink-settings=preferredColorScheme={scheme}"
    done = chromium(tmp_path, dark, "--dump-dom", "--virtual-time-budget=3000", (tmp_path / "probe.html").as_uri())
    found = json.loads(unescape(done.stdout.partition('<p id="out">')[2].partition("</p>")[0]))
    assert found["scroll"] <= found["width"] == 360 and found["chart"] > 200
    assert found["font"] == "16px" and found["paper"] == paper  # the policy lets its own style in
    assert found["contrast"] >= 4.5, found["worst"]
    assert "CONSOLE" not in done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: the page is not tried in a browser")
def test_a_browser_draws_the_page_without_a_complaint(html: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    picture = f"--screenshot={tmp_path / 'wide.png'}"
    done = chromium(tmp_path, picture, "--window-size=1280,2000", (tmp_path / "report.html").as_uri())
    assert (tmp_path / "wide.png").stat().st_size > 20_000
    assert "CONSOLE" not in done.stderr, done.stderr
    # and a complaint would have been heard: the page with one foreign script in it is refused by its own policy
    (tmp_path / "foreign.html").write_text(html.replace("</body>", "<script>1</script></body>"), encoding="utf-8")
    assert "CONSOLE" in chromium(tmp_path, "--dump-dom", (tmp_path / "foreign.html").as_uri()).stderr


def test_without_training_rows_nobody_says_what_is_new() -> None:
    rows = [
        {"id": str(n), "en": f"Door {n}.", "zh": f"{n} 号门。", "page": "a.md", "kind": "paragraph"} for n in range(4)
    ]
    texts = [row["zh"] for row in rows]
    html = render(compare(rows, [], {"one": Output(texts), "two": Output(texts[::-1])}, PARAMS, ("one", "two")))
    assert (
        "training source" not in html and "New rows" not in html and "2 systems on the same 4 rows. Intervals" in html
    )
