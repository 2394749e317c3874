"""Extra data: every shape that people keep pairs in, caps that hold under growth, a hub, back-translation that resumes."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from doctune.alignment.params import AlignParams
from doctune.errors import DoctuneError
from doctune.extra.backtranslation import CHUNK, answers, chunks, degenerate
from doctune.extra.collect import collect
from doctune.extra.params import ExtraParams
from doctune.extra.shapes import texts
from doctune.files import read_jsonl
from doctune.section import load_section, validate
from tests.hub import REVISION, serving
from tests.tiny import PAIRS, tiny_marian

ROOT = Path(__file__).parents[1]
LIMITS = load_section(AlignParams, "align", ROOT / "params.yaml").limits
MEMO = Path(".doctune/backtranslation")
A = ("The patient was given two tablets.", "患者服用了两片药。")
B = ("The wound healed within a week.", "伤口在一周内愈合。")
C = ("No side effects were seen in either group.", "两组均未观察到副作用。")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder's `extra/`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "extra").mkdir()
    return tmp_path / "extra"


def knobs(*sources: dict[str, Any], **more: Any) -> ExtraParams:
    values = {"folder": "extra", "glossary": [], "glossary_weight": 1.0, "sources": list(sources)}
    values |= {"max_share": 0.5, "max_synthetic_share": 0.25}
    return validate(ExtraParams, values | more, "extra:")


def source(path: str, name: str = "wmt", format: str = "jsonl", **more: Any) -> dict[str, Any]:
    return {"name": name, "format": format, "path": path, "licence": "CC-BY-4.0", **more}


def read(*sources: dict[str, Any]) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    rows, report = collect(knobs(*sources), LIMITS, MEMO)
    return [(row["en"], row["zh"]) for row in rows], report["sources"]


def lines_of(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def named(en: str, zh: str, *pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{en: pair[0], zh: pair[1]} for pair in pairs]


AB = named("en", "zh", A, B)
JSON_FORMS: dict[str, tuple[str | bytes, dict[str, Any]]] = {
    "en-zh": (lines_of(*AB), {}),
    "more-columns": (lines_of({"id": 1, "en": A[0], "zh": A[1]}, {"en": B[0], "zh": B[1], "score": 0.7}), {}),
    "other-case": (lines_of(*named("EN", "zh-CN", A, B)), {}),
    "words": (lines_of(*named("English", "Chinese", A, B)), {}),
    "translation": (lines_of(*({"translation": row} for row in AB)), {}),
    "translation-region": (lines_of(*({"translation": row} for row in named("en", "zh_cn", A, B))), {}),
    "input-output": (lines_of(*named("input", "output", A, B)), {}),
    "instruction": (
        lines_of(*({"instruction": "译成中文。", **row} for row in named("input", "output", A, B))),
        {},
    ),
    "chinese-input": (
        lines_of(*({"input": zh, "output": en} for en, zh in (A, B))),
        {"direction": "zh-en"},
    ),
    "named-languages-stay": (lines_of(*AB), {"direction": "zh-en"}),
    "mixed": (lines_of(AB[0], {"translation": AB[1]}), {}),
    "columns": (lines_of(*named("src", "ref", A, B)), {"columns": {"en": "src", "zh": "ref"}}),
    "nested-columns": (
        lines_of(*({"texts": {"eng.Latn": en, "zho": zh}} for en, zh in (A, B))),
        {"columns": {"en": "texts.eng.Latn", "zh": "texts.zho"}},
    ),
    "array": (json.dumps(AB), {}),
    "array-on-lines": ("\n " + json.dumps(AB, ensure_ascii=False, indent=2), {}),
    "array-of-instructions": (
        json.dumps([{"instruction": "Translate.", "input": en, "output": zh} for en, zh in (A, B)]),
        {},
    ),
    "gzip": (gzip.compress(lines_of(*AB).encode()), {}),
    "byte-order-mark": (b"\xef\xbb\xbf" + lines_of(*AB).encode(), {}),
    "windows-lines": (lines_of(*AB).replace("\n", "\r\n"), {}),
    "blank-lines": ("\n" + lines_of(*AB).replace("\n", "\n\n"), {}),
}


@pytest.mark.parametrize("form", JSON_FORMS)
def test_json_forms(folder: Path, form: str) -> None:
    content, more = JSON_FORMS[form]
    write(folder / "some/pairs.jsonl", content)
    pairs, reports = read(source("some/pairs.jsonl", **more))
    assert pairs == [A, B]
    assert (reports["wmt"]["read"], reports["wmt"]["kept"], reports["wmt"]["dropped"]) == (2, 2, {})


def tsv(*rows: Sequence[Any]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


TSV_FORMS: dict[str, tuple[str | bytes, dict[str, Any], dict[str, Any]]] = {
    "header": (tsv(("en", "zh"), A, B), {}, {"en": "en", "zh": "zh"}),
    "header-among-others": (
        tsv(("doc_id", "zh", "sent", "en"), ("d1", A[1], 1, A[0]), ("d1", B[1], 2, B[0])),
        {},
        {"en": "en", "zh": "zh"},
    ),
    "header-asked-for": (
        tsv(("Source ", "note", "Reference"), (A[0], "en text", A[1]), (B[0], "en text", B[1])),
        {"columns": {"en": "Source", "zh": "Reference"}},
        {"en": "Source", "zh": "Reference"},
    ),
    "no-header": (tsv(A, B), {}, {"en": 1, "zh": 2}),
    "no-header-chinese-first": (tsv(A[::-1], B[::-1]), {}, {"en": 2, "zh": 1}),
    "no-header-with-places": (tsv(("doc1", 1, *A), ("doc1", 2, *B)), {}, {"en": 3, "zh": 4}),
    "numbers": (
        tsv(("ab cd ef gh ij kl", *A), ("ab cd ef gh ij kl", *B)),
        {"columns": {"en": 2, "zh": 3}},
        {"en": 2, "zh": 3},
    ),
    "windows-gzip": (
        gzip.compress(tsv(("en", "zh"), A, B).replace("\n", "\r\n").encode("utf-8-sig")),
        {},
        {"en": "en", "zh": "zh"},
    ),
}


@pytest.mark.parametrize("form", TSV_FORMS)
def test_tables(folder: Path, form: str) -> None:
    content, more, columns = TSV_FORMS[form]
    write(folder / "wmt.tsv", content)
    pairs, reports = read(source("wmt.tsv", format="tsv", **more))
    assert pairs == [A, B] and reports["wmt"]["columns"] == columns and reports["wmt"]["read"] == 2


def test_a_table_s_quotes_and_odd_line_ends_are_text(folder: Path) -> None:
    pair = ('"Rest," said the\u2028doctor, and left.', "“休息吧，”医生说完便离开了。")
    write(folder / "wmt.tsv", tsv(pair, A))
    assert read(source("wmt.tsv", format="tsv"))[0] == [pair, A]


def test_rows_have_the_pairs_contract_and_say_where_they_come_from(folder: Path) -> None:
    write(folder / "wmt.jsonl", lines_of(*AB))
    write(folder / "more.tsv", tsv(A, C))
    rows, report = collect(
        knobs(source("wmt.jsonl", weight=2.0), source("more.tsv", name="more", format="tsv")), LIMITS, MEMO
    )
    assert len({row["id"] for row in rows}) == 4, "a pair of two sources is two rows; the mixing keeps one"
    assert {k: v for k, v in rows[0].items() if k != "id"} == {
        "en": A[0],
        "zh": A[1],
        "page": "extra/wmt",
        "kind": "text",
        "method": "jsonl",
        "score": 1.0,
        "weight": 2.0,
        "synthetic": False,
        "source": "wmt",
    }
    assert [row["page"] for row in rows] == ["extra/wmt"] * 2 + ["extra/more"] * 2
    assert report["rows"] == 4 and report["sources"]["wmt"] == {
        "format": "jsonl",
        "path": "wmt.jsonl",
        "licence": "CC-BY-4.0",
        "task": "translate",
        "weight": 2.0,
        "synthetic": False,
        "read": 2,
        "dropped": {},
        "masked": {},
        "capped": 0,
        "kept": 2,
    }


DROPPED = {
    "empty": {"en": None, "zh": B[1]},
    "not_text": {"en": ["No", "text"], "zh": B[1]},
    "not_unicode": {"en": "Half a \ud83d pair.", "zh": B[1]},
    "untranslated": {"en": B[0], "zh": B[0]},
    "wrong_language": {"en": B[1], "zh": B[1] + "。"},
    "length_ratio": {"en": B[0], "zh": "是" * 300},
    "repeated": {"en": A[0].upper(), "zh": f"**{A[1]}**"},
}


@pytest.mark.parametrize("reason", DROPPED)
def test_what_is_left_out_is_counted(folder: Path, reason: str) -> None:
    bad = json.dumps(DROPPED[reason])
    write(folder / "wmt.jsonl", lines_of(AB[0]) + bad + "\n" + lines_of(*named("en", "zh", C)) + bad + "\n")
    pairs, reports = read(source("wmt.jsonl"))
    assert pairs == [A, C]
    assert reports["wmt"]["dropped"] == {reason: 2} and reports["wmt"]["read"] == 4


def test_a_table_s_rows_of_another_width_are_counted(folder: Path) -> None:
    write(folder / "wmt.tsv", tsv(A, (*B, "a third"), ("alone",), C))
    pairs, reports = read(source("wmt.tsv", format="tsv"))
    assert pairs == [A, C] and reports["wmt"]["dropped"] == {"wrong_columns": 2}


ERRORS: dict[str, tuple[str | bytes | None, dict[str, Any], str]] = {
    "missing": (None, {}, r"extra/wmt.jsonl does not exist; put the file there, or correct extra.sources"),
    "not-json": ('{"en": 1}\n{"en": \n', {"columns": {"en": "en", "zh": "en"}}, r"extra/wmt.jsonl:2 is not JSON"),
    "not-an-object": (lines_of(AB[0], ["a", "b"]), {}, r"extra/wmt.jsonl:2 holds list, wanted a JSON object"),
    "array-of-strings": ('[{"en": "a", "zh": "b"}, "c"]', {}, r"extra/wmt.jsonl, element 2, holds str"),
    "array-cut-off": (json.dumps(AB)[:-1], {}, r"extra/wmt.jsonl is not JSON .* wanted a JSON array"),
    "deeply-nested": ("[" * 100_000, {}, r"extra/wmt.jsonl is not JSON"),
    "not-utf8": (lines_of(AB[0]).encode() + "患者".encode("gbk"), {}, r"extra/wmt.jsonl:2 is not UTF-8"),
    "utf16": (lines_of(*AB).encode("utf-16"), {}, r"extra/wmt.jsonl:1 is not UTF-8"),
    "cut-off-gzip": (
        gzip.compress(lines_of(*AB).encode())[:-12],
        {},
        r"extra/wmt.jsonl cannot be read .* fetch it again",
    ),
    "damaged-gzip": (b"\x1f\x8b" + b"no gzip at all", {}, r"extra/wmt.jsonl cannot be read"),
    "unknown-shape": (
        lines_of({"question": "Who?", "answer": "谁？"}),
        {},
        r"extra/wmt.jsonl:1: wanted \"en\" and \"zh\", .*\"input\" and \"output\".*, got 'question', 'answer'",
    ),
    "unknown-columns": (
        lines_of(AB[0], {"en": "Only English."}),
        {"columns": {"en": "en", "zh": "zh"}},
        r"extra/wmt.jsonl:2: wanted the columns 'en' and 'zh', got 'en'",
    ),
    "nothing-in-it": ("", {}, r"extra source wmt: no row is left of 0 read"),
    "wrong-direction": (
        lines_of(*named("input", "output", A, B)),
        {"direction": "zh-en"},
        r"extra source wmt: no row is left of 2 read \(dropped: \{.*: 2\}\); see that columns and direction are right",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_cannot_be_read_is_one_line(folder: Path, case: str) -> None:
    content, more, message = ERRORS[case]
    if content is not None:
        write(folder / "wmt.jsonl", content)
    with pytest.raises(DoctuneError, match=message) as error:
        read(source("wmt.jsonl", **more))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        pytest.param(
            tsv(("source", "target"), A),
            {"columns": {"en": "en", "zh": "zh"}},
            r"extra/wmt.tsv: wanted the columns 'en' and 'zh', got 'source', 'target'",
            id="names",
        ),
        pytest.param(
            tsv(A),
            {"columns": {"en": 1, "zh": 4}},
            r"extra/wmt.tsv: wanted columns 1 and 4, got rows of 2",
            id="numbers",
        ),
        pytest.param(
            tsv((*A, A[1])), {}, r"got 2 in Chinese of 3 and no header .* say which: columns: ", id="two-in-chinese"
        ),
        pytest.param(
            tsv((A[0], B[0], A[1])), {}, r"got 1 in Chinese of 3 and no header .* say which", id="two-in-english"
        ),
        pytest.param(tsv(("a", "b")), {}, r"got 0 in Chinese of 2", id="no-chinese"),
    ],
)
def test_a_table_s_columns_are_wanted_and_got(folder: Path, content: str, more: dict[str, Any], message: str) -> None:
    write(folder / "wmt.tsv", content)
    with pytest.raises(DoctuneError, match=message):
        read(source("wmt.tsv", format="tsv", **more))


def test_a_folder_is_no_file(folder: Path) -> None:
    with pytest.raises(DoctuneError, match=r"extra/wmt is a folder; name one file of it"):
        (folder / "wmt").mkdir()
        read(source("wmt"))


HUB = {"name": "news", "format": "hub", "hub_id": "me/pairs", "revision": REVISION, "licence": "CC0-1.0"}
PARAMS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "hub-without-revision": (
        [{k: v for k, v in HUB.items() if k != "revision"}],
        {},
        r"sources.0.hub.revision: missing",
    ),
    "moving-revision": ([HUB | {"revision": "main"}], {}, r"wanted a commit of 40 hex digits .*, got 'main'"),
    "hub-id": ([HUB | {"hub_id": "../etc"}], {}, r"wanted the id of a dataset on the hub"),
    "no-licence": ([{"name": "a", "format": "tsv", "path": "a.tsv"}], {}, r"sources.0.tsv.licence: missing"),
    "empty-licence": ([source("a.tsv", licence="")], {}, r"sources.0.jsonl.licence: "),
    "outside": ([source("../a.tsv")], {}, r"wanted a plain path below extra.folder"),
    "absolute": ([source("/etc/hosts")], {}, r"wanted a plain path below extra.folder"),
    "unknown-format": ([source("a.xml", format="xml")], {}, r"'xml'"),
    "two-of-a-name": ([source("a"), source("b")], {}, r"a name of its own for every source, got wmt more than once"),
    "odd-name": ([source("a", name="WMT 22")], {}, r"lower-case letters, digits and single hyphens"),
    "weight": ([source("a", weight=0.0)], {}, r"sources.0.jsonl.weight: .*got 0.0"),
    "infinite-weight": ([source("a", weight=float("inf"))], {}, r"sources.0.jsonl.weight"),
    "numbered-json": ([source("a", columns={"en": 1, "zh": 2})], {}, r"only columns of a TSV have numbers"),
    "name-and-number": (
        [source("a", format="tsv", columns={"en": 1, "zh": "zh"})],
        {},
        r"two names or two numbers",
    ),
    "uncapped-back-translation": (
        [source("a.txt", format="backtranslation", model="zh-en")],
        {},
        r"sources.0.backtranslation.max_rows: missing",
    ),
    "share": ([], {"max_share": 1.5}, r"max_share: .*got 1.5"),
}


@pytest.mark.parametrize("case", PARAMS)
def test_wrong_params_are_named(case: str) -> None:
    sources, more, message = PARAMS[case]
    with pytest.raises(DoctuneError, match=message):
        knobs(*sources, **more)


def test_sources_survive_being_written_into_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from doctune.params import configure, read_params

    (tmp_path / "presets").symlink_to(ROOT / "presets")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    written = configure(None, ["extra.sources=[{name: wmt, format: tsv, path: wmt.tsv, licence: CC0, weight: 0.5}]"])
    assert read_params() == written
    assert (written.extra.sources[0].name, written.extra.sources[0].weight) == ("wmt", 0.5)


def test_the_example_in_the_folder_s_readme_holds() -> None:
    [example] = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "extra/README.md").read_text(encoding="utf-8"), re.M | re.S)
    section = YAML(typ="safe").load(example.replace("OWNER/NAME", "me/pairs").replace("COMMIT", REVISION))["extra"]
    assert {source.format for source in validate(ExtraParams, section, "extra/README.md:").sources} == {
        "tsv",
        "jsonl",
        "hub",
        "backtranslation",
    }


def numbered(count: int) -> list[dict[str, str]]:
    return [{"en": f"Trial {n} ended early.", "zh": f"第 {n} 项试验提前结束。"} for n in range(count)]


@given(st.permutations(numbered(40)), st.integers(1, 45), st.integers(0, 40))
@settings(deadline=None, max_examples=60)
def test_a_cap_is_chosen_by_content_and_stable_under_growth(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]], most: int, short: int
) -> None:
    place = tmp_path_factory.mktemp("cap")
    write(place / "all.jsonl", lines_of(*rows))
    write(place / "few.jsonl", lines_of(*rows[:short], rows[0]))
    params = knobs(source("all.jsonl", max_rows=most), source("few.jsonl", "few", max_rows=most), folder=str(place))
    found, report = collect(params, LIMITS, MEMO)
    every, few = ({row["en"] for row in found if row["source"] == name} for name in ("wmt", "few"))
    write(place / "sorted.jsonl", lines_of(*numbered(40)))
    again, _ = collect(knobs(source("sorted.jsonl", max_rows=most), folder=str(place)), LIMITS, MEMO)
    assert {row["en"] for row in again} == every and {row["id"] for row in again} == {
        row["id"] for row in found if row["source"] == "wmt"
    }, "the order of the file decides nothing"
    assert len(every) == min(most, 40)
    assert [row["en"] for row in again] == [row["en"] for row in numbered(40) if row["en"] in every], (
        "in the file's order"
    )
    assert every & {row["en"] for row in rows[: max(1, short)]} <= few, (
        "what is chosen among more is chosen among fewer"
    )
    for facts in report["sources"].values():
        assert facts["read"] == facts["kept"] + facts["capped"] + sum(facts["dropped"].values())


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.none(), st.integers(), st.text(), st.lists(st.text()))))
def test_any_object_is_read_or_refused(record: dict[str, Any]) -> None:
    found = texts(record)
    assert found is None or len(found) == 2


def run_hub(address: str, home: Path, *sources: dict[str, Any]) -> list[Any]:
    """Each source read in one process of its own, as the libraries look at HF_ENDPOINT once: rows, or the error's text."""
    code = (
        "import json, sys\n"
        "from doctune.errors import DoctuneError\n"
        "from doctune.extra.collect import collect\n"
        "from tests.test_extra import LIMITS, MEMO, knobs\n"
        "for source in json.load(sys.stdin):\n"
        "    try: print(json.dumps(collect(knobs(source), LIMITS, MEMO)))\n"
        "    except DoctuneError as error: print(json.dumps(str(error)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(sources),
        env=os.environ
        | {"HF_ENDPOINT": address, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_TELEMETRY": "1"},
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


CARD = "---\nconfigs:\n- config_name: plain\n  data_files:\n  - split: dev\n    path: some/dev.jsonl\n---\n"


def test_datasets_of_a_hub(tmp_path: Path) -> None:
    shop = {
        "me/pairs": {"train-00000-of-00001.parquet": parquet([{"translation": row} for row in AB])},
        "me/configs": {"README.md": CARD.encode(), "some/dev.jsonl": lines_of(*AB).encode()},
        "me/script": {"script.py": b"raise SystemExit('this must not run')\n", "train.jsonl": lines_of(*AB).encode()},
        "me/broken": {"train.jsonl": b'{"en": "A tablet", "zh": \n'},
    }
    write(tmp_path / "me/pairs/train.jsonl", lines_of({"en": "Not the hub's.", "zh": "不是它的。"}))
    configs = HUB | {"hub_id": "me/configs", "config": "plain", "split": "dev"}
    with serving(shop) as (address, asked):
        plain, again, other, *errors = run_hub(
            address,
            tmp_path / "home",
            HUB,
            HUB,
            configs | {"weight": 2.0},
            configs | {"columns": {"en": "english", "zh": "chinese"}},
            configs | {"split": "test"},
            configs | {"config": "none"},
            HUB | {"hub_id": "me/nothing"},
            HUB | {"hub_id": "me/script"},
            HUB | {"hub_id": "me/broken"},
            HUB | {"revision": "f" * 40},
        )
    assert [(row["en"], row["zh"], row["method"], row["page"]) for row in plain[0]] == [
        (*pair, "hub", "extra/news") for pair in (A, B)
    ]
    assert again == plain
    assert [(row["en"], row["zh"], row["weight"]) for row in other[0]] == [(*pair, 2.0) for pair in (A, B)]
    facts = plain[1]["sources"]["news"]
    assert (facts["hub_id"], facts["revision"], facts["licence"], facts["kept"]) == ("me/pairs", REVISION, "CC0-1.0", 2)
    assert sum(request.startswith("GET") and request.endswith(".parquet") for request in asked) == 1
    wanted = (
        "me/configs, row 1: wanted the columns 'english' and 'chinese', got 'en', 'zh'",
        "could not load me/configs at 0123456789ab from the hub: Unknown split",
        "BuilderConfig 'none' not found",
        "doesn't exist on the Hub or cannot be accessed.; check hub_id",
        "Dataset scripts are no longer supported",
        "could not load me/broken at 0123456789ab from the hub: An error occurred while generating the dataset (",
        f"the hub did not give it, and the cache has default at {REVISION}; check hub_id, revision",
    )
    for message, said in zip(errors, wanted, strict=True):
        assert isinstance(message, str) and said in message and "\n" not in message, message


DEGENERATE = {
    "empty": ("  \n", "empty_answer"),
    "copy": ("伤口在一周内愈合。", "copied"),
    "half-a-copy": ("The 伤口 healed.", "copied"),
    "one-word": ("very very very very good", "looping"),
    "phrase": ("the wound healed the wound healed the wound healed", "looping"),
    "long-phrase": ("in the left arm or in the left arm or in the left arm or", "looping"),
    "stutter": ("the ininininininin wound", "looping"),
    "said-twice": ("It is what it is, and that is that.", None),
    "three-noughts": ("Give 10 000 000 units; repeat after 24 24 24 24 hours.", None),
    "rule": ("- - - - - see below", None),
    "list": ("one tablet, two tablets, three tablets, four tablets", None),
    "exclamation": ("No, no, no!", None),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_answers(case: str) -> None:
    answer, reason = DEGENERATE[case]
    assert degenerate("伤口在一周内愈合。", answer) == reason


def shout(batch: Sequence[str]) -> list[str]:
    return [text.upper() for text in batch]


@given(st.sets(st.text(alphabet="甲乙丙丁戊己庚辛", min_size=1, max_size=6), max_size=300), st.data())
@settings(deadline=None, max_examples=40)
def test_chunks_hold_every_text_once_and_one_more_changes_one(found: set[str], data: st.DataObject) -> None:
    rows = data.draw(st.permutations(sorted(found)))
    before = list(chunks(rows))
    assert sorted(text for chunk in before for text in chunk) == sorted(found)
    assert before == list(chunks([*reversed(rows), *rows])), "neither order nor repetition matters"
    after = list(chunks([*rows, "新"]))
    assert sum(chunk not in before for chunk in after) <= 2, "the one it went into, or the two halves of that"


def test_answers_are_remembered_chunk_by_chunk(tmp_path: Path) -> None:
    rows = [f"text {n % 500}" for n in range(600)]
    asked: list[int] = []

    def dying(batch: Sequence[str]) -> list[str]:
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(len(batch))
        return shout(batch)

    def counting(batch: Sequence[str]) -> list[str]:
        asked.append(len(batch))
        return shout(batch)

    with pytest.raises(KeyboardInterrupt):
        answers(rows, dying, tmp_path)
    done = sum(asked)
    assert 0 < done < 500 and len(list(tmp_path.iterdir())) == 3
    asked.clear()
    assert answers(rows, counting, tmp_path) == shout(rows)
    assert sum(asked) == 500 - done and max(asked) < 12 * CHUNK, "what the killed run had is not asked again"
    asked.clear()
    memo = sorted(tmp_path.iterdir())
    for file, damage in zip(memo, ('["one too few"]', "[1, 2", '{"a": 1}'), strict=False):
        file.write_text(damage, encoding="utf-8")
    assert answers(rows, counting, tmp_path) == shout(rows)
    assert len(asked) == 3, "damaged answers are asked again, whole ones are not"


@pytest.fixture(scope="module")
def zh_en(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Chinese-to-English model that knows PAIRS by heart."""
    place = tmp_path_factory.mktemp("model") / "zh-en"
    return tiny_marian(place, steps=450, pairs=[(zh, en) for en, zh in PAIRS])


BACK = source("blog.txt", name="blog", format="backtranslation", model="zh-en", max_rows=100)


def test_back_translated_rows(folder: Path, zh_en: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "zh-en").symlink_to(zh_en)
    chinese = [zh for _, zh in PAIRS if "`" not in zh and "](" not in zh]
    write(folder / "blog.txt", "\n".join([*chinese, chinese[0], "No Chinese here.", "长" * 2000]) + "\n")
    rows, report = collect(knobs(BACK), LIMITS, MEMO)
    assert {row["zh"]: row["en"] for row in rows} == {zh: en for en, zh in PAIRS if zh in chinese}
    assert {(r["method"], r["synthetic"], r["page"], r["source"]) for r in rows} == {
        ("backtranslation", True, "extra/blog", "blog")
    }
    facts = report["sources"]["blog"]
    assert facts["dropped"] == {"repeated": 1, "untranslated": 1, "overlong": 1}
    assert (facts["read"], facts["kept"], facts["capped"]) == (len(chinese) + 3, len(chinese), 0)
    assert f"blog: translated {len(chinese)}/{len(chinese)} texts" in capsys.readouterr().out

    write(folder / "blog.jsonl.gz", gzip.compress(lines_of(*({"text": zh, "n": 1} for zh in chinese)).encode()))
    again, _ = collect(knobs(BACK | {"path": "blog.jsonl.gz", "column": "text", "max_rows": 5}), LIMITS, MEMO)
    every = {row["zh"]: row for row in rows}
    assert len(again) == 5 and all(every[row["zh"]] == row for row in again)


def test_a_memo_that_has_every_answer_needs_no_model(
    folder: Path, zh_en: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import doctune.translation

    (folder / "zh-en").symlink_to(zh_en)
    write(folder / "blog.txt", "\n".join(zh for _, zh in PAIRS[:6]))
    first = collect(knobs(BACK), LIMITS, MEMO)
    opened: list[Path] = []
    real = doctune.translation.load_translator
    monkeypatch.setattr(doctune.translation, "load_translator", lambda *a: opened.append(a[0]) or real(*a))
    assert collect(knobs(BACK), LIMITS, MEMO) == first and not opened
    (folder / "zh-en").unlink()
    write(folder / "zh-en/more.txt", "another model")
    for file in zh_en.iterdir():
        (folder / "zh-en" / file.name).write_bytes(file.read_bytes())
    assert collect(knobs(BACK), LIMITS, MEMO) == first and len(opened) == 1, "another model's answers are its own"


def test_a_model_that_answers_nothing_of_use_leaves_no_row(folder: Path) -> None:
    tiny_marian(folder / "zh-en")
    write(folder / "blog.txt", "\n".join(zh for _, zh in PAIRS[:3]))
    with pytest.raises(DoctuneError, match=r"blog: no row is left of 3 read .* translates from Chinese to English"):
        collect(knobs(BACK), LIMITS, MEMO)


@pytest.mark.parametrize(
    ("files", "more", "message"),
    [
        pytest.param({}, {}, r"extra/zh-en is no model folder .* put a Chinese-to-English model there", id="no-model"),
        pytest.param(
            {"zh-en/adapter_config.json": "{}"}, {}, r"extra/zh-en holds an adapter; say where its base", id="adapter"
        ),
        pytest.param(
            {"blog.jsonl": '{"en": "x"}'},
            {"path": "blog.jsonl"},
            r"blog.jsonl:1: wanted the column 'zh' .*got 'en'",
            id="no-column",
        ),
    ],
)
def test_back_translation_says_what_it_lacks(
    folder: Path, files: dict[str, str], more: dict[str, Any], message: str
) -> None:
    for name, content in ({"blog.txt": "伤口愈合。"} | files).items():
        write(folder / name, content)
    with pytest.raises(DoctuneError, match=message):
        collect(knobs(BACK | more), LIMITS, MEMO)


def stage(folder: Path, **section: Any) -> subprocess.CompletedProcess[str]:
    align = load_section(AlignParams, "align", ROOT / "params.yaml").model_dump()
    values = {
        "align": align,
        "extra": {
            "folder": "extra",
            "glossary": [],
            "glossary_weight": 1.0,
            "sources": [],
            "max_share": 0.5,
            "max_synthetic_share": 0.2,
        },
    }
    values["extra"] |= section
    (folder.parent / "params.yaml").write_text(json.dumps(values), encoding="utf-8")
    return subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            "-m",
            "tasks.extra",
            "--out",
            "data/extra.jsonl",
            "--report",
            "report.json",
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_stage(folder: Path) -> None:
    done = stage(folder)
    assert done.returncode == 0 and "no extra data" in done.stdout, done.stderr[-2000:]
    heavy = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not heavy & {"torch", "transformers", "datasets", "pyarrow", "markdown_it"} and "pydantic" in heavy
    assert read_jsonl(folder.parent / "data/extra.jsonl") == []

    write(folder / "wmt.tsv", tsv(("en", "zh"), A, (B[0], "")))
    done = stage(folder, sources=[source("wmt.tsv", format="tsv")])
    assert "wmt (CC-BY-4.0): kept 1 of 2 rows, 0 over the cap; dropped: 1 empty" in done.stdout, done.stderr[-2000:]
    [row] = read_jsonl(folder.parent / "data/extra.jsonl")
    assert (row["en"], row["zh"]) == A

    (folder.parent / "data/extra.jsonl").unlink()
    done = stage(folder, sources=[source("gone.tsv", format="tsv")])
    assert done.returncode == 1 and "doctune: error: extra/gone.tsv does not exist" in done.stderr.splitlines()[-1]
    assert not (folder.parent / "data/extra.jsonl").exists()


def test_personal_data_of_extra_rows_is_masked_and_counted(folder: Path) -> None:
    mail = ("Write to ann@harbour.cn about the pier.", "关于码头的问题请写信给 ann@harbour.cn。")
    write(folder / "mail.jsonl", lines_of(*named("en", "zh", mail)))
    [(en, zh)], report = read(source("mail.jsonl"))
    assert "harbour.cn" not in en + zh and report["wmt"]["masked"] == {"email": 1}
