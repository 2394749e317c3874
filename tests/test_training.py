"""Training: batches, the loss at answer positions, methods, resuming, and what is refused before the first step."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from doctune.errors import DoctuneError
from doctune.files import hash_path
from doctune.models import load_model, merged, save_model
from doctune.prompts import IGNORED, Example, encode_pair
from doctune.section import validate
from doctune.training.checkpoints import last_checkpoint, prune_runs
from doctune.training.data import BucketSampler, Cost, collate, cost
from doctune.training.loss import answer_logits
from doctune.training.params import TrainParams
from doctune.training.run import fine_tune
from doctune.translation import TranslateParams, make_translator
from tests.tiny import ROWS, tiny_marian, tiny_qwen

SETTINGS = {
    "method": "full",
    "lora": {"r": 4, "alpha": 8, "dropout": 0.0, "targets": ["q_proj", "v_proj"]},
    "learning_rate": 2e-3,
    "epochs": 1.0,
    "max_steps": 12,
    "batch_tokens": 256,
    "gradient_accumulation": 1,
    "warmup_ratio": 0.1,
    "schedule": "cosine",
    "weight_decay": 0.0,
    "label_smoothing": 0.1,
    "max_length": 128,
    "eval_steps": 4,
    "precision": "fp32",
    "reporters": [],
    "price_per_hour": 0.0,
    "seed": 3,
}


def params(**changes) -> TrainParams:
    return validate(TrainParams, SETTINGS | changes, "train:")


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {"marian": tiny_marian(folder / "marian"), "qwen": tiny_qwen(folder / "qwen")}


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), min_size=1, max_size=60),
    st.integers(64, 600),
    st.integers(0, 3),
)
def test_every_epoch_visits_each_example_once_within_the_budget(lengths, budget, epoch):
    costs = [Cost(8 * target, 8 * source) for target, source in lengths]
    sampler = BucketSampler(costs, budget, seed=1)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert sorted(i for batch in batches for i in batch) == list(range(len(costs)))
    assert len(batches) == len(sampler)
    for batch in batches:
        padded = len(batch) * (max(costs[i].source for i in batch) + max(costs[i].target for i in batch))
        assert padded <= budget or len(batch) == 1


def test_epochs_differ_and_repeat_under_their_seed():
    costs = [Cost(8, 8)] * 40

    def epoch(number, seed=1):
        sampler = BucketSampler(costs, 64, seed)
        sampler.set_epoch(number)
        return list(sampler)

    assert epoch(0) == epoch(0) and epoch(0) != epoch(1) and epoch(0) != epoch(0, seed=2)


def test_collate_pads_to_eights_on_the_right():
    batch = collate([Example([5, 6, 7], [1], False), Example([5] * 9, [2, 3], False)], pad_id=99)
    assert batch["input_ids"].shape == (2, 16) and batch["labels"].shape == (2, 8)
    assert batch["input_ids"][0, 3:].eq(99).all() and batch["attention_mask"].sum(1).tolist() == [3, 9]
    assert batch["labels"][0].tolist() == [1] + [IGNORED] * 7


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
    assert cost(examples[0], loaded.seq2seq).target == (0 if name == "qwen" else -(-len(examples[0].labels) // 8) * 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["marian", "qwen"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_every_method_lowers_the_loss_and_gives_a_model(bases, tmp_path, name, method):
    settings = params(
        method=method,
        max_steps=40,
        eval_steps=20,
        learning_rate=5e-3 if method == "full" else 2e-2,
        label_smoothing=0.0,
    )
    trained = fine_tune(bases[name], ROWS, ROWS[:8], settings, tmp_path / "work", [])
    losses = [entry["eval_loss"] for entry in trained.history if "eval_loss" in entry]
    assert losses[-1] < (0.9 if method == "full" else 0.99) * trained.history[0]["loss"]
    assert (trained.facts["trainable_parameters"] < 0.5 * trained.facts["parameters"]) == (method == "lora")
    save_model(trained.loaded, tmp_path / "tuned")
    assert (tmp_path / "tuned" / "adapter_config.json").exists() == (method == "lora")
    loaded = load_model(tmp_path / "tuned", bases[name])
    texts, few = [row["en"] for row in ROWS[:6]], TranslateParams(beams=1, batch_tokens=512, max_new_tokens=16)
    answers = make_translator(loaded, few).translate(texts)
    assert answers == make_translator(merged(load_model(tmp_path / "tuned", bases[name])), few).translate(texts)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"method": "lora", "lora": SETTINGS["lora"] | {"targets": ["c_attn"]}},
            "c_attn match no module",
            id="targets that match nothing",
        ),
        pytest.param({"max_length": 4096}, "128 positions; set it to 128 or less", id="longer than the positions"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_step(bases, tmp_path, change, message):
    with pytest.raises(DoctuneError, match=message):
        fine_tune(bases["marian"], ROWS, ROWS[:8], params(**change), tmp_path / "work", [])


def test_a_base_is_only_read(bases, tmp_path):
    before = hash_path(bases["marian"])
    shutil.copytree(bases["marian"], tmp_path / "copy")
    fine_tune(tmp_path / "copy", ROWS, ROWS[:8], params(max_steps=1, eval_steps=1), tmp_path / "work", [])
    assert hash_path(bases["marian"]) == before and not list((tmp_path / "copy").glob("checkpoint*"))
