"""Mixing: weights, caps and shares as laws, whatever the order of the rows; and the split stage that lets extra rows in."""

import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctune.errors import DoctuneError
from doctune.extra.params import ExtraParams
from doctune.mixing import apart, is_extra, mix
from tests.test_splitting import KNOBS

Row = dict[str, Any]
OPEN = {
    "folder": "extra",
    "glossary": [],
    "glossary_weight": 1.0,
    "sources": [],
    "max_share": 1.0,
    "max_synthetic_share": 1.0,
}


def params(**more: float) -> ExtraParams:
    return ExtraParams(**OPEN | more)


def own(count: int) -> list[Row]:
    return [
        {"id": f"t{n}", "en": f"Rule {n} allows traffic.", "zh": f"规则 {n} 放行流量。", "page": "a.md"}
        for n in range(count)
    ]


def extra(number: int, weight: float = 1.0, synthetic: bool = False, source: str = "wmt") -> Row:
    return {
        "id": f"{source}-{number}",
        "en": f"Patient {number} of {source} recovered.",
        "zh": f"{source} 的第 {number} 位患者康复了。",
        "page": f"extra/{source}",
        "kind": "text",
        "method": "tsv",
        "score": 1.0,
        "weight": weight,
        "synthetic": synthetic,
        "source": source,
    }


def many(count: int, weight: float = 1.0, synthetic: bool = False, source: str = "wmt") -> list[Row]:
    return [extra(n, weight, synthetic, source) for n in range(count)]


def ids(rows: list[Row]) -> set[str]:
    return {row["id"] for row in rows if is_extra(row)}


def shuffled(rows: list[Row], seed: int) -> list[Row]:
    return random.Random(seed).sample(rows, len(rows))


SHARES = st.integers(0, 20).map(lambda n: n / 20)
WEIGHTS = st.sampled_from([0.05, 0.3, 0.5, 1.0, 1.7, 2.0, 3.0])
EXTRA = st.lists(
    st.builds(extra, st.integers(0, 60), WEIGHTS, st.booleans(), st.sampled_from(["wmt", "news", "blog"])),
    max_size=60,
    unique_by=lambda row: row["id"],
)


def test_apart_is_the_reverse_of_joining() -> None:
    assert apart([*own(3), *many(4)]) == (own(3), many(4))


def test_without_extra_rows_train_is_as_it_was() -> None:
    rows, counts = mix(own(5), [], params())
    assert rows == own(5)
    assert counts["rows"] == {"train": 5, "extra": 0, "synthetic": 0} and counts["share"] == 0.0


@pytest.mark.parametrize(
    ("weight", "least", "most"),
    [
        pytest.param(1.0, 1000, 1000, id="once"),
        pytest.param(2.0, 2000, 2000, id="twice"),
        pytest.param(0.5, 440, 560, id="every-second"),
        pytest.param(0.1, 60, 140, id="every-tenth"),
        pytest.param(2.25, 2190, 2310, id="twice-and-a-quarter"),
    ],
)
def test_a_weight_is_how_often_a_row_is_seen(weight: float, least: int, most: int) -> None:
    rows, counts = mix(own(10), many(1000, weight), params())
    assert least <= counts["sources"]["wmt"]["seen"] <= most
    assert len(rows) == 10 + counts["sources"]["wmt"]["seen"] == len({row["id"] for row in rows})
    per_row = [sum(r["id"].partition("#")[0] == f"wmt-{n}" for r in rows) for n in range(1000)]
    assert {int(weight), -int(-weight // 1)} == set(per_row), "no row is far from its weight"


def test_copies_differ_in_their_id_alone() -> None:
    rows, _ = mix(own(1), many(1, 3.0), params())
    assert [row["id"] for row in rows[1:]] == ["wmt-0", "wmt-0#2", "wmt-0#3"]
    assert all({**row, "id": "wmt-0"} == extra(0, 3.0) for row in rows[1:])


def test_a_small_weight_of_a_capped_source_is_no_cap_of_its_own() -> None:
    """The rows that a cap leaves are those of the lowest hashes: were it the same hash, a weight would keep them all."""
    from doctune.extra.collect import _cap, _Kept

    chosen = _cap((_Kept(row["en"], row["zh"]) for row in many(4000)), 400)
    rows, _ = mix(own(1), [{**extra(n, 0.5), "en": pair.en, "zh": pair.zh} for n, pair in enumerate(chosen)], params())
    assert len(chosen) == 400 and 160 <= len(rows) - 1 <= 240


@given(EXTRA, SHARES, SHARES, st.integers(1, 40), st.integers())
@settings(deadline=None, max_examples=150)
def test_shares_are_kept_whatever_the_order(
    rows: list[Row], share: float, synthetic_share: float, train: int, seed: int
) -> None:
    knobs = params(max_share=share, max_synthetic_share=synthetic_share)
    mixed, counts = mix(own(train), rows, knobs)
    assert mix(own(train), shuffled(rows, seed), knobs) == (mixed, counts)
    assert mixed[:train] == own(train)
    joined = mixed[train:]
    made = [row for row in joined if row["synthetic"]]
    assert len(joined) <= Fraction(str(share)) * len(mixed) and len(made) <= Fraction(str(synthetic_share)) * len(mixed)
    assert len({row["id"] for row in mixed}) == len(mixed)
    assert (counts["rows"]["extra"], counts["rows"]["synthetic"]) == (len(joined), len(made))
    assert sum(source["seen"] for source in counts["sources"].values()) == len(joined)


@given(EXTRA, SHARES, SHARES, st.integers(1, 40))
@settings(deadline=None, max_examples=100)
def test_a_share_is_filled_before_a_row_is_left_out(
    rows: list[Row], share: float, synthetic_share: float, train: int
) -> None:
    mixed, counts = mix(own(train), rows, params(max_share=share, max_synthetic_share=synthetic_share))
    left_out = {reason for reason in counts["dropped"] if reason.startswith("over_")}
    if "over_max_share" in left_out:
        assert len(ids(mixed)) + 1 > Fraction(str(share)) * (len(mixed) + 1)
    if "over_max_synthetic_share" in left_out:
        assert counts["rows"]["synthetic"] + 1 > Fraction(str(synthetic_share)) * (len(mixed) + 1)


@given(EXTRA, SHARES, st.integers(1, 30), st.integers(1, 30))
@settings(deadline=None, max_examples=100)
def test_more_training_rows_push_no_extra_row_out(rows: list[Row], share: float, train: int, more: int) -> None:
    knobs = params(max_share=share, max_synthetic_share=share / 2)
    before, after = mix(own(train), rows, knobs)[0], mix(own(train + more), rows, knobs)[0]
    genuine = [{row["id"] for row in mixed if is_extra(row) and not row["synthetic"]} for mixed in (before, after)]
    assert genuine[0] <= genuine[1]


def test_more_extra_rows_change_the_choice_at_its_rim_only() -> None:
    knobs = params(max_share=0.5)
    before, after = ids(mix(own(200), many(1000), knobs)[0]), ids(mix(own(200), many(1050), knobs)[0])
    assert len(before) == len(after) == 200
    assert len(before - after) <= 25, "about 200 of 1,050 places go to 50 new rows: 10 of them"


def test_a_full_share_keeps_the_sources_proportions() -> None:
    _, counts = mix(own(500), [*many(3000), *many(1000, source="news")], params(max_share=0.5))
    seen = {name: source["seen"] for name, source in counts["sources"].items()}
    assert sum(seen.values()) == 500 and 330 <= seen["wmt"] <= 420
    assert counts["dropped"] == {"over_max_share": 3500}


@pytest.mark.parametrize(
    ("knobs", "genuine", "synthetic", "dropped"),
    [
        pytest.param({"max_share": 0.5}, 80, 20, {"over_max_share": 60}, id="genuine-first"),
        pytest.param(
            {"max_synthetic_share": 0.1}, 80, 20, {"over_max_synthetic_share": 60}, id="synthetic-capped-on-its-own"
        ),
        pytest.param(
            {"max_share": 0.5, "max_synthetic_share": 0.05}, 80, 9, {"over_max_synthetic_share": 71}, id="both"
        ),
        pytest.param({"max_share": 0.2}, 25, 0, {"over_max_share": 135}, id="no-room-for-synthetic"),
        pytest.param({"max_share": 0.0}, 0, 0, {"over_max_share": 160}, id="nothing"),
    ],
)
def test_synthetic_rows_give_way(
    knobs: dict[str, float], genuine: int, synthetic: int, dropped: dict[str, int]
) -> None:
    rows, counts = mix(own(100), [*many(80), *many(80, synthetic=True, source="blog")], params(**knobs))
    joined = [row for row in rows if is_extra(row)]
    assert (sum(not r["synthetic"] for r in joined), sum(r["synthetic"] for r in joined)) == (genuine, synthetic)
    assert counts["dropped"] == dropped
    assert counts["sources"].keys() == {"wmt", "blog"}, "a source that has no row in train is named all the same"


def test_a_pair_is_mixed_in_once_and_the_genuine_one_wins() -> None:
    same = {"en": "The probe failed.", "zh": "探针失败。"}
    rows = [
        {**extra(1, synthetic=True, source="blog"), **same},
        {**extra(2, 1.0), **same, "en": "the **probe** failed"},
        {**extra(3, 2.0, source="news"), **same},
        {**extra(4), "en": own(1)[0]["en"], "zh": own(1)[0]["zh"]},
    ]
    mixed, counts = mix(own(3), rows, params())
    assert ids(mixed) == {"news-3", "news-3#2"} and counts["dropped"] == {"repeated": 3}


def test_extra_rows_alone_are_no_training_set() -> None:
    with pytest.raises(DoctuneError, match="wanted training rows to mix 4 extra rows into, got none"):
        mix([], many(4), params())


def test_the_split_stage_keeps_held_out_sources_out_of_the_extra_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from doctune.splitting import SplitParams, page_split
    from tasks.split import main

    pairs = [
        {"id": f"{p}-{n}", "page": f"p{p}.md", "kind": "paragraph", "en": f"Step {n} of {p}.", "zh": f"{p} 第 {n} 步。"}
        for p in range(60)
        for n in range(4)
    ]
    unlucky = next(s for s in map(str, range(100)) if page_split(f"extra/{s}", SplitParams(**KNOBS)) == "test")
    stolen = [{**extra(n, 2.0), "en": f"**step** {n % 4} of {n // 4}", "zh": f"偷来的 {n}"} for n in range(240)]
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(json.dumps({"split": KNOBS, "extra": OPEN | {"max_share": 0.4}}), encoding="utf-8")
    for name, rows in (("pairs", pairs), ("extra", [*stolen, *many(300, source=unlucky)])):
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    main(
        pairs=Path("pairs.jsonl"),
        since=Path("since.parquet"),
        extra=Path("extra.jsonl"),
        out=Path("splits"),
        report=Path("report.json"),
    )

    splits = {
        name: [json.loads(line) for line in Path(f"splits/{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("train", "valid", "test")
    }
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert report["rows"] == {name: len(rows) for name, rows in splits.items()}
    assert sum(report["rows_by_kind"]["train"].values()) == report["rows"]["train"]
    assert not any(is_extra(row) for name in ("valid", "test") for row in splits[name])
    joined = [row for row in splits["train"] if is_extra(row)]
    assert 0.39 <= len(joined) / len(splits["train"]) <= 0.4 and report["extra"]["rows"]["extra"] == len(joined)
    held = {row["en"].lower() for name in ("valid", "test") for row in splits[name]}
    assert any(row["zh"].startswith("偷来的") for row in joined)
    assert not [row for row in joined if row["en"].replace("**", "") + "." in held]
    assert all(counts["same_letters"] == counts["near"] == 0 for counts in report["leakage"].values())
