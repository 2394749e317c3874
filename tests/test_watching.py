"""Watching a training: what the meter counts, the curves, progress for others to read, TensorBoard and W&B."""

import csv
import importlib.util
import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from doctune.errors import DoctuneError
from doctune.progress import MOST_POINTS, clock, progress_file, read_progress, report_progress, thinned
from doctune.prompts import IGNORED, Example
from doctune.training import run
from doctune.training.data import collate
from doctune.training.meter import Meter, count_tokens, peak_memory
from doctune.training.reporters import check_reporters
from doctune.training.run import fine_tune
from doctune.training.trainer import perplexity
from doctune.training.watching import CURVES, ProgressFile, curve, in_words, measured, write_curves
from flows.progress import description
from tests.test_trainer import Watch
from tests.test_training import params
from tests.tiny import ROWS, tiny_marian, tiny_qwen

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None,
    reason="tensorboard is not installed: pip install 'doctune[tensorboard]'",
)
needs_wandb = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="wandb is not installed: pip install 'doctune[wandb]'"
)


@pytest.fixture(scope="module")
def marian(tmp_path_factory) -> Path:
    return tiny_marian(tmp_path_factory.mktemp("bases") / "marian")


@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.integers(1, 30)),
        min_size=1,
        max_size=8,
    ),
    st.booleans(),
)
def test_tokens_are_counted_without_padding(lengths, seq2seq):
    if seq2seq:
        examples = [Example([5] * source, [6] * answer, False, False) for source, answer in lengths]
        real = sum(source + answer for source, answer in lengths)
    else:  # a causal row holds its prompt and its answer
        examples = [Example([5] * (s + a), [IGNORED] * s + [6] * a, False, False) for s, a in lengths]
        real = sum(s + a for s, a in lengths)
    batch = collate(examples, pad_id=0)
    padded = batch["input_ids"].numel() + (batch["labels"].numel() if seq2seq else 0)
    assert count_tokens(batch, seq2seq).tolist() == [real, sum(answer for _, answer in lengths), padded]


def test_rows_of_several_examples_end_with_an_answer():
    """Their padding begins after the last answer's last token; a prompt in between is no padding."""
    no = IGNORED
    labels = torch.tensor([[no, no, 7, no, 8, no, no, no], [no, 7, 7, 7, 7, 7, 7, no]])
    batch = {"input_ids": torch.ones_like(labels), "position_ids": torch.zeros_like(labels), "labels": labels}
    assert count_tokens(batch, seq2seq=False).tolist() == [5 + 7, 2 + 6, 16]


def test_the_meter_leaves_evaluations_out_and_counts_all_processes():
    batch = collate([Example([5] * 8, [6] * 8, False, False)], pad_id=0)
    meter = Meter(processes=2)
    assert "seconds_left" not in meter.read(0, 10) and "tokens_per_second" not in meter.read(0, 10)
    meter.count(batch, seq2seq=True, step=4)
    began = time.perf_counter()
    time.sleep(0.2)
    meter.pause(began)
    read = meter.read(step=5, steps=10)
    assert read["tokens_per_second"] > 2 * 16 / 0.2, "the pause was counted"
    assert read["tokens_per_second"] == pytest.approx(2 * read["answer_tokens_per_second"], rel=0.01)
    assert read["padding_share"] == 0
    assert read["seconds_left"] >= 5 * 0.2, "what is left holds evaluations too"


def test_peak_memory_is_this_process_s_own():
    before = peak_memory()
    held = bytearray(before + (64 << 20))
    held[::4096] = b"x" * len(held[::4096])
    grown = peak_memory()
    del held
    about = 4 << 20  # the kernel counts in parts, a thread each
    assert grown >= before + (64 << 20) - about and peak_memory() >= grown - about
    program = "from doctune.training.meter import peak_memory; print(peak_memory())"
    child = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert child < grown, "a child inherits nothing"


@pytest.mark.parametrize(
    ("loss", "wanted"), [(0.0, 1.0), (math.log(600), 600.0), (1e6, math.inf), (math.nan, math.nan)]
)
def test_perplexity(loss, wanted):
    assert perplexity(loss) == pytest.approx(wanted, nan_ok=True)


def test_a_training_is_watched_in_every_place(marian, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = params(max_steps=12, eval_steps=6)
    trained = fine_tune(marian, ROWS, ROWS[:8], settings, tmp_path / "work", [ProgressFile("train")])
    write_curves(trained.history, tmp_path / "curves.csv")
    with (tmp_path / "curves.csv").open(encoding="utf-8") as file:
        rows = {int(row["step"]): row for row in csv.DictReader(file)}
    assert sorted(rows) == [1, 6, 10, 12] and tuple(rows[1]) == CURVES
    for step in (1, 10, 12):
        row = rows[step]
        assert all(row[name] for name in ("loss", "learning_rate", "grad_norm", "peak_memory_mb", "seconds")), row
        assert 0 < float(row["answer_tokens_per_second"]) < float(row["tokens_per_second"])
        assert 0 <= float(row["padding_share"]) < 1
    for step in (6, 12):
        assert float(rows[step]["eval_perplexity"]) == pytest.approx(math.exp(float(rows[step]["eval_loss"])))
    assert float(rows[12]["seconds_left"]) == 0 < float(rows[6]["seconds_left"])
    told = read_progress("train")
    assert (told.done, told.total, told.percent, told.seconds_left) == (12, 12, 100.0, 0.0)
    assert [point["step"] for point in told.points] == [1, 6, 10, 12]
    assert told.points[1]["eval_loss"] == float(rows[6]["eval_loss"]) and "validation loss" in told.text
    for name in ("loss", "learning_rate", "tokens_per_second", "padding_share", "peak_memory_mb"):
        assert told.points[2][name] == float(rows[10][name])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if re.fullmatch(r"step 12/12 \(100 %\)  loss .* tokens/s  0:00 left", line)]
    took = measured(trained.history)
    assert took["peak_memory_mb"] > 50 and 0 < took["answer_tokens_per_second"] < took["tokens_per_second"]
    assert took["minutes"] >= 0


def test_a_causal_model_s_tokens_are_counted_once(tmp_path):
    base = tiny_qwen(tmp_path / "base")
    trained = fine_tune(base, ROWS, ROWS[:4], params(max_steps=2, eval_steps=2), tmp_path / "work", [])
    first = trained.history[0]
    assert 0 < first["answer_tokens_per_second"] < first["tokens_per_second"] and 0 <= first["padding_share"] < 1


@pytest.mark.parametrize(
    ("logs", "line"),
    [
        pytest.param(
            {"loss": 2.3141, "learning_rate": 3e-4, "tokens_per_second": 5210.4, "seconds_left": 250.9},
            "loss 2.314  learning rate 3.0e-04  5210 tokens/s  4:10 left",
            id="a step",
        ),
        pytest.param(
            {"eval_loss": 2.5, "eval_perplexity": 12.18},
            "validation loss 2.5000 (perplexity 12.2)",
            id="an evaluation",
        ),
    ],
)
def test_a_point_in_words(logs, line):
    assert in_words(logs) == line


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (-3, "0:00"), (250.9, "4:10"), (11050, "3:04:10")])
def test_clock(seconds, shown):
    assert clock(seconds) == shown


def test_a_curve_has_one_point_a_step_in_order():
    history = [
        {"step": 6, "eval_loss": 2.0, "seconds": 2.0},
        {"step": 6, "loss": 3.0, "unknown": 1.0},
        {"step": 1, "loss": 4.0},
        {"step": 7, "train_runtime": 3.0},
    ]
    assert curve(history) == [
        (1, {"step": 1, "loss": 4.0}),
        (6, {"step": 6, "eval_loss": 2.0, "seconds": 2.0, "loss": 3.0}),
    ]


@given(st.integers(0, 200))
def test_thinned_points_end_with_the_last(count):
    points = [{"step": float(n)} for n in range(count)]
    few = thinned(points)
    assert len(few) <= MOST_POINTS and few == sorted(few, key=points.index) and few[-1:] == points[-1:]
    assert count > MOST_POINTS or few == points


def test_progress_goes_through_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_progress("train") is None
    report_progress("train", 3, 12, "损失 2.3", [{"step": 3, "loss": math.inf}], seconds_left=4.5)
    told = read_progress("train", tmp_path)
    assert (told.percent, told.text, told.seconds_left, told.points) == (
        25.0,
        "损失 2.3",
        4.5,
        [{"step": 3, "loss": math.inf}],
    )
    progress_file("train").write_text('{"done": 3, "tot', encoding="utf-8")
    assert read_progress("train") is None


def test_progress_that_cannot_be_written_ends_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path(".doctune").write_text("a file where a folder is wanted", encoding="utf-8")
    report_progress("train", 3, 12, "")
    assert "its progress is not shown" in capsys.readouterr().err


def test_progress_as_prefect_shows_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    points = [{"step": 10, "loss": 2.34567}, {"step": 12000, "eval_loss": 2.5, "tokens_per_second": 5210.4}]
    report_progress("train", 12000, 24000, "loss 2.3", points, 250.0)
    assert description("train", read_progress("train")).splitlines() == [
        "**train: 12,000 of 24,000, 4:10 left**",
        "",
        "loss 2.3",
        "",
        "| step | loss | eval loss | tokens per second |",
        "|---|---|---|---|",
        "| 10 | 2.346 |  |  |",
        "| 12,000 |  | 2.5 | 5,210 |",
    ]


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_reporter_without_its_package_is_refused_before_anything_is_loaded(tmp_path, monkeypatch, name):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == name else found(wanted))
    with pytest.raises(DoctuneError, match=rf"{name}, but its package is not installed: pip install '{name}'"):
        fine_tune(tmp_path / "no such base", ROWS, ROWS, params(reporters=[name]), tmp_path / "work", [])


@needs_tensorboard
def test_tensorboard_gets_the_curves(marian, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    settings = params(max_steps=4, eval_steps=4, reporters=["tensorboard"])
    trained = fine_tune(marian, ROWS, ROWS[:8], settings, tmp_path / "work", [])
    events = EventAccumulator(str(tmp_path / ".doctune" / "tensorboard" / "work")).Reload()
    wanted = {"train/loss", "train/grad_norm", "train/tokens_per_second", "train/padding_share", "train/peak_memory_mb"}
    assert wanted | {"eval/loss", "eval/perplexity"} <= set(events.Tags()["scalars"])
    (point,) = events.Scalars("eval/loss")
    assert point.step == 4 and point.value == pytest.approx(trained.history[-2]["eval_loss"], rel=1e-5)


@needs_tensorboard
def test_tensorboard_shows_a_resumed_run_once(marian, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "LOG_STEPS", 1)
    settings = params(max_steps=8, eval_steps=4, reporters=["tensorboard"])
    with pytest.raises(KeyboardInterrupt):  # after the checkpoint of step 4 and the points of steps 5 and 6
        fine_tune(marian, ROWS, ROWS[:8], settings, tmp_path / "work", [Watch(kill_at=7)])
    fine_tune(marian, ROWS, ROWS[:8], settings, tmp_path / "work", [])
    events = EventAccumulator(str(tmp_path / ".doctune" / "tensorboard" / "work")).Reload()
    assert [point.step for point in events.Scalars("train/loss")] == list(range(1, 9))


@needs_wandb
def test_wandb_wants_a_login_unless_it_is_offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DoctuneError, match="nobody is logged in"):
        check_reporters(params(reporters=["wandb"]))
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_reporters(params(reporters=["wandb"]))


@needs_wandb
@pytest.mark.slow
def test_wandb_offline_gets_the_curves(marian, tmp_path):
    """In a process of its own: W&B leaves threads and a service behind."""
    settings = params(max_steps=4, eval_steps=4, reporters=["wandb"]).model_dump()
    program = f"""
import json, sys
from pathlib import Path
from tests.test_training import params
from tests.tiny import ROWS
from doctune.training.run import fine_tune
import wandb
fine_tune(Path({str(marian)!r}), ROWS, ROWS[:8], params(**{settings!r}), Path("work"), [])
print(json.dumps({{key: value for key, value in dict(wandb.run.summary).items() if isinstance(value, (int, float))}}))
wandb.finish()
"""
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[1]), "WANDB_MODE": "offline"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (number,) = {path.stem.removeprefix("run-") for path in (tmp_path / ".doctune" / "wandb").glob("*/run-*.wandb")}
    assert (tmp_path / "work" / "wandb_run").read_text(encoding="utf-8") == number, "a resumed run goes on as the same"
    summary = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert {"train/loss", "eval/loss", "eval/perplexity", "train/tokens_per_second"} <= summary.keys()
    assert list((tmp_path / ".doctune" / "wandb").glob("offline-run-*/run-*.wandb"))
