"""Splits: whole pages, no shared sources, caps, stability, and a leakage count of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from doctune.errors import DoctuneError
from doctune.leakage import leakage
from doctune.section import validate
from doctune.splitting import SplitParams, page_split, split

KNOBS: dict[str, Any] = {"seed": 7, "test": 0.2, "valid": 0.1, "max_test": 1000, "max_valid": 1000, "train_only": []}
PARAMS = SplitParams(**KNOBS)


def row(page: str, number: int, en: str | None = None, zh: str | None = None) -> dict[str, Any]:
    en = en or f"Step {number} of page {page} asks for patience."
    return {
        "id": f"{page}-{number}",
        "page": page,
        "kind": "paragraph",
        "en": en,
        "zh": zh or f"第 {number} 步（{page}）",
    }


def corpus(pages: int, rows: int = 4) -> list[dict[str, Any]]:
    return [row(f"docs/p{page}.md", number) for page in range(pages) for number in range(rows)]


def of(name: str, count: int = 1, params: SplitParams = PARAMS) -> list[str]:
    """Paths of pages that belong to a split."""
    found = [f"docs/q{n}.md" for n in range(2000) if page_split(f"docs/q{n}.md", params) == name]
    return found[:count]


def test_whole_pages_in_about_the_asked_shares() -> None:
    splits, report = split(corpus(500), PARAMS)
    pages = {name: {r["page"] for r in rows} for name, rows in splits.items()}
    assert not (pages["train"] & pages["test"] or pages["train"] & pages["valid"] or pages["valid"] & pages["test"])
    assert sum(map(len, pages.values())) == 500
    assert 80 <= len(pages["test"]) <= 120 and 35 <= len(pages["valid"]) <= 65
    assert report["rows"] == {name: len(rows) for name, rows in splits.items()}
    assert report["pairs"] == 2000


def test_deterministic_and_stable_under_growth() -> None:
    small, report = split(corpus(100), PARAMS)
    assert (small, report) == split(corpus(100), PARAMS)
    grown, _ = split(corpus(150), PARAMS)
    for name, rows in small.items():
        assert {r["id"] for r in rows} <= {r["id"] for r in grown[name]}


def test_the_seed_moves_pages() -> None:
    other = SplitParams(**KNOBS | {"seed": 8})
    assert any(page_split(f"p{n}", PARAMS) != page_split(f"p{n}", other) for n in range(50))


@pytest.mark.parametrize(
    ("first", "second", "en", "reason"),
    [
        pytest.param("test", "train", "asks for **Patience** !", "train_source_in_test", id="test-source-in-train"),
        pytest.param("valid", "train", "`Asks` for\npatience", "train_source_in_valid", id="valid-source-in-train"),
        pytest.param("test", "valid", "[asks](/a/) for patience", "valid_source_in_test", id="test-source-in-valid"),
    ],
)
def test_sources_held_out_leave_the_other_split(first: str, second: str, en: str, reason: str) -> None:
    held, other = of(first)[0], of(second)[0]
    rows = [*corpus(100), row(held, 1, en="Asks for patience."), row(other, 2, en=en)]
    splits, report = split(rows, PARAMS)
    ids = {name: {r["id"] for r in found} for name, found in splits.items()}
    assert f"{held}-1" in ids[first] and f"{other}-2" not in ids[second]
    assert report["removed"][reason] == 1
    assert all(
        counts[k] == 0 for counts in report["leakage"].values() for k in ("identical", "same_letters", "pages", "ids")
    )


def test_repeated_pairs_leave_and_other_renderings_stay() -> None:
    page = of("train")[0]
    rows = [
        *corpus(100),
        row(page, 1, "Delete it.", "删除它。"),
        row(page, 2, "delete **it**", "删除它"),
        row(page, 3, "Delete it.", "将其删除。"),
    ]
    splits, report = split(rows, PARAMS)
    assert [r["id"] for r in splits["train"] if r["page"] == page] == [f"{page}-1", f"{page}-3"]
    assert report["removed"]["train_repeated"] == 1


def test_caps_leave_rows_out_of_every_split() -> None:
    params = SplitParams(**KNOBS | {"max_test": 10, "max_valid": 5})
    splits, report = split(corpus(200), params)
    assert (len(splits["test"]), len(splits["valid"])) == (10, 5)
    total = sum(map(len, splits.values())) + report["removed"]["test_over_cap"] + report["removed"]["valid_over_cap"]
    assert total == 800
    full, _ = split(corpus(200), PARAMS)
    assert len(splits["train"]) == len(full["train"])
    assert [r for r in full["test"] if r in splits["test"]] == splits["test"], "the rows keep their order"


@pytest.mark.parametrize(
    ("pattern", "page"),
    [
        pytest.param("reference/kubernetes-api/*", "reference/kubernetes-api/a/b.md", id="folder"),
        pytest.param("**/generated/*", "reference/kubectl/generated/x/y.md", id="anywhere"),
    ],
)
def test_train_only(pattern: str, page: str) -> None:
    params = SplitParams(**KNOBS | {"test": 0.6, "valid": 0.39, "train_only": [pattern]})
    assert page_split(page, params) == "train"
    assert {page_split(f"concepts/{n}.md", params) for n in range(40)} >= {"test", "valid"}


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        pytest.param(of("train", 3), "raise split.valid .* raise split.test", id="no-test-no-valid"),
        pytest.param(
            of("train", 3) + of("valid", 2),
            "got train 3 rows of 3 pages, valid 2 rows of 2 pages, test 0 rows of 0 pages",
            id="no-test",
        ),
        pytest.param(of("test", 3) + of("valid", 2), "lower split.test and split.valid", id="no-train"),
        pytest.param([], "from 0 pairs", id="no-rows"),
    ],
)
def test_an_empty_split_is_an_error(pages: list[str], message: str) -> None:
    with pytest.raises(DoctuneError, match=message):
        split([row(page, 1) for page in pages], PARAMS)


def test_params_leave_room_for_train() -> None:
    with pytest.raises(DoctuneError, match="must be below 1"):
        validate(SplitParams, KNOBS | {"test": 0.6, "valid": 0.4}, "split:")


def test_leakage_sees_what_the_splitter_would_miss() -> None:
    train = [row("a.md", 1, "Use **Pods**."), row("b.md", 2, "Stop.")]
    test = [row("c.md", 1, "use pods"), row("b.md", 3, "Stop."), row("d.md", 1, "Go!")]
    assert leakage(train, [], test) == {
        "test_in_train": {"rows": 3, "identical": 1, "same_letters": 2, "pages": 1, "ids": 0},
        "valid_in_train": {"rows": 0, "identical": 0, "same_letters": 0, "pages": 0, "ids": 0},
        "test_in_valid": {"rows": 3, "identical": 0, "same_letters": 0, "pages": 0, "ids": 0},
    }


def test_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.split import main

    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(json.dumps({"split": KNOBS}))
    Path("pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in corpus(60)))
    main(Path("pairs.jsonl"), Path("splits"), Path("report.json"))
    counts = {name: len(Path(f"splits/{name}.jsonl").read_text().splitlines()) for name in ("train", "valid", "test")}
    assert counts == json.loads(Path("report.json").read_text())["rows"]
    assert sum(counts.values()) == 240
