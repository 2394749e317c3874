"""The estimate of a training: what data and knobs say, what a probe measures, and that nothing is kept of it."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from doctune.bases import BaseParams, check_origin
from doctune.errors import DoctuneError
from doctune.files import hash_path, write_json, write_jsonl
from doctune.models import load_model
from doctune.params import configure, load_preset
from doctune.prompts import IGNORED, encode_pair
from doctune.section import validate
from doctune.training.estimate import Estimate, Plan, Told, estimate
from doctune.training.run import fine_tune
from tests.test_training import params
from tests.tiny import ROWS, tiny_marian, tiny_qwen, tiny_yuan

LONG = {"id": "f" * 16, "en": "Drain the node before you upgrade it. " * 12, "zh": "升级前先清空该节点。" * 12}


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {"marian": tiny_marian(folder / "marian"), "qwen": tiny_qwen(folder / "qwen")}


def plan(**changes) -> Plan:
    values = {
        "rows": 1000,
        "valid_rows": 300,
        "truncated": 12,
        "tokens_per_epoch": 50_000,
        "updates_per_epoch": 40,
        "updates": 100,
        "evaluations": 5,
    }
    return Plan(**(values | changes))


def test_arithmetic():
    """2.5 epochs of 50,000 tokens, and five times a third of the 15,000 that the validation rows are about."""
    assert plan().tokens == 125_000
    assert plan().hours(1000.0) == pytest.approx((125_000 + 5 * 15_000 / 3) / 1000 / 3600)
    priced = Estimate(plan(), 10, 1000.0, 0.031, 1840.2, price_per_hour=30.0)
    assert priced.money == pytest.approx(30 * 150 / 3600)
    assert dict(priced.rows()) == {
        "training rows": "1,000",
        "of them cut at max_length": "12",
        "tokens an epoch, source and answer": "50,000",
        "tokens in all": "125,000",
        "updates": "100 (40 an epoch), 5 evaluations",
        "tokens/s, measured": "1,000 over 10 updates",
        "padding, measured": "3.1%",
        "peak memory of the probe": "1,840 MiB",
        "hours": "0.04 (2:30)",
        "money": "1.25 at 30 an hour",
    }
    assert dict(Estimate(plan(), 10, 1000.0, 0.0, 1.0, price_per_hour=0.09).rows())["money"] == "0.004 at 0.09 an hour"
    assert "money" not in dict(Estimate(plan(), 10, 1000.0, 0.0, 1.0, price_per_hour=0.0).rows())


@pytest.mark.parametrize("name", ["marian", "qwen"])
def test_a_probe_measures_the_real_training(bases, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    before = hash_path(bases[name])
    settings = params(epochs=3.0, max_steps=-1, max_length=100, eval_steps=2, price_per_hour=2.0)
    rows = [*ROWS, LONG]
    found = estimate(bases[name], rows, ROWS[:8], settings)
    loaded = load_model(bases[name])
    encoded = [encode_pair(loaded.tokenizer, loaded.recipe, row["en"], row["zh"], 100) for row in rows]
    assert found.plan.truncated == sum(e.truncated for e in encoded) > 0
    taught = [e for e in encoded if any(label != IGNORED for label in e.labels)]  # Qwen's prompt may fill a whole row
    assert found.plan.rows == len(taught) and found.plan.valid_rows == 8
    assert found.plan.tokens_per_epoch == sum(
        len(e.input_ids) + (len(e.labels) if loaded.seq2seq else 0) for e in taught
    )
    trained = fine_tune(bases[name], rows, ROWS[:8], settings, tmp_path / "work", [])
    assert found.plan.updates == trained.facts["steps"] == 3 * found.plan.updates_per_epoch
    assert found.plan.evaluations == len([entry for entry in trained.history if "eval_loss" in entry])
    assert found.plan.tokens == 3 * found.plan.tokens_per_epoch
    assert found.probed == min(10, found.plan.updates - 3) and found.tokens_per_second > 0
    assert 0 <= found.padding_share < 1 and found.peak_memory_mb > 50 and found.money == 2 * found.hours > 0
    assert hash_path(bases[name]) == before
    assert not list((tmp_path / "temporary").iterdir()), "the probe's folder is thrown away"


def test_a_run_shorter_than_the_probe(bases):
    found = estimate(bases["marian"], ROWS, ROWS[:4], params(max_steps=2, eval_steps=1))
    assert (found.plan.updates, found.probed) == (2, 1) and found.tokens_per_second > 0


def test_a_training_says_what_it_takes(bases, tmp_path, capsys):
    settings = params(max_steps=12, eval_steps=12, price_per_hour=3.0)
    fine_tune(bases["marian"], ROWS, ROWS[:8], settings, tmp_path / "work", [Told(settings, 8)])
    lines = capsys.readouterr().out.splitlines()
    before, after = (number for number, line in enumerate(lines) if " tokens an epoch" in line or "it takes" in line)
    first = next(number for number, line in enumerate(lines) if line.startswith("step 1/12"))
    assert lines[before].startswith("24 rows, 0 cut at train.max_length; ") and "in 12 updates" in lines[before]
    assert before < first < after and "at 3 an hour" in lines[after]


def test_the_command_touches_no_output(bases, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "base").symlink_to(bases["marian"])
    for name, rows in (("train", ROWS), ("valid", ROWS[:8])):
        write_jsonl(tmp_path / "data" / "splits" / f"{name}.jsonl", rows)
    configure("embedded", [], tmp_path / "params.yaml")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    knobs = ["--set", "train.max_steps=5", "--set", "train.max_length=128"]
    command = [sys.executable, "-m", "doctune.cli", "estimate", *knobs]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "100"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "tokens/s, measured" in done.stdout and "over 2 updates" in done.stdout and "step" not in done.stdout
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_a_base_made_for_another_section_is_refused(tmp_path):
    section = validate(BaseParams, load_preset("k8s-opus-mt")["base"], "base:")
    check_origin(section, tmp_path / "base.json")  # no report: nobody can tell
    write_json(tmp_path / "base.json", {"origin": section.origin})
    check_origin(section, tmp_path / "base.json")
    write_json(tmp_path / "base.json", {"origin": "base"})
    with pytest.raises(DoctuneError, match="made of Helsinki-NLP/opus-mt-en-zh@.*got one of base; .*dvc repro adapt"):
        check_origin(section, tmp_path / "base.json")


def test_the_updates_are_those_of_all_processes(bases, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    length = {"epochs": 8.0, "max_steps": -1}
    two, accumulated = (
        estimate(bases["marian"], ROWS, ROWS[:8], params(**length, **change))
        for change in ({"processes": 2}, {"gradient_accumulation": 2})
    )
    assert two.plan == accumulated.plan and two.plan.updates > 0
    assert "in one process instead of 2" in dict(two.rows())["tokens/s, measured"]
    assert f"2 processes take {two.hours / 2:.2f} at best" in dict(two.rows())["hours"]
    assert "in one process" not in dict(accumulated.rows())["tokens/s, measured"]


def test_a_base_with_code_of_its_own_is_estimated_where_that_may_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = tiny_yuan(tmp_path / "base")
    with pytest.raises(DoctuneError, match="code"):
        estimate(base, ROWS, ROWS[:8], params())
    assert estimate(base, ROWS, ROWS[:8], params(), remote_code=True).tokens_per_second > 0
