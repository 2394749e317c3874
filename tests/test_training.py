"""Training: the loss at answer positions, resuming, checkpoints."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

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


def test_old_runs_are_pruned_and_one_s_own_never(tmp_path):
    for name in "abcde":
        (tmp_path / name).mkdir()
    prune_runs(tmp_path, tmp_path / "a")
    assert (tmp_path / "a").exists() and len(list(tmp_path.iterdir())) == 3


def test_a_base_is_only_read(bases, tmp_path):
    before = hash_path(bases["marian"])
    shutil.copytree(bases["marian"], tmp_path / "copy")
    fine_tune(tmp_path / "copy", ROWS, ROWS[:8], params(max_steps=1, eval_steps=1), tmp_path / "work", [])
    assert hash_path(bases["marian"]) == before and not list((tmp_path / "copy").glob("checkpoint*"))
