"""Training: the loss at answer positions, resuming, checkpoints."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import TrainerState

from doctune.files import hash_path
from doctune.models import load_model
from doctune.prompts import IGNORED, encode_pair
from doctune.section import validate
from doctune.training.checkpoints import last_checkpoint, prune_runs
from doctune.training.data import collate
from doctune.training.loss import answer_logits
from doctune.training.params import TrainParams
from doctune.training.run import fine_tune
from tests.tiny import ROWS, tiny_marian, tiny_qwen

SETTINGS = {
    "method": "full",
    "lora": {"r": 4, "alpha": 8, "dropout": 0.0, "targets": ["q_proj", "v_proj"]},
    "ia3": {"targets": ["k_proj", "v_proj", "fc2"], "feedforward": ["fc2"]},
    "learning_rate": 2e-3,
    "epochs": 1.0,
    "max_steps": 12,
    "batch_tokens": 256,
    "batch_rows": 0,
    "gradient_accumulation": 1,
    "gradient_checkpointing": False,
    "packing": False,
    "warmup_ratio": 0.1,
    "schedule": "cosine",
    "weight_decay": 0.0,
    "label_smoothing": 0.1,
    "max_length": 128,
    "eval_steps": 4,
    "choose_by": "loss",
    "patience": 0,
    "precision": "fp32",
    "compile": False,
    "processes": 1,
    "loss": "",
    "reporters": [],
    "price_per_hour": 0.0,
    "trim_vocabulary": False,
    "seed": 3,
}


def params(**changes) -> TrainParams:
    return validate(TrainParams, SETTINGS | changes, "train:")


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {"marian": tiny_marian(folder / "marian"), "qwen": tiny_qwen(folder / "qwen")}


@pytest.mark.parametrize("name", ["marian", "qwen"])
def test_the_loss_is_the_model_s_own(bases, name):
    """Logits at answer positions only give the loss that transformers computes over all positions."""
    loaded = load_model(bases[name])
    loaded.model.eval()
    examples = [encode_pair(loaded.tokenizer, loaded.recipe, row["en"], row["zh"], 512) for row in ROWS[:6]]
    batch = collate(examples, loaded.tokenizer.pad_token_id)
    with torch.no_grad():
        logits, targets = answer_logits(loaded.model, batch)
        wanted = loaded.model(**batch).loss
    assert len(logits) == len(targets) == sum(label != IGNORED for e in examples for label in e.labels)
    torch.testing.assert_close(F.cross_entropy(logits, targets), wanted)


class Killed(Exception):
    pass


@pytest.mark.slow
def test_a_killed_run_ends_where_an_unbroken_one_does(bases, tmp_path):
    from transformers import TrainerCallback

    class KillAt(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 10:
                raise Killed

    unbroken = fine_tune(bases["marian"], ROWS, ROWS[:8], params(), tmp_path / "unbroken", [])
    with pytest.raises(Killed):
        fine_tune(bases["marian"], ROWS, ROWS[:8], params(), tmp_path / "broken", [KillAt()])
    assert last_checkpoint(tmp_path / "broken").endswith("checkpoint-8")
    resumed = fine_tune(bases["marian"], ROWS, ROWS[:8], params(), tmp_path / "broken", [])
    assert resumed.facts == unbroken.facts
    for key, value in unbroken.loaded.model.state_dict().items():
        torch.testing.assert_close(resumed.loaded.model.state_dict()[key], value, rtol=0, atol=0)
    again = fine_tune(bases["marian"], ROWS, ROWS[:8], params(), tmp_path / "broken", [])
    assert again.facts == unbroken.facts, "a finished run is not trained again"


def test_a_checkpoint_that_was_cut_off_is_left_behind(tmp_path):
    for step, state in ((4, json.dumps({"global_step": 4})), (8, '{"global_st')):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state, encoding="utf-8")
    (tmp_path / "checkpoint-12").mkdir()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-4"]


def test_of_several_processes_all_must_have_written(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for step, ranks in ((4, (0, 1)), (8, (0,))):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}), encoding="utf-8")
        for rank in ranks:
            torch.save({"cpu": torch.get_rng_state()}, folder / f"rng_state_{rank}.pth")
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    (tmp_path / "checkpoint-4" / "rng_state_1.pth").write_bytes(b"PK\x03\x04 cut off")
    assert last_checkpoint(tmp_path) is None


def test_old_runs_are_pruned_and_one_s_own_never(tmp_path):
    for name in "abcde":
        (tmp_path / name).mkdir()
    prune_runs(tmp_path, tmp_path / "a")
    assert (tmp_path / "a").exists() and len(list(tmp_path.iterdir())) == 3


def checkpointed(folder: Path, age: int, steps: int) -> Path:
    """A run of 8 steps with a checkpoint after some of them, `age` seconds old."""
    state = folder / f"checkpoint-{steps}" / "trainer_state.json"
    state.parent.mkdir(parents=True)
    TrainerState(global_step=steps, max_steps=8).save_to_json(str(state))
    os.utime(folder, (time.time() - age,) * 2)
    return folder


def test_an_interrupted_run_outlasts_those_that_ended(tmp_path, capsys):
    oldest = checkpointed(tmp_path / "i", 100, steps=4)
    ended = [checkpointed(tmp_path / name, age, steps=8) for age, name in enumerate("abcd")]
    prune_runs(tmp_path, ended[0])
    assert set(tmp_path.iterdir()) == {ended[0], ended[1], oldest} and not capsys.readouterr().out
    newer = [checkpointed(tmp_path / name, age, steps=4) for age, name in enumerate("jk")]
    prune_runs(tmp_path, ended[0])
    assert set(tmp_path.iterdir()) == {ended[0], *newer}
    assert f"interrupted training are removed, as later ones were interrupted too: {oldest}" in capsys.readouterr().out


def test_a_base_is_only_read(bases, tmp_path):
    shutil.copytree(bases["marian"], tmp_path / "copy")
    before = hash_path(tmp_path / "copy")
    fine_tune(tmp_path / "copy", ROWS, ROWS[:8], params(max_steps=1, eval_steps=1), tmp_path / "work", [])
    assert hash_path(tmp_path / "copy") == before
