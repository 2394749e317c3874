"""The one-page report: differences, untrusted texts, unknown metrics, any number of systems, and a real browser."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctune.errors import DoctuneError
from doctune.files import write_jsonl
from doctune.report.charts import Bar, Group, Line, _ticks, bars, lines
from doctune.report.diff import Piece, pieces
from doctune.report.gather import Page, checked_gates, compare, curve_points, metric_names, p_values, page_of
from doctune.report.page import render, seen
from doctune.report.systems import named_files, outputs_of
from doctune.scoring import EvaluateParams
from doctune.scoring.evaluation import evaluate, summarise
from doctune.scoring.report import largest_changes, slice_scores

PARAMS = EvaluateParams(bootstrap_samples=100, seed=3, largest_changes=5)
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
OUTPUTS = {
    "base": [row[2] for row in TEXTS],
    "full": [row[3] for row in TEXTS],
    "lora": [TEXTS[0][3], EVIL, *(row[3] for row in TEXTS[2:])],
}


@pytest.fixture(scope="module")
def page() -> Page:
    curves = {"lora": {"loss": [(10.0, 3.0), (20.0, 2.0)], "eval_loss": [(20.0, 2.2)]}}
    return compare(rows(), TRAIN, OUTPUTS, PARAMS, ("lora", "base"), curves, GATES)


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


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
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
    for text in ("full minus base", "lora minus base", "✗ failed", "✓ passed", "91.27", "Loss, lora", "eval loss"):
        assert text in html
    assert {difference.title for difference in page.differences} >= {"full minus base", "lora minus base, new rows"}
    assert html.count("<article>") == len(page.changes) > 0
    assert all(abs(sum(share for _, share in ratios) - 100) < 1e-9 for ratios in page.ratios.values())


def test_texts_are_escaped_and_the_page_reaches_for_nothing(html: str) -> None:
    assert "<script" not in html and "<img" not in html and "<b>leakage" not in html
    assert "⟨U+202E⟩" in html and "\u202e" not in html
    assert not re.search(r"""(src|href)\s*=|url\(|@import|https?://|\sstyle=""", html)
    assert "default-src &#39;none&#39;" in html and "unsafe" not in html


def test_the_same_facts_are_the_same_bytes(html: str) -> None:
    curves = {"lora": {"loss": [(10.0, 3.0), (20.0, 2.0)], "eval_loss": [(20.0, 2.2)]}}
    assert render(compare(rows(), TRAIN, OUTPUTS, PARAMS, ("lora", "base"), curves, GATES)) == html


def test_metrics_json_with_metrics_nobody_told_the_page_of() -> None:
    outputs = {"base": OUTPUTS["base"], "tuned": OUTPUTS["full"]}
    evaluation = evaluate(rows(), TRAIN, outputs)
    summary = summarise(evaluation, PARAMS)
    summary["tuned"] |= {"new_fangled": 77.7, "new_fangled_low": 70.1, "new_fangled_high": 80.2}
    summary["general"] = {"base": {"chrf": 41.3}, "tuned": {"chrf": 40.9}}
    summary["gain"] |= {"new_fangled": 1.5, "new_fangled_ar_p_value": 0.0321}
    slices, found = slice_scores(evaluation, PARAMS), largest_changes(evaluation, 5)
    html = render(
        page_of(evaluation, summary, slices, found, ("tuned", "base"), breakdowns={"Terms": [{"term": "灯"}]})
    )
    for text in (
        "new fangled",
        "70.1 to 80.2",
        "General text",
        "40.9",
        "ar p = 0.0321",
        "No promotion",
        "灯",
        "length ratio",
    ):
        assert text in html


def test_metric_names_and_p_values() -> None:
    gain = {"bleu": 1.0, "bleu_low": 0.5, "bleu_high": 2.0, "p_value": 0.01, "chrf": 2.0, "chrf_p_value": 0.02}
    assert metric_names([gain]) == ["bleu", "chrf"]
    assert p_values(gain, "bleu") == [("", 0.01)] and p_values(gain, "chrf") == [("", 0.02)]


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
    "argument", [["base"], ["=x"], ["a b=x"], ["memory=x"], ["reference=x"], ["a=x", "a=y"], ["a="]]
)
def test_what_names_no_system_is_refused(argument: list[str]) -> None:
    with pytest.raises(DoctuneError, match="wanted"):
        named_files(argument)


@pytest.mark.parametrize("pair", [("nobody", "base"), ("base", "base")])
def test_what_cannot_be_compared_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(DoctuneError, match="to compare"):
        compare(rows(), TRAIN, OUTPUTS, PARAMS, pair)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, html: str) -> None:
    from typer.testing import CliRunner

    from doctune.cli import app

    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "splits" / "test.jsonl", rows())
    write_jsonl(tmp_path / "splits" / "train.jsonl", TRAIN)
    for name, texts in OUTPUTS.items():
        write_jsonl(tmp_path / f"{name}.jsonl", [{"id": f"r{i}", "hyp": text} for i, text in enumerate(texts)])
    arguments = [part for name in OUTPUTS for part in ("--system", f"{name}={name}.jsonl")]
    done = CliRunner().invoke(app, ["report", *arguments, "--splits", "splits", "--out", "out.html"])
    assert done.exit_code == 0, done.output
    written = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "lora minus base" in written and "4 systems" in written
    assert outputs_of(rows(), named_files(["base=base.jsonl"])) == {"base": OUTPUTS["base"]}


CHROMIUM = shutil.which("chromium")


def chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--enable-logging=stderr", "--v=0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: the page is not tried in a browser")
def test_a_browser_shows_the_page_on_a_telephone_without_a_complaint(html: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    # the narrow frame is the telephone; the outer page measures it (headless windows are never narrower than 500)
    probe = """<iframe id=f width=360 height=700 srcdoc="PAGE" sandbox="allow-same-origin"></iframe><p id=out></p><script>
    f.onload = () => { const d = f.contentDocument; out.textContent = "scroll " + d.documentElement.scrollWidth
      + " client " + d.documentElement.clientWidth + " font " + f.contentWindow.getComputedStyle(d.body).fontSize
      + " wide " + (d.querySelector(".charts figure svg").getBoundingClientRect().width > 200); }</script>"""
    escaped = html.replace("&", "&amp;").replace('"', "&quot;")
    (tmp_path / "probe.html").write_text("<!doctype html><meta charset=utf-8>" + probe.replace("PAGE", escaped))
    done = chromium(tmp_path, "--dump-dom", "--virtual-time-budget=3000", (tmp_path / "probe.html").as_uri())
    scroll, client, font, wide = re.search(r"scroll (\d+) client (\d+) font (\w+) wide (\w+)", done.stdout).groups()
    assert int(scroll) <= int(client) <= 360 and font == "16px" and wide == "true"  # 16px: the policy lets its style in
    assert "CONSOLE" not in done.stderr, done.stderr
    done = chromium(
        tmp_path,
        f"--screenshot={tmp_path / 'wide.png'}",
        "--window-size=1280,2000",
        (tmp_path / "report.html").as_uri(),
    )
    assert (tmp_path / "wide.png").stat().st_size > 20_000
    assert "CONSOLE" not in done.stderr, done.stderr
