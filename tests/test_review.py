"""Review by people: a sheet that tells nothing, ratings that are checked, agreement and preference with known answers."""

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from doctune.errors import DoctuneError
from doctune.review.ratings import Rating, read_ratings
from doctune.review.sheet import Key, columns, form, make_key, read_key, write_sheet
from doctune.review.verdict import alpha, verdict
from tests.test_report import CHROMIUM, chromium

TEST = [{"id": f"r{i}", "en": f"Open gate {i}.", "zh": f"打开{i}号闸门。"} for i in range(12)]
OUTPUTS = {
    "base": [f"=1+{i}" if i % 2 else f"开{i}号门" for i in range(12)],
    "tuned": [f"打开{i}号门。</script><b>" if i != 4 else "开4号门" for i in range(12)],
}


@pytest.fixture
def key(tmp_path: Path) -> Key:
    made = make_key(TEST, OUTPUTS, rows=12, seed=5)
    write_sheet(made, tmp_path)
    return made


def sheet_of(folder: Path) -> list[list[str]]:
    with (folder / "raters" / "sheet.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def fill(folder: Path, key: Key, name: str, values: dict[str, int], rater: str = "", delimiter: str = ",") -> Path:
    rows = sheet_of(folder)
    for row, item in zip(rows[1:], key.items, strict=True):
        for place, asked in enumerate(item.places):
            row[4 + 2 * place] = str(values[asked.systems[-1]])
        row[-1] = rater
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return folder / name


def test_the_sheet_is_blind_shuffled_seeded_and_no_formula(tmp_path: Path, key: Key) -> None:
    assert read_key(tmp_path / "key.json") == key == make_key(TEST, OUTPUTS, rows=12, seed=5)
    assert make_key(TEST, OUTPUTS, rows=12, seed=6) != key
    for file in (tmp_path / "raters").iterdir():
        text = file.read_text(encoding="utf-8")
        assert "tuned" not in text and '"base"' not in text and "base," not in text
    first = {item.places[0].systems[0] for item in key.items}
    assert first == {"base", "tuned"}
    assert next(item for item in key.items if item.id == "r4").places[0].systems == [
        "base",
        "tuned",
    ]  # one text, one place
    cells = [cell for row in sheet_of(tmp_path) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] and "'=1+3" in cells


def test_ratings_come_back_to_their_systems(tmp_path: Path, key: Key) -> None:
    anna = fill(tmp_path, key, "a.csv", {"base": 2, "tuned": 5}, rater="安娜")
    wei = fill(tmp_path, key, "wei.csv", {"base": 3, "tuned": 4}, delimiter=";")
    found = read_ratings([anna, wei], key)
    assert {rating.rater for rating in found} == {"安娜", "wei"} and len(found) == 48
    shared = next(number for number, item in enumerate(key.items, 1) if item.id == "r4")
    assert {r.value for r in found if r.rater == "安娜" and r.system == "base" and r.item != shared} == {2}
    said = verdict(found, key.systems)
    assert said["systems"]["base"]["mean"] == pytest.approx((11 * 2.5 + 4.5) / 12, abs=1e-4)
    assert said["preferences"][0] | {"p_value": 0} == {
        "system": "tuned", "over": "base", "wins": 11, "ties": 1, "losses": 0, "p_value": 0,
    }  # fmt: skip
    assert said["preferences"][0]["p_value"] == pytest.approx(2 / 2**11, abs=1e-4)


def change(rows: list[list[str]], row: int, column: str, value: str) -> None:
    rows[row][rows[0].index(column)] = value


MISTAKES = {
    "changed text": (lambda rows: change(rows, 1, "text_a", "别的"), "row 2: text_a was changed"),
    "changed English": (lambda rows: change(rows, 2, "english", "Else"), "row 3: english was changed"),
    "other sheet": (lambda rows: change(rows, 1, "sheet", "0" * 16), "wanted sheet"),
    "no such item": (lambda rows: change(rows, 1, "item", "13"), "item from 1 to 12"),
    "out of scale": (lambda rows: change(rows, 1, "rating_a", "6"), "wanted 1 to 5 or nothing in rating_a"),
    "double row": (lambda rows: rows.append(rows[1]), "is in .*row 2 already"),
    "lost column": (lambda rows: rows[0].pop(), "wanted the columns"),
    "short row": (lambda rows: rows[3].pop(), "row 4: wanted 9 cells, got 8"),
    "nothing rated": (
        lambda rows: [change(rows, n, f"rating_{x}", "") for n in range(1, 13) for x in "ab"],
        "no rating",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_sheet_is_one_line(name: str, tmp_path: Path, key: Key) -> None:
    damage, wanted = MISTAKES[name]
    path = fill(tmp_path, key, "a.csv", {"base": 2, "tuned": 5})
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    damage(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(DoctuneError, match=wanted) as error:
        read_ratings([path], key)
    assert "\n" not in str(error.value)


def test_a_changed_key_is_refused(tmp_path: Path, key: Key) -> None:
    path = tmp_path / "key.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"tuned"', '"other"'), encoding="utf-8")
    with pytest.raises(DoctuneError, match="was changed"):
        read_key(path)


# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability": what each unit got, and the alphas printed there
BINARY = [[1, 2], [2, 2], [1, 2], [1, 1], [1, 1], [1, 2], [1, 1], [1, 1], [2, 1], [1, 1]]
FOUR_OBSERVERS = [
    [1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4], [1, 1, 2, 1],
    [2, 2, 2, 2], [5, 5, 5], [1, 1], [3],
]  # fmt: skip
ALPHAS = [
    pytest.param(BINARY, 0.095, id="A-two-observers-binary"),  # of two values any distance is the same
    pytest.param(FOUR_OBSERVERS, 0.815, id="D-ordinal"),
    pytest.param([[1, 1], [3, 3], [5, 5]], 1.0, id="perfect"),
    pytest.param([[2, 2], [2, 2]], None, id="no-variation"),
    pytest.param([[1], [4]], None, id="one-rater"),
    pytest.param([], None, id="nobody"),
]


@pytest.mark.parametrize(("units", "wanted"), ALPHAS)
def test_alpha(units: list[list[int]], wanted: float | None) -> None:
    found = alpha(units)
    assert found is None if wanted is None else found == pytest.approx(wanted, abs=5e-4)


def test_a_system_without_ratings_has_no_mean() -> None:
    said = verdict([Rating("a", 1, "a", "base", 3)], ["base", "tuned"])
    assert set(said["systems"]) == {"base"} and said["alpha"] is None
    assert said["preferences"][0]["wins"] == 0 and said["preferences"][0]["p_value"] == 1.0


def test_a_text_that_two_systems_wrote_is_one_unit_of_agreement() -> None:
    """Twice the same text would be twice the same agreement."""
    told = [(1, "a", 2), (1, "b", 3), (2, "a", 4), (2, "b", 4), (3, "a", 1), (3, "b", 2)]
    values = [
        Rating(rater, item, "a", system, value)
        for item, rater, value in told
        for system in ("base", "tuned")[: 3 - item]
    ]
    said = verdict(values, ["base", "tuned"])
    assert said["ratings"] == 4 and said["alpha"] == alpha([[2, 3], [4, 4]])


def test_ratings_of_two_people_reach_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """export -> two filled sheets -> import -> a run in a real store, asked through MLflow's own client."""
    from mlflow import MlflowClient
    from typer.testing import CliRunner

    from doctune.cli import app
    from doctune.files import write_jsonl
    from doctune.registry.reviews import REVIEW

    uri = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    write_jsonl(tmp_path / "splits" / "test.jsonl", [{**row, "page": "a.md", "kind": "heading"} for row in TEST])
    for name, texts in OUTPUTS.items():
        write_jsonl(tmp_path / f"{name}.jsonl", [{"id": f"r{i}", "hyp": text} for i, text in enumerate(texts)])
    systems = [part for name in OUTPUTS for part in ("--system", f"{name}={name}.jsonl")]
    export = ["review", "export", *systems, "--rows", "5", "--splits", "splits", "-o", "out"]
    done = CliRunner().invoke(app, export)
    assert done.exit_code == 0, done.output
    key = read_key(tmp_path / "out" / "key.json")
    wei = fill(tmp_path / "out", key, "wei.csv", {"base": 2, "tuned": 4})
    anna = fill(tmp_path / "out", key, "a.csv", {"base": 1, "tuned": 5}, rater="安娜")
    client = MlflowClient(uri)

    def imported(*files: Path) -> tuple[str, Any]:
        done = CliRunner().invoke(app, ["review", "import", *map(str, files), "--key", "out/key.json"])
        assert done.exit_code == 0, done.output
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        (run,) = client.search_runs(experiments, f"tags.`{REVIEW}` = '{key.sheet}'")  # imported again, the same run
        return done.output, run

    assert "r4" in {item.id for item in key.items}  # both systems wrote the same there: one text, one rating
    output, run = imported(wei)
    assert "1 raters, 5 of 5 items, 9 ratings" in output and "Krippendorff's alpha: none" in output
    assert run.data.metrics["raters"] == 1 and "alpha" not in run.data.metrics
    output, run = imported(wei, anna)
    assert "2 raters, 5 of 5 items, 18 ratings" in output and "tuned against base: 4 won, 1 tied, 0 lost" in output
    metrics = run.data.metrics
    assert (
        metrics["systems/base/mean"] == (4 * 1.5 + 4.5) / 5
        and metrics["systems/tuned/mean"] == 4.5
        and metrics["raters"] == 2
    )
    assert metrics["preferences/tuned_over_base/wins"] == 4
    assert metrics["preferences/tuned_over_base/p_value"] == pytest.approx(2 / 2**4)
    assert metrics["alpha"] == alpha([[2, 1]] * 4 + [[4, 5]] * 5) and f"{metrics['alpha']:.2f}" in output
    _, run = imported(wei)
    assert run.data.metrics["raters"] == 1 and math.isnan(run.data.metrics["alpha"]), "one rater agrees with nobody"
    _, run = imported(wei, anna)
    assert run.data.metrics["alpha"] == metrics["alpha"] and run.info.status == "FINISHED"
    table = json.loads(Path(client.download_artifacts(run.info.run_id, "review/ratings.json")).read_text("utf-8"))
    rows = [dict(zip(table["columns"], cells, strict=True)) for cells in table["data"]]
    assert len(rows) == 20
    known = client.load_table(run.info.experiment_id, "review/ratings.json", [run.info.run_id])
    assert known["value"].tolist() == [row["value"] for row in rows], (
        "MLflow knows it as a table, replaced and not appended to"
    )
    assert {(row["rater"], row["system"], row["value"]) for row in rows} == {
        ("wei", "base", 2), ("wei", "base", 4), ("wei", "tuned", 4), ("安娜", "base", 1), ("安娜", "base", 5),
        ("安娜", "tuned", 5),
    }  # fmt: skip
    told = json.loads(Path(client.download_artifacts(run.info.run_id, "review/verdict.json")).read_text("utf-8"))
    assert told["systems"]["tuned"]["mean"] == 4.5 and told["ratings"] == 18


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: the form is not tried in a browser")
def test_the_form_gives_back_a_sheet_that_imports(tmp_path: Path, key: Key) -> None:
    page = form(key)
    assert "</script><b>" not in page
    # the page's own program runs under its policy; a second one, let in beside it, rates and reads what it would save
    probe = """<script>document.getElementById("rater").value = "@wei";
    document.querySelectorAll("input[type=radio][value='4']").forEach((input) => input.click());
    document.body.innerHTML = "<pre id=csv></pre>" + ""; document.getElementById("csv").textContent = SAVED;</script>"""
    probe = probe.replace("document.body.innerHTML", "const SAVED = csv(); document.body.innerHTML", 1)
    policy = page.index("<meta http-equiv")
    opened = page[:policy] + page[page.index(">", policy) + 1 :]
    (tmp_path / "form.html").write_text(page, encoding="utf-8")
    (tmp_path / "probe.html").write_text(opened.replace("</body>", probe + "</body>"), encoding="utf-8")
    shown = chromium(tmp_path, "--dump-dom", (tmp_path / "form.html").as_uri())
    assert "CONSOLE" not in shown.stderr and "0 of 23 rated" in shown.stdout
    import html

    dumped = chromium(tmp_path, "--dump-dom", (tmp_path / "probe.html").as_uri()).stdout
    saved = html.unescape(dumped.partition('<pre id="csv">')[2].partition("</pre>")[0])
    (tmp_path / "back.csv").write_text(saved, encoding="utf-8")
    found = read_ratings([tmp_path / "back.csv"], key)
    assert len(found) == 24 and {rating.value for rating in found} == {4} and {r.rater for r in found} == {"@wei"}
    assert columns(2) == saved.lstrip("\ufeff").splitlines()[0].split(",") and shutil.which("chromium")


def test_ratings_are_compared_within_a_rater() -> None:
    """A strict rater gave both texts 2, a mild one rated only one of them: nobody preferred it."""
    told = [("安娜", "a", "base", 2), ("安娜", "b", "tuned", 2), ("伟", "b", "tuned", 5)]
    [said] = verdict([Rating(rater, 1, *rest) for rater, *rest in told], ["base", "tuned"])["preferences"]
    assert (said["wins"], said["ties"], said["losses"]) == (0, 1, 0)


def test_the_key_of_another_sheet_is_not_overwritten(tmp_path: Path, key: Key) -> None:
    write_sheet(key, tmp_path)  # the same again
    with pytest.raises(DoctuneError, match="name another folder"):
        write_sheet(make_key(TEST, OUTPUTS, rows=12, seed=6), tmp_path)
    assert read_key(tmp_path / "key.json") == key
