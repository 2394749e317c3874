"""Terms as a task of their own: from the site's glossary pages, from sources of terms, and through split and mixing."""

import json
from pathlib import Path
from typing import Any

import pytest

from doctune.cleaning import reason_to_drop
from doctune.errors import DoctuneError
from doctune.extra.collect import collect
from doctune.extra.glossary import SOURCE, terms
from doctune.extra.params import ExtraParams
from doctune.mixing import is_term, mix
from doctune.section import validate
from doctune.splitting import SplitParams, page_split, split
from tests.test_extra import LIMITS
from tests.test_mixing import OPEN
from tests.test_splitting import KNOBS

GLOBS = ["reference/glossary/*"]


def knobs(*sources: dict[str, Any], **more: Any) -> ExtraParams:
    return validate(ExtraParams, OPEN | {"sources": list(sources)} | more, "extra:")


def title(page: str, en: str, zh: str, line: int = 2, kind: str = "title") -> dict[str, Any]:
    return {
        "id": f"{page}-{line}",
        "page": f"reference/glossary/{page}.md",
        "kind": kind,
        "en": en,
        "zh": zh,
        "zh_lines": [line, line],
    }


TAINT = title("taint", "Taint", "污点")
SAID = "A mark that keeps Pods away from a node."


@pytest.mark.parametrize(
    ("row", "found"),
    [
        pytest.param(TAINT, True, id="a title"),
        pytest.param({**TAINT, "page": "concepts/taint.md"}, False, id="of another page"),
        pytest.param({**TAINT, "kind": "heading"}, False, id="a heading"),
        pytest.param(title("taint", SAID, "让 Pod 远离节点的标记。"), False, id="a description"),
        pytest.param(title("taint", SAID.rstrip("."), "让 Pod 远离节点的标记。"), False, id="a description on one side"),
        pytest.param(title("taint", "Taint " * 20, "污点" * 20), False, id="too long"),
    ],
)  # fmt: skip
def test_what_is_a_term(row: dict[str, Any], found: bool) -> None:
    rows = terms([row], knobs(glossary=GLOBS, glossary_weight=2.5))
    assert bool(rows) is found
    if rows:
        assert rows == [
            {
                **row,
                "id": rows[0]["id"],
                "kind": "term",
                "task": "term",
                "weight": 2.5,
                "synthetic": False,
                "source": SOURCE,
            }
        ]
        assert rows[0]["id"] != row["id"] and is_term(rows[0]) and not is_term(row)


def test_a_page_gives_one_term_its_first_title() -> None:
    rows = [title("drain", "Drain nodes", "清空节点", line=9), title("drain", "Drain", "腾空", line=2), TAINT]
    assert [(row["en"], row["zh"]) for row in terms(rows, knobs(glossary=GLOBS))] == [
        ("Drain", "腾空"),
        ("Taint", "污点"),
    ]


def test_without_globs_there_is_no_term() -> None:
    assert terms([TAINT], knobs()) == []


def test_a_term_is_learnt_beside_the_title_that_it_is_and_weighed() -> None:
    own = [TAINT, title("drain", "Drain", "腾空")]
    params = knobs(glossary=GLOBS, glossary_weight=2.0)
    mixed, counts = mix(own, terms(own, params), params)
    assert [(row["en"], row.get("task")) for row in mixed[:2]] == [("Taint", None), ("Drain", None)]
    assert sorted(row["en"] for row in mixed[2:]) == ["Drain", "Drain", "Taint", "Taint"]
    assert all(row["task"] == "term" for row in mixed[2:]) and len({row["id"] for row in mixed}) == 6
    assert counts["sources"] == {SOURCE: {"rows": 2, "seen": 4}} and counts["dropped"] == {}
    capped, counts = mix(own, terms(own, params), knobs(glossary_weight=2.0, max_share=0.5))
    assert len(capped) == 4 and counts["dropped"] == {"over_max_share": 2}


def test_no_term_of_a_page_of_test_or_valid_is_in_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.split import main

    pairs = [
        row
        for n in range(60)
        for row in (
            title(f"t{n}", f"Term{n} name", f"术语{n}"),
            title(f"t{n}", f"It is term {n} of{n} all{n} those{n}.", f"这是第 {n} 个{n}。", line=5),
            title(f"t{n}", f"More{n} about{n} it{n} follows{n}.", f"更{n}多{n}内{n}容{n}。", line=9, kind="paragraph"),
        )
    ]
    held = next(n for n in range(60) if page_split(pairs[3 * n]["page"], SplitParams(**KNOBS)) == "test")
    train = next(n for n in range(60) if page_split(pairs[3 * n]["page"], SplitParams(**KNOBS)) == "train")
    pairs[3 * train] = {**pairs[3 * train], "en": f"**term{held}** name", "zh": "别的说法"}  # a test title in train
    extra = OPEN | {"glossary": GLOBS, "glossary_weight": 1.0}
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(json.dumps({"split": KNOBS, "extra": extra}), encoding="utf-8")
    for name, rows in (("pairs", pairs), ("extra", [])):
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    main(Path("pairs.jsonl"), Path("since.parquet"), Path("splits"), Path("report.json"), Path("extra.jsonl"))
    rows = {
        name: [json.loads(line) for line in Path(f"splits/{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("train", "valid", "test")
    }
    found = [row for row in rows["train"] if is_term(row)]
    assert not [row for name in ("valid", "test") for row in rows[name] if is_term(row)]
    pages = {row["page"] for row in rows["train"] if not is_term(row)}
    assert {row["page"] for row in found} == pages - {pairs[3 * train]["page"]}, (
        "each train page's, but for the test title"
    )
    assert not pages & {row["page"] for name in ("valid", "test") for row in rows[name]}
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert report["rows_by_kind"]["train"]["term"] == len(found) == report["extra"]["sources"][SOURCE]["rows"]


@pytest.mark.parametrize(
    ("en", "zh", "as_term", "as_text"),
    [
        pytest.param("etcd", "etcd", None, "untranslated", id="a name that stays"),
        pytest.param("HPA", "Pod 水平自动扩缩器", None, "length_ratio", id="an abbreviation written out"),
        pytest.param("Taint", "污点", None, None, id="both"),
        pytest.param("Taint", "", "empty", "empty", id="no rendering"),
        pytest.param("`--cidr`", "`--cidr`", "code_only", "untranslated", id="code"),
        pytest.param("Node pools " * 9, "节点池" * 9, "overlong", None, id="no term"),
    ],
)
def test_a_source_of_terms_is_cleaned_as_terms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, en: str, zh: str, as_term: str | None, as_text: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reason_to_drop(en, zh, LIMITS) == as_text
    Path("extra").mkdir()
    Path("extra/terms.tsv").write_text(f"en\tzh\nToleration\t容忍度\n{en}\t{zh}\n", encoding="utf-8")
    source = {"name": "words", "format": "tsv", "path": "terms.tsv", "licence": "ours", "task": "term"}
    rows, report = collect(knobs(source), LIMITS, Path("memo"))
    assert report["sources"]["words"]["dropped"] == ({as_term: 1} if as_term else {})
    assert report["sources"]["words"]["task"] == "term"
    assert (rows[0]["en"], rows[0]["kind"], rows[0]["task"]) == ("Toleration", "term", "term")
    assert len(rows) == 1 + (as_term is None)


def test_a_source_of_translations_has_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("extra").mkdir()
    Path("extra/pairs.tsv").write_text("en\tzh\nA Pod runs.\tPod 在运行。\n", encoding="utf-8")
    source = {"name": "pairs", "format": "tsv", "path": "pairs.tsv", "licence": "ours"}
    rows, report = collect(knobs(source), LIMITS, Path("memo"))
    assert "task" not in rows[0] and rows[0]["kind"] == "text" and report["sources"]["pairs"]["task"] == "translate"


def test_another_task_is_refused() -> None:
    source = {"name": "words", "format": "tsv", "path": "terms.tsv", "licence": "ours", "task": "summarise"}
    with pytest.raises(DoctuneError, match="task: Input should be 'translate' or 'term', got 'summarise'"):
        knobs(source)


def test_terms_pass_the_split_once_each_and_never_beside_a_test_source() -> None:
    pairs = [title(f"t{n}", f"Term{n} name", f"术语{n}") for n in range(40)]
    by_split = {
        name: [row for row in pairs if page_split(row["page"], SplitParams(**KNOBS)) == name]
        for name in ("train", "test")
    }
    lists = [
        {**row, "id": f"{list_}-{row['id']}", "page": f"extra/{list_}", "kind": "term", "task": "term", "weight": 1.0, "synthetic": False, "source": list_}
        for row in pairs
        for list_ in ("one", "two")
    ]  # fmt: skip
    splits, _ = split([*pairs, *lists], SplitParams(**KNOBS | {"near_copies": 1}))
    found = [row["en"] for row in splits["train"] if is_term(row)]
    assert sorted(found) == sorted(row["en"] for row in by_split["train"])
    assert by_split["test"] and not [row for name in ("valid", "test") for row in splits[name] if is_term(row)]
