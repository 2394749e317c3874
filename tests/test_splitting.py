"""Splits: whole pages, no shared or nearly shared sources, caps, time, and stability whatever is added or reordered."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctune.errors import DoctuneError
from doctune.near import NGRAMS, jaccard, ngrams
from doctune.section import validate
from doctune.sources import Page, write_pages
from doctune.splitting import NAMES, SplitParams, page_split, split
from doctune.text import match_key, words

KNOBS: dict[str, Any] = {
    "seed": 7,
    "test": 0.2,
    "valid": 0.1,
    "max_test": 1000,
    "max_valid": 1000,
    "train_only": [],
    "near": 0.8,
    "near_copies": 3,
    "generated": [],
    "max_generated": 0,
    "test_since": False,
}
PARAMS = SplitParams(**KNOBS)


def row(page: str, number: int, en: str | None = None, zh: str | None = None) -> dict[str, Any]:
    en = en or f"Step {number} of {page}."  # short, so that no two are near duplicates
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
    kept = {r["zh"] for r in splits["train"] if r["page"] == page}
    assert kept in ({"删除它。", "将其删除。"}, {"删除它", "将其删除。"})
    assert report["removed"]["train_repeated"] == 1


def test_caps_leave_rows_out_of_every_split() -> None:
    params = SplitParams(**KNOBS | {"max_test": 10, "max_valid": 5})
    splits, report = split(corpus(200), params)
    assert (len(splits["test"]), len(splits["valid"])) == (10, 5)
    total = sum(map(len, splits.values())) + report["removed"]["test_over_cap"] + report["removed"]["valid_over_cap"]
    assert total == 800
    assert len({r["page"] for r in splits["test"]}) > 5, "chosen by chance, not page by page"
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


# ---- near duplicates

HELD = "Before you drain a node, tell everybody who runs a workload on it."
NEARLY = "Before you drain a **node**, tell everyone who runs a workload on it!"


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        pytest.param("test", "train", "train_near_test", id="test-in-train"),
        pytest.param("valid", "train", "train_near_valid", id="valid-in-train"),
        pytest.param("test", "valid", "valid_near_test", id="test-in-valid"),
    ],
)
def test_near_duplicates_of_what_is_held_out_leave(first: str, second: str, reason: str) -> None:
    held, other = of(first)[0], of(second)[0]
    rows = [
        *corpus(100),
        row(held, 1, en=HELD),
        row(other, 2, en=NEARLY),
        row(other, 3, en="Drain a node, tell nobody."),
    ]
    splits, report = split(rows, PARAMS)
    ids = {name: {r["id"] for r in found} for name, found in splits.items()}
    assert f"{held}-1" in ids[first] and f"{other}-2" not in ids[second] and f"{other}-3" in ids[second]
    assert report["removed"][reason] == 1
    assert all(counts["near"] == 0 for counts in report["leakage"].values())
    loose, report = split(rows, SplitParams(**KNOBS | {"near": 1.0}))
    assert f"{other}-2" in {r["id"] for r in loose[second]} and report["removed"][reason] == 0


def copies(
    page: str,
    count: int,
    zh: str = "把第 {} 个节点从集群中移除之前请先通知在其上运行工作负载的所有人员以免他们措手不及",
) -> list[dict[str, Any]]:
    """Rows of which each has one word at its end of its own."""
    en = "before the node is taken out of the cluster tell all who run workloads on it that they must move to"
    return [row(page, number, f"{en} n{number}", zh.format(number)) for number in range(count)]


def test_few_near_copies_stay_in_train() -> None:
    page = of("train")[0]
    splits, report = split([*corpus(100), *copies(page, 9)], PARAMS)
    staying = [r["id"] for r in splits["train"] if r["page"] == page and r["en"].startswith("before")]
    assert len(staying) == 3 and report["removed"]["train_near_copies"] == 6
    again, _ = split([*corpus(120), *copies(page, 9)], PARAMS)
    assert staying == [r["id"] for r in again["train"] if r["page"] == page and r["en"].startswith("before")]


def test_other_translations_of_nearly_the_same_are_no_copies() -> None:
    page = of("train")[0]
    texts = [
        "请先通知所有人。",
        "移除节点前务必告知使用者。",
        "先迁走负载，再动节点。",
        "别忘了打招呼。",
        "通知完毕后再操作。",
    ]
    rows = [r | {"zh": zh} for r, zh in zip(copies(page, 5), texts, strict=True)]
    _, report = split([*corpus(100), *rows], PARAMS)
    assert report["removed"]["train_near_copies"] == 0


# ---- generated pages


def test_generated_rows_are_capped_in_train() -> None:
    generated = [row(f"reference/generated/g{n}.md", n) for n in range(60)]
    params = SplitParams(
        **KNOBS | {"generated": ["**/generated/*"], "train_only": ["**/generated/*"], "max_generated": 20}
    )
    splits, report = split([*corpus(100), *generated], params)
    few = {r["id"] for r in splits["train"] if "generated" in r["page"]}
    assert len(few) == 20 and report["removed"]["train_generated_over_cap"] == 40
    assert report["generated_rows"] == {"train": 20, "valid": 0, "test": 0}
    grown, _ = split([*corpus(120), *generated, row("reference/generated/new.md", 1)], params)
    more = {r["id"] for r in grown["train"] if "generated" in r["page"]}
    assert len(more) == 20 and len(few & more) >= 19, "one more row takes at most one's place"
    none, _ = split([*corpus(100), *generated], SplitParams(**params.model_dump() | {"max_generated": 0}))
    assert not any("generated" in r["page"] for r in none["train"])


def test_what_a_person_wrote_stays_rather_than_its_generated_copy() -> None:
    params = SplitParams(
        **KNOBS | {"generated": ["**/generated/*"], "train_only": ["**/generated/*"], "max_generated": 9}
    )
    written = [row(page, 1, f"Page {page} says so.", "如此说。") for page in of("train", 12)]
    printed = [r | {"page": f"a/generated/{n}.md", "id": f"g{n}"} for n, r in enumerate(written)]
    splits, report = split([*corpus(100), *printed, *written], params)
    assert {r["id"] for r in written} <= {r["id"] for r in splits["train"]}
    assert report["removed"]["train_repeated"] == 12 and report["generated_rows"]["train"] == 0


# ---- a split by time


def old_pages(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pages as they stood when they held just these rows."""
    texts: dict[str, str] = {}
    for r in rows:
        texts[r["page"]] = texts.get(r["page"], "") + f"<!--\n{r['en']}\n-->\n{r['zh']}\n\n"
    return [{"lang": "zh", "path": page, "text": text} for page, text in texts.items()]


TIMED = SplitParams(**KNOBS | {"test_since": True, "train_only": ["docs/p9.md"]})


def test_what_changed_is_the_test_set_and_the_rest_of_its_pages_is_left_out() -> None:
    before = corpus(60)
    news = [row(f"docs/p{page}.md", 7, f"Since the spring page {page} tells another story.") for page in (3, 9, 20)]
    fresh = [row("docs/fresh.md", number) for number in range(3)]
    splits, report = split([*before, *news, *fresh], TIMED, old_pages(before))
    ids = {name: {r["id"] for r in rows} for name, rows in splits.items()}
    assert ids["test"] == {"docs/p3.md-7", "docs/p20.md-7", *(r["id"] for r in fresh)}
    assert "docs/p9.md-7" in ids["train"], "a train_only page is nobody's test"
    assert report["removed"]["unchanged_on_changed_pages"] == 8
    pages = {name: {r["page"] for r in rows} for name, rows in splits.items()}
    assert pages["valid"] == {r["page"] for r in before if page_split(r["page"], TIMED) == "valid"} - pages["test"]
    assert sum(map(len, splits.values())) == len(before) + 6 - 8
    assert report["pages"]["test"] == 3


def test_changed_passages_are_capped_and_leave_train() -> None:
    before = corpus(60)
    news = [row("docs/p3.md", number, f"Story {number} of this spring is told here.") for number in range(10, 40)]
    echo = row("docs/p30.md", 9, "story 10 of this spring is **told** here")
    params = SplitParams(**TIMED.model_dump() | {"max_test": 30})
    splits, report = split([*before, *news, echo], params, old_pages([*before, echo]))
    assert len(splits["test"]) == 30 and echo["id"] not in {r["id"] for r in splits["train"]}
    assert report["removed"]["train_source_in_test"] == 1
    assert all(counts["near"] == counts["pages"] == 0 for counts in report["leakage"].values())


@pytest.mark.parametrize(
    ("old", "message"),
    [
        pytest.param([], "wants pages of an older revision, got none; set crawl.since", id="no-older-revision"),
        pytest.param(old_pages(corpus(60)), "test 0 rows of 0 pages.*crawl.since to an older revision", id="no-news"),
        pytest.param(
            old_pages(corpus(1)), "train 8 rows.*valid 0 rows.*or set crawl.since to a newer revision", id="all-is-new"
        ),
    ],
)
def test_a_split_by_time_that_cannot_be(old: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DoctuneError, match=message):
        split(corpus(60), TIMED, old)


# ---- laws

WORDS = ["drain", "node", "pod", "job", "first", "then", "wait", "keep", "watch", "until", "ready", "gone", "alone"]
SENTENCE = st.one_of(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
    st.lists(st.sampled_from(WORDS), min_size=9, max_size=11, unique=True),
).map(" ".join)
CHINESE = st.sampled_from(["先腾空节点", "等待它就绪", "先腾空节点。", "监视任务"])
PAGES = st.lists(st.lists(st.tuples(SENTENCE, CHINESE), min_size=1, max_size=4), min_size=8, max_size=24)
CAPS = st.fixed_dictionaries(
    {
        "max_test": st.integers(1, 20),
        "max_valid": st.integers(1, 10),
        "near_copies": st.integers(1, 3),
        "max_generated": st.integers(0, 6),
        "near": st.sampled_from([0.5, 0.8, 1.0]),
    }
)
OWN = {"train": "etcd keeps state", "valid": "labels select objects", "test": "quotas bound namespaces"}
LAWFUL = {"test": 0.3, "valid": 0.2, "generated": ["docs/p?.md"]}


def rows_of(pages: list[list[tuple[str, str]]]) -> list[dict[str, Any]]:
    """With rows of their own, so that no split is empty."""
    own = [row(of(name, params=SplitParams(**KNOBS | LAWFUL))[0], 99, en) for name, en in OWN.items()]
    return own + [row(f"docs/p{p}.md", r, *texts) for p, page in enumerate(pages) for r, texts in enumerate(page)]


@settings(deadline=None, max_examples=40)
@given(PAGES, CAPS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(pages, caps, chance: random.Random) -> None:
    params, rows = SplitParams(**KNOBS | LAWFUL | caps), rows_of(pages)
    assert split(rows, params) == split(chance.sample(rows, len(rows)), params)


@settings(deadline=None, max_examples=40)
@given(PAGES, CAPS)
def test_nothing_held_out_is_seen_before_and_nothing_is_lost_uncounted(pages, caps) -> None:
    params, rows = SplitParams(**KNOBS | LAWFUL | caps), rows_of(pages)
    splits, report = split(rows, params)
    assert sum(map(len, splits.values())) + sum(report["removed"].values()) == len(rows)
    for held, other in (("test", "train"), ("valid", "train"), ("test", "valid")):
        for one in splits[held]:
            for two in splits[other]:
                assert match_key(one["en"]) != match_key(two["en"])
                for size in NGRAMS:
                    grams = [ngrams(words(r["en"]), size) for r in (one, two)]
                    assert jaccard(*grams) < params.near
        assert report["leakage"][f"{held}_in_{other}"]["near"] == 0
    assert report["generated_rows"]["train"] <= params.max_generated
    assert Counter(page_split(r["page"], params) for r in splits["test"]).keys() == {"test"}


@settings(deadline=None, max_examples=40)
@given(PAGES, PAGES, CAPS)
def test_growth_moves_no_row_to_another_split(pages, more, caps) -> None:
    """A test row leaves only for a cap or as a repetition, and no row of an old page comes into test."""
    params = SplitParams(**KNOBS | LAWFUL | caps)
    old = rows_of(pages)
    added = [row(f"docs/new{p}.md", r, *texts) for p, page in enumerate(more) for r, texts in enumerate(page)]
    small, _ = split(old, params)
    grown, report = split([*old, *added], params)
    where = {r["id"]: name for name, rows in small.items() for r in rows}
    for name, rows in grown.items():
        for r in rows:
            assert where.get(r["id"], name) == name
    before, after = ({r["id"]: r for r in found["test"]} for found in (small, grown))
    fresh = {r["id"] for r in added}
    assert {name for name in after if name not in fresh} <= before.keys()
    same = {(match_key(r["en"]), match_key(r["zh"])) for r in after.values()}
    for name, r in before.items():
        repeated = (match_key(r["en"]), match_key(r["zh"])) in same
        assert name in after or repeated or report["removed"]["test_over_cap"] > 0


# ---- the stage


def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, Any]:
    """Run the stage in a folder of its own, whose since.parquet is as the test left it; returns the report."""
    from tasks.split import main

    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(json.dumps({"split": KNOBS | changes}))
    Path("pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in corpus(60)))
    main(pairs=Path("pairs.jsonl"), since=Path("since.parquet"), out=Path("splits"), report=Path("report.json"))
    report = json.loads(Path("report.json").read_text())
    counts = {name: len(Path(f"splits/{name}.jsonl").read_text().splitlines()) for name in NAMES}
    assert counts == report["rows"]
    return report


def test_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert sum(stage(tmp_path, monkeypatch)["rows"].values()) == 240
    assert "test_in_train 0 exact, 0 near (highest 0." in capsys.readouterr().out


def test_stage_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [r for r in corpus(60) if r["id"] != "docs/p3.md-1"]
    write_pages(tmp_path / "since.parquet", [Page(p["lang"], p["path"], "r", p["text"]) for p in old_pages(before)])
    report = stage(tmp_path, monkeypatch, test_since=True)
    assert report["rows"]["test"] == 1 and report["removed"]["unchanged_on_changed_pages"] == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "since.parquet does not exist; run the stage", id="missing"),
        pytest.param(b"PAR1 not really", "wanted a table with columns lang, path, text in since.parquet", id="broken"),
    ],
)
def test_stage_without_a_readable_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "since.parquet").write_bytes(content)
    with pytest.raises(DoctuneError, match=said):
        stage(tmp_path, monkeypatch, test_since=True)
    assert not (tmp_path / "splits").exists()


def test_extra_rows_never_take_the_place_of_the_site_s_own() -> None:
    own = corpus(60)
    copies = [{**one, "id": f"x{n}", "page": "extra/memory", "weight": 1.0} for n, one in enumerate(own)]
    splits, report = split([*own, *copies], PARAMS)
    assert {one["id"] for one in splits["train"]} == {one["id"] for one in split(own, PARAMS)[0]["train"]}
    assert report["pages"]["train"] == len({one["page"] for one in splits["train"]})
