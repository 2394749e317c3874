"""The data card: its numbers, what it says of source and licence, pictures and tables, the stage."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from doctune.card import Reports, describe, write
from doctune.card.facts import LENGTH_EDGES
from doctune.card.markdown import card_markdown
from doctune.errors import DoctuneError
from doctune.files import write_json, write_jsonl
from doctune.renderings import renderings
from doctune.section import read_yaml
from doctune.sources import Page, write_pages
from tasks.card import main

ROOT = Path(__file__).parents[1]


def row(number: int, en: str, zh: str, page: str, kind: str = "paragraph", **more: Any) -> dict[str, Any]:
    line = [number, number]
    base = {"id": str(number), "en": en, "zh": zh, "page": page, "en_lines": line, "zh_lines": line, "section": ""}
    return base | {"kind": kind, "method": "comment", "score": 0.98} | more


PAIRS = [
    row(1, "Moorings", "系泊", "docks/rope.md", "heading"),
    row(2, "A rope that is wet slips.", "湿的缆绳会打滑。", "docks/rope.md"),
    row(3, "Moorings", "系缆", "docks/anchor.md", "heading", method="structure", score=0.83),
    row(4, "**Moorings**", "系泊", "tides/_index.md", "heading"),
    row(5, "Wait for the tide.", "等待涨潮。", "tides/_index.md", "list_item"),
    row(6, "The harbour", "港口", "_index.md", "title"),
]
SPLITS = {"train": PAIRS[:3], "valid": PAIRS[3:5], "test": PAIRS[5:]}
PAGES = [
    *(("en", path) for path in ("docks/rope.md", "docks/anchor.md", "docks/new.md", "tides/_index.md", "_index.md")),
    *(("zh", path) for path in ("docks/rope.md", "docks/anchor.md", "tides/_index.md", "_index.md")),
]
CRAWL = {
    "source": "git",
    "name": "harbour",
    "url": "https://example.org/harbour.git",
    "ref": "main",
    "revision": "c0ffee",
    "pages": {"en": 5, "zh": 4},
    "licence": "CC-BY-4.0",
    "attribution": "The Harbour | Authors",
}
ALIGN = {
    "pages": {"english": 5, "chinese": 4, "both": 4, "with_pairs": 4},
    "seen": {"english_blocks": 9, "chinese_blocks": 8},
    "dropped": {"untranslated": 2, "code_differs": 1},
    "masked": {"email": 1},
}
CLEAN = {"rows": 1, "identical": 0, "near": 0}
SPLIT = {
    "rows": {"train": 3, "valid": 2, "test": 1},
    "removed": {"train_repeated": 4, "test_over_cap": 0},
    "leakage": {"test_in_train": CLEAN, "test_in_valid": CLEAN | {"threshold": {"jaccard": 0.8}}, "checked": 6},
}
REPORTS = Reports(CRAWL, ALIGN, SPLIT)


def facts(**changes: Any) -> dict[str, Any]:
    reports = Reports(
        CRAWL | changes.get("crawl", {}), ALIGN | changes.get("align", {}), SPLIT | changes.get("split", {})
    )
    return describe(iter(PAGES), iter(PAIRS), {k: iter(v) for k, v in SPLITS.items()}, reports, renderings(PAIRS))


def test_numbers() -> None:
    found = facts()
    assert found["pairs"] == {
        "total": 6,
        "distinct": 5,
        "distinct_sources": 4,
        "repeats": 0.1667,
        "most_frequent": 2,
        "by_kind_and_method": [
            {"kind": "heading", "method": "comment", "pairs": 2},
            {"kind": "heading", "method": "structure", "pairs": 1},
            {"kind": "list_item", "method": "comment", "pairs": 1},
            {"kind": "paragraph", "method": "comment", "pairs": 1},
            {"kind": "title", "method": "comment", "pairs": 1},
        ],
    }
    assert found["lengths"]["zh"] == {"mean": 3.5, "p05": 2, "p25": 2, "p50": 2, "p75": 5, "p95": 8, "most": 8}
    assert found["scores"]["structure"]["p50"] == 0.83
    assert found["splits"]["train"] == {
        "rows": 3,
        "pages": 2,
        "characters_en": 41,
        "characters_zh": 12,
        "by_kind": {"heading": 2, "paragraph": 1},
    }
    assert found["sections"] == [
        {"section": "docks", "english": 3, "chinese": 2, "both": 2, "pairs": 3},
        {"section": "tides", "english": 1, "chinese": 1, "both": 1, "pairs": 2},
        {"section": "(root)", "english": 1, "chinese": 1, "both": 1, "pairs": 1},
    ]
    assert found["renderings"] == {"strings": 1, "differ_in_wording": 1, "differ_in_marks": 0, "places": 2}
    assert found["dropped"] == ALIGN["dropped"] and found["masked"] == {"email": 1}


def test_histograms_count_every_pair_once() -> None:
    histograms = facts()["histograms"]
    assert sum(bin["pairs"] for bin in histograms["ratio"]) == sum(bin["pairs"] for bin in histograms["scores"]) == 6
    assert [round(sum(bin[lang] for bin in histograms["lengths"]), 3) for lang in ("en", "zh")] == [1.0, 1.0]
    assert [bin["characters"] for bin in histograms["lengths"]] == list(LENGTH_EDGES)
    assert next(bin for bin in histograms["scores"] if bin["score"] == 0.825)["pairs"] == 1


def test_many_folders_end_in_one_line() -> None:
    pages = [("en", f"part{number:02}/a.md") for number in range(25)]
    sections = describe(pages, PAIRS, SPLITS, REPORTS, [])["sections"]
    assert len(sections) == 21 and sections[-1]["section"] == "(8 others)" and sections[-1]["english"] == 8
    assert sum(section["pairs"] for section in sections) == 6


def test_the_card_says_where_it_is_from_and_what_is_in_it() -> None:
    card = card_markdown(facts())
    metadata = card.split("---\n")[1]
    assert 'license: "cc-by-4.0"' in metadata and 'size_categories: ["n<1K"]' in metadata
    for said in (
        "- revision: c0ffee",
        "- licence of the pages: CC-BY-4.0",
        "- attribution: The Harbour \\| Authors",
        "- changes: pages were cut into blocks",
        "| heading | 2 | 1 |",
        "| all | 5 | 1 |",
        "| code\\_differs | 1 |",
        "| english blocks | 9 |",
        "replaced on both sides of a pair (1 email)",
        "| train\\_repeated | 4 |",
        "| train | 3 | 2 | 41 | 12 | 2 | 0 | 1 | 0 |",
        "| test\\_in\\_train | 1 | 0 | 0 |  |",
        "| test\\_in\\_valid | 1 | 0 | 0 | 0.8 |",
        "- checked: 6",
        "1 English texts have more than one Chinese rendering, in 2 places",
        "| docks | 3 | 2 | 2 | 3 |",
    ):
        assert said in card, said
    assert "test\\_over\\_cap" not in card, "what removed nothing has no line"


def test_a_licence_that_nobody_stated_is_not_made_up() -> None:
    card = card_markdown(facts(crawl={"licence": "", "attribution": ""}))
    assert 'license: "unknown"' in card and "not stated (`crawl.licence` in params.yaml)" in card
    assert "attribution" not in card and "changes:" not in card


def test_no_text_of_the_pages_is_in_the_card(tmp_path: Path) -> None:
    write(tmp_path / "card", facts())
    for file in (tmp_path / "card").glob("*.[mj]*"):
        text = file.read_text(encoding="utf-8")
        assert not [pair["zh"] for pair in PAIRS if pair["zh"] in text], file.name
        assert "A rope that is wet" not in text


def test_the_same_corpus_gives_the_same_bytes(tmp_path: Path) -> None:
    def made(name: str) -> dict[str, bytes]:
        write(tmp_path / name, facts())
        return {file.name: file.read_bytes() for file in sorted((tmp_path / name).iterdir())}

    first = made("a")
    drawn = [f"{name}.{end}" for name in ("dropped", "kinds", "lengths", "ratio", "scores") for end in ("json", "png")]
    assert sorted(first) == sorted(["README.md", "card.json", *drawn])
    assert made("b") == first
    assert set(re.findall(r"!\[[^\]]*\]\((\w+\.png)\)", first["README.md"].decode())) == {
        name for name in drawn if name.endswith("png")
    }


def test_what_dvc_draws_is_in_the_tables(tmp_path: Path) -> None:
    write(tmp_path / "card", facts())
    drawn = set()
    for plot in read_yaml(ROOT / "dvc.yaml")["plots"]:
        if isinstance(plot, str):
            if plot.startswith("reports/card/"):
                assert (tmp_path / "card" / Path(plot).name).exists()
            continue
        [(_, spec)] = plot.items()
        for path, columns in spec["y"].items():
            if path.startswith("reports/card/"):
                rows = json.loads((tmp_path / "card" / Path(path).name).read_text(encoding="utf-8"))
                assert {spec["x"], *([columns] if isinstance(columns, str) else columns)} <= rows[0].keys()
                drawn.add(Path(path).name)
    assert drawn == {"lengths.json", "ratio.json", "scores.json", "kinds.json", "dropped.json"}


def test_nothing_dropped_is_drawn_as_nothing(tmp_path: Path) -> None:
    write(tmp_path / "card", facts(align={"dropped": {}, "masked": {}}, split={"leakage": {}, "removed": {}}))
    card = (tmp_path / "card" / "README.md").read_text(encoding="utf-8")
    assert "none was found" in card and "Not counted." in card and card.count("Nothing.") == 2
    assert (tmp_path / "card" / "dropped.png").stat().st_size > 1000


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.chdir(tmp_path)
    write_pages(Path("pages.parquet"), [Page(lang, path, "c0ffee", "甲") for lang, path in PAGES])
    write_jsonl(Path("pairs.jsonl"), PAIRS)
    for name, rows in SPLITS.items():
        write_jsonl(Path("splits", f"{name}.jsonl"), rows)
    for name, report in (("crawl", CRAWL), ("align", ALIGN), ("split", SPLIT)):
        write_json(Path(f"{name}.json"), report)
    files = {name: Path(f"{name}.json") for name in ("crawl", "align", "split")}
    files |= {"pages": Path("pages.parquet"), "pairs": Path("pairs.jsonl"), "splits": Path("splits")}
    return files | {"out": Path("card"), "renderings": Path("renderings.jsonl")}


def test_stage(inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    main(**inputs)
    assert "6 pairs (16.7% repeats), licence CC-BY-4.0; 1 English texts" in capsys.readouterr().out
    assert json.loads(Path("card/card.json").read_text(encoding="utf-8")) == json.loads(json.dumps(facts()))
    [listed] = [json.loads(line) for line in Path("renderings.jsonl").read_text(encoding="utf-8").splitlines()]
    assert listed["en"] == "Moorings" and "Moorings" in Path("renderings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        pytest.param("pages.parquet", "pages.parquet does not exist", id="no-pages"),
        pytest.param("pairs.jsonl", "pairs.jsonl does not exist", id="no-pairs"),
        pytest.param("splits/valid.jsonl", "valid.jsonl does not exist", id="no-split"),
        pytest.param("align.json", "align.json does not exist", id="no-report"),
    ],
)
def test_a_missing_input_leaves_nothing_behind(inputs: dict[str, Path], broken: str, said: str) -> None:
    Path(broken).unlink()
    with pytest.raises(DoctuneError, match=said):
        main(**inputs)
    assert not Path("card").exists() and not Path("renderings.jsonl").exists()


def test_other_wrong_inputs_are_refused(inputs: dict[str, Path]) -> None:
    with pytest.raises(DoctuneError, match=r"wanted --renderings to name a \.jsonl file"):
        main(**inputs | {"renderings": Path("renderings.md")})
    Path("pages.parquet").write_text("no table")
    with pytest.raises(DoctuneError, match="wanted a table with columns"):
        main(**inputs)
