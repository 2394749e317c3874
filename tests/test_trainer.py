"""What a run computes and when it ends: precision, weight decay, tokens an update, the best checkpoint, early stops, resuming."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import TrainerCallback, TrainingArguments

from doctune.errors import DoctuneError
from doctune.models import load_model
from doctune.prompts import IGNORED, encode_pair
from doctune.training import precision, quality
from doctune.training.checkpoints import last_checkpoint
from doctune.training.compiling import check_compiler, compile_body, eager
from doctune.training.custom_loss import load_loss
from doctune.training.data import Batching, EncodedPairs, collate
from doctune.training.loss import answer_logits
from doctune.training.meter import Meter
from doctune.training.precision import number_format
from doctune.training.run import fine_tune, run_training
from doctune.training.trainer import TranslationTrainer
from tests.test_training import params
from tests.tiny import ROWS, tiny_marian, tiny_qwen

ROOT = Path(__file__).parents[1]
LONG = {
    "en": "Labels are key and value pairs, and every service that selects pods by their labels gets a stable address.",
    "zh": "标签是键值对，每个通过标签选择 Pod 的服务都有一个稳定的地址。",
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, Path]:
    """Marian without dropout, so that a loss does not depend on how examples are batched; Qwen2 has none."""
    folder = tmp_path_factory.mktemp("bases")
    found = {"marian": tiny_marian(folder / "marian"), "qwen": tiny_qwen(folder / "qwen")}
    config = json.loads((found["marian"] / "config.json").read_text(encoding="utf-8"))
    (found["marian"] / "config.json").write_text(json.dumps(config | {"dropout": 0.0}), encoding="utf-8")
    return found


@pytest.mark.parametrize(
    ("asked", "gpu", "gpu_bf16", "cpu_bf16", "wanted"),
    [
        pytest.param("auto", True, True, True, "bf16", id="a GPU that multiplies bf16"),
        pytest.param("auto", True, False, True, "fp16", id="an older GPU"),
        pytest.param("auto", False, False, True, "bf16", id="a processor that multiplies bf16"),
        pytest.param("auto", False, False, False, "fp32", id="an older processor"),
        pytest.param("fp16", True, True, True, "fp16", id="fp16 on a GPU"),
        pytest.param("bf16", False, False, False, "bf16", id="bf16 though it is emulated"),
        pytest.param("fp32", True, True, True, "fp32", id="fp32 though there is better"),
        pytest.param("fp16", False, False, True, "which trains on a CUDA GPU only", id="fp16 without a GPU"),
    ],
)
def test_precision_by_probe(monkeypatch, asked, gpu, gpu_bf16, cpu_bf16, wanted):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: gpu_bf16 or including_emulation
    )
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: cpu_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    if len(wanted) > 4:
        with pytest.raises(DoctuneError, match=wanted):
            number_format(params(precision=asked))
    else:
        assert number_format(params(precision=asked)) == wanted


@pytest.mark.parametrize(
    ("asked", "fastest", "told"),
    [("bf16", "fp32", True), ("bf16", "fp16", True), ("bf16", "bf16", False), ("auto", "fp32", False)],
)
def test_a_format_that_the_hardware_emulates_is_told(monkeypatch, capsys, asked, fastest, told):
    monkeypatch.setattr(precision, "fastest", lambda: fastest)
    precision.check_fast(params(precision=asked), "adapt")
    warning = "doctune: warning: adapt.precision is bf16, which this hardware does not multiply"
    assert (warning in capsys.readouterr().err) == told


def trainer(base: Path, work: Path, rows=ROWS, **more) -> TranslationTrainer:
    loaded = load_model(base)
    data = EncodedPairs(loaded.tokenizer, loaded.recipe, rows, 128, work / "tokens")
    settings = {"output_dir": str(work), "use_cpu": True, "report_to": "none", "weight_decay": 0.1, "seed": 3}
    custom = {k: more.pop(k) for k in ("custom_loss", "quality") if k in more}
    return TranslationTrainer(
        model=loaded.model,
        args=TrainingArguments(
            **settings
            | {"remove_unused_columns": False, "dataloader_pin_memory": False, "label_names": ["labels"]}
            | more
        ),
        train_dataset=data,
        eval_dataset=data,
        processing_class=loaded.tokenizer,
        batching=Batching(512, 0, 0),
        **custom,
    )


@pytest.mark.parametrize("name", ["marian", "qwen"])
def test_biases_and_norms_do_not_decay(bases, tmp_path, name):
    made = trainer(bases[name], tmp_path)
    decaying, rest = (group["params"] for group in made.create_optimizer().param_groups)
    names = {id(p): n for n, p in made.model.named_parameters()}
    assert {p.ndim for p in decaying} == {2} and {p.ndim for p in rest} == {1}
    assert all("norm" in names[id(p)] or names[id(p)].endswith("bias") for p in rest)
    assert any("proj" in names[id(p)] for p in decaying) and any("norm" in names[id(p)] for p in rest)


@pytest.mark.parametrize("name", ["marian", "qwen"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_update_averages_over_its_tokens_however_it_is_batched(bases, tmp_path, name, smoothing):
    """Batches of unequal numbers of tokens, one after the other, give the gradient of all in one batch."""
    rows = [*ROWS[:7], LONG]
    made = trainer(bases[name], tmp_path, rows, gradient_accumulation_steps=4, label_smoothing_factor=smoothing)
    made.create_optimizer()
    model, data = made.model, made.train_dataset
    pad = made.processing_class.pad_token_id
    batches = [collate([data[i] for i in part], pad) for part in ([0], [1, 2, 3], [4, 5, 6], [7])]
    count = made._get_num_items_in_batch(batches, torch.device("cpu"))
    assert int(count) == sum(int((b["labels"] != IGNORED).sum()) for b in batches)
    made.current_gradient_accumulation_steps = 4
    shown = sum(made.training_step(model, batch, count) for batch in batches)
    got = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    logits, targets = answer_logits(model, collate([data[i] for i in range(8)], pad))
    wanted = F.cross_entropy(logits, targets, label_smoothing=smoothing)
    wanted.backward()
    torch.testing.assert_close(shown, wanted.detach(), rtol=1e-5, atol=1e-6)
    for n, p in model.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(got[n], p.grad, rtol=1e-3, atol=1e-6)


def test_the_loss_is_computed_in_the_run_s_number_format(bases, tmp_path):
    made = trainer(bases["qwen"], tmp_path, bf16=True)
    batch = collate([made.train_dataset[0]], made.processing_class.pad_token_id)
    with made.compute_loss_context_manager():
        assert answer_logits(made.model, batch)[0].dtype == torch.bfloat16
    assert answer_logits(made.model, batch)[0].dtype == torch.float32


LOSSES = {
    "plain": "import torch.nn.functional as F\ndef plain(logits, targets): return F.cross_entropy(logits, targets)\n",
    "focal": "import torch.nn.functional as F\n"
    "def focal(logits, targets):\n"
    "    surprise = F.cross_entropy(logits, targets, reduction='none')\n"
    "    return ((1 - (-surprise).exp()) ** 2 * surprise).mean()\n",
    "broken": "def broken(logits, targets):\n",
    "gone": "import no_such_module_anywhere\n",
    "vector": "def vector(logits, targets): return logits.sum(1)\n",
    "number": "def number(logits, targets): return 3.0\n",
    "constant": "import torch\ndef constant(logits, targets): return torch.tensor(1.0)\n",
    "endless": "def endless(logits, targets): return logits.sum() / 0\n",
    "wrong": "def wrong(logits, targets): return logits.no_such_method()\n",
}


@pytest.fixture
def losses(tmp_path, monkeypatch):
    (tmp_path / "losses").mkdir()
    for name, text in LOSSES.items():
        (tmp_path / "losses" / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("losses.absent:f", "there is no losses/absent.py", id="no such module"),
        pytest.param("losses.plain:f", "losses/plain.py has no function f", id="no such function"),
        pytest.param("losses.broken:broken", "cannot be imported: IndentationError", id="not Python"),
        pytest.param("losses.gone:f", "cannot be imported: ModuleNotFoundError: .*no_such_module", id="missing import"),
        pytest.param("losses.vector:vector", r"wanted a scalar tensor, got one of shape \(4,\)", id="not a scalar"),
        pytest.param("losses.number:number", "wanted a scalar tensor, got float", id="not a tensor"),
        pytest.param("losses.constant:constant", "got a constant", id="nothing to learn from"),
        pytest.param("losses.endless:endless", "wanted a finite number, got (inf|-inf|nan)", id="not finite"),
        pytest.param("losses.wrong:wrong", "failed: AttributeError: .*no_such_method", id="it raises"),
    ],
)
def test_a_loss_that_cannot_work_is_refused(losses, name, message):
    with pytest.raises(DoctuneError, match=message):
        load_loss(name)(torch.randn(4, 9, requires_grad=True), torch.tensor([1, 2, 3, 4]))


@pytest.mark.parametrize("name", ["os:getcwd", "losses:focal", "losses.focal", "losses.a b:f", "../losses.focal:focal"])
def test_a_loss_is_a_function_of_the_folder_losses(name):
    with pytest.raises(DoctuneError, match=r"loss: .* got "):
        params(loss=name)


def test_a_loss_of_one_s_own_takes_the_default_s_place(bases, losses, tmp_path):
    shown = {}
    for name in ("plain", "focal"):
        made = trainer(bases["marian"], tmp_path, custom_loss=load_loss(f"losses.{name}:{name}"))
        batch = collate([made.train_dataset[i] for i in range(4)], made.processing_class.pad_token_id)
        count = int((batch["labels"] != IGNORED).sum())
        shown[name] = made.training_step(made.model, batch, torch.tensor(2 * count))  # half of an update's tokens
        shown["default"] = trainer(bases["marian"], tmp_path).training_step(made.model, batch, torch.tensor(2 * count))
    torch.testing.assert_close(shown["plain"], shown["default"])
    assert 0 < shown["focal"] < shown["plain"]


def test_the_documented_loss_works(losses):
    """The example of losses/README.md, as it stands there."""
    text = (ROOT / "losses" / "README.md").read_text(encoding="utf-8")
    Path("losses/readme.py").write_text(text.split("```python\n")[1].split("```")[0], encoding="utf-8")
    logits = torch.randn(4, 9, requires_grad=True)
    assert (
        0
        < load_loss("losses.readme:focal")(logits, torch.tensor([1, 2, 3, 4]))
        < F.cross_entropy(logits, torch.tensor([1, 2, 3, 4]))
    )


def test_the_sample_to_choose_by_is_bounded_seeded_and_adds_up(bases, monkeypatch):
    from sacrebleu.metrics.chrf import CHRF

    monkeypatch.setattr(quality, "SAMPLE_ROWS", 5)
    loaded = load_model(bases["marian"])
    loaded.model.eval()
    sample = quality.Quality(loaded, ROWS, seed=4)
    assert len(sample.rows) == 5 and sample.rows == quality.Quality(loaded, ROWS, seed=4).rows
    assert sample.rows != quality.Quality(loaded, ROWS, seed=5).rows
    answers = sample.translator.translate([row["en"] for row in sample.rows])
    whole = sample.counts()
    assert sample.score(whole) == pytest.approx(
        CHRF().corpus_score(answers, [[row["zh"] for row in sample.rows]]).score, abs=1e-3
    )
    parts = [sample.counts(rank, 7) for rank in range(7)]  # two of seven processes have no row
    assert (sum(parts) == whole).all()
    with pytest.raises(DoctuneError, match="there is no validation row"):
        quality.Quality(loaded, [], seed=4)


class Watch(TrainerCallback):
    """Notes where it was validated, and dies at a step."""

    def __init__(self, kill_at: int | None = None):
        self.kill_at, self.evaluated = kill_at, []

    def on_evaluate(self, args, state, control, **kwargs):
        self.evaluated.append(state.global_step)

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.kill_at:
            raise KeyboardInterrupt


def test_zero_eval_steps_are_an_epoch(bases, tmp_path):
    watch = Watch()
    settings = params(eval_steps=0, epochs=1.5, max_steps=-1, gradient_accumulation=2)
    trained = fine_tune(bases["marian"], ROWS, ROWS[:8], settings, tmp_path, [watch])
    epoch = next(e["step"] for e in trained.history if "eval_loss" in e)
    assert trained.facts["steps"] == -(-epoch * 3 // 2) and watch.evaluated == [epoch, trained.facts["steps"]]
    at = {e["step"]: e["epoch"] for e in trained.history}
    assert at[epoch] == 1.0 and last_checkpoint(tmp_path).endswith(f"-{trained.facts['steps']}")


class Rates(TrainerCallback):
    """The learning rate of each update."""

    def __init__(self):
        self.seen = []

    def on_step_begin(self, args, state, control, lr_scheduler=None, **kwargs):
        self.seen.append(lr_scheduler.get_last_lr()[0])


@pytest.mark.parametrize("length", [{"max_steps": 12}, {"max_steps": -1, "epochs": 4.0}], ids=["steps", "epochs"])
def test_the_last_third_of_a_plateau_decays(bases, tmp_path, length):
    rates = Rates()
    settings = params(schedule="warmup_stable_decay", warmup_ratio=0.0, **length)
    updates = fine_tune(bases["marian"], ROWS, ROWS[:4], settings, tmp_path, [rates]).facts["steps"]
    assert updates >= 12 and len(rates.seen) == updates
    top = [rate for rate in rates.seen if rate == settings.learning_rate]
    assert len(top) == updates - updates // 3 + 1  # the first update of the decay has the whole rate still
    assert rates.seen[len(top) :] == sorted(rates.seen[len(top) :], reverse=True)


def test_the_writing_of_checkpoints_is_no_training(bases, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(Meter, "pause", lambda self, began: pauses.append(began))
    fine_tune(bases["marian"], ROWS, ROWS[:4], params(max_steps=4, eval_steps=2), tmp_path, [])
    assert len(pauses) == 4  # two evaluations, two checkpoints


def test_the_best_by_chrf_is_kept(bases, tmp_path, monkeypatch):
    """Scores are set, so that the best one is neither the last nor that of the lowest loss."""
    scores = iter([20.0, 41.5, 30.0])
    monkeypatch.setattr(quality.Quality, "score", lambda self, counts: next(scores))
    settings = params(choose_by="chrf", eval_steps=2, max_steps=6)
    trained = fine_tune(bases["marian"], ROWS, ROWS[:4], settings, tmp_path, [])
    evaluations = {e["step"]: e for e in trained.history if "eval_loss" in e}
    assert trained.facts["best_step"] == 4 and trained.facts["valid_chrf"] == 41.5
    assert trained.facts["valid_loss"] == round(evaluations[4]["eval_loss"], 5)
    assert evaluations[6]["eval_loss"] < evaluations[4]["eval_loss"] == pytest.approx(loss_of(trained.loaded, ROWS[:4]))


def loss_of(loaded, rows) -> float:
    examples = [encode_pair(loaded.tokenizer, loaded.recipe, row["en"], row["zh"], 128) for row in rows]
    loaded.model.eval()
    with torch.no_grad():
        logits, targets = answer_logits(loaded.model, collate(examples, loaded.tokenizer.pad_token_id))
        return F.cross_entropy(logits, targets).item()


STALLING = {"learning_rate": 1.0, "eval_steps": 2, "max_steps": 40, "warmup_ratio": 0.0}  # it only gets worse


def test_patience_ends_training_and_outlasts_a_kill(bases, tmp_path):
    settings = params(patience=3, **STALLING)
    unbroken = fine_tune(bases["marian"], ROWS, ROWS[:4], settings, tmp_path / "unbroken", [])
    assert unbroken.facts["stopped_early"] and unbroken.facts["steps"] == unbroken.facts["best_step"] + 6 < 40
    with pytest.raises(KeyboardInterrupt):  # one evaluation before the end
        stop = Watch(unbroken.facts["steps"] - 1)
        fine_tune(bases["marian"], ROWS, ROWS[:4], settings, tmp_path / "broken", [stop])
    resumed = Watch()
    again = fine_tune(bases["marian"], ROWS, ROWS[:4], settings, tmp_path / "broken", [resumed])
    assert again.facts == unbroken.facts and resumed.evaluated == [unbroken.facts["steps"]]
    over = Watch()
    assert fine_tune(bases["marian"], ROWS, ROWS[:4], settings, tmp_path / "broken", [over]).facts == unbroken.facts
    assert not over.evaluated, "a run that stopped early is not trained again"


def test_without_patience_it_goes_on(bases, tmp_path):
    trained = fine_tune(bases["marian"], ROWS, ROWS[:4], params(**STALLING | {"eval_steps": 10}), tmp_path, [])
    assert trained.facts["steps"] == 40 and not trained.facts["stopped_early"]


def test_a_loss_that_is_no_number_is_told_and_told_again(bases, tmp_path):
    broken = load_model(bases["marian"])
    with torch.no_grad():
        broken.model.get_input_embeddings().weight.fill_(float("nan"))
    data = EncodedPairs(broken.tokenizer, broken.recipe, ROWS, 128, tmp_path / "tokens")
    settings = params(max_steps=9, eval_steps=1)
    for _ in range(2):  # the second finds the checkpoint of a run that has ended, and no best one
        with pytest.raises(DoctuneError, match="no validation loss was a number by step 1, where training ended"):
            run_training(broken, data, data, settings, tmp_path, [])
    assert last_checkpoint(tmp_path)


class Break(TrainerCallback):
    """Spoils the weights after some steps, as a learning rate does that is too high."""

    def __init__(self, after):
        self.after = after

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        if state.global_step == self.after:
            with torch.no_grad():
                model.get_input_embeddings().weight.fill_(float("nan"))


def test_a_run_that_diverges_ends_there_and_keeps_its_best(bases, tmp_path, capsys):
    settings = params(max_steps=60, eval_steps=4)
    trained = fine_tune(bases["marian"], ROWS, ROWS[:4], settings, tmp_path, [Break(after=5)])
    assert trained.facts["steps"] == 8 and trained.facts["best_step"] == 4 and trained.facts["stopped_early"]
    assert all(torch.isfinite(weight).all() for weight in trained.loaded.model.parameters())
    assert "diverged by step 8 (eval_loss nan): training ends here" in capsys.readouterr().out
    again = fine_tune(bases["marian"], ROWS, ROWS[:4], settings, tmp_path, [])
    assert again.facts == trained.facts


def test_a_training_loss_that_is_no_number_ends_the_run_before_an_evaluation(bases, tmp_path, capsys):
    settings = params(max_steps=60, eval_steps=12)
    trained = fine_tune(bases["marian"], ROWS, ROWS[:4], settings, tmp_path, [Break(after=13)])
    assert trained.facts["steps"] == 20 and trained.facts["best_step"] == 12, "every 10 steps the loss is logged"
    assert capsys.readouterr().out.count("diverged by step 20 (loss nan)") == 1
    assert trained.history[-1]["step"] == 20 and "eval_loss" in trained.history[-2]
    over = Watch()
    assert fine_tune(bases["marian"], ROWS, ROWS[:4], settings, tmp_path, [over]).facts == trained.facts
    assert not over.evaluated, "it is not trained again to diverge again"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), id="a GPU, as PyTorch says it"
        ),
        pytest.param(
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), id="a CPU's allocator"
        ),
    ],
)
def test_full_memory_is_said_in_a_line(bases, tmp_path, error):
    class Full(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 2:
                raise error

    with pytest.raises(
        DoctuneError, match=r"^the memory was full in step 3 \(.*memory.*\); lower train.batch_tokens, or set"
    ):
        fine_tune(bases["marian"], ROWS, ROWS[:4], params(), tmp_path, [Full()])


def test_another_error_of_the_runtime_stays_a_bug(bases, tmp_path):
    class Bug(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fine_tune(bases["marian"], ROWS, ROWS[:4], params(), tmp_path, [Bug()])


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"gradient_accumulation": 2, "batch_tokens": 128}, id="accumulation, within an epoch"),
        pytest.param({"schedule": "warmup_stable_decay", "eval_steps": 3}, id="warm-up, plateau, decay"),
        pytest.param({"method": "lora", "learning_rate": 2e-2}, id="an adapter"),
        pytest.param({"eval_steps": 0, "max_steps": -1, "epochs": 4.0}, id="once an epoch"),
    ],
)
def test_a_run_that_is_killed_twice_ends_as_an_unbroken_one(bases, tmp_path, changes):
    settings = params(**changes)
    unbroken = fine_tune(bases["marian"], ROWS, ROWS[:4], settings, tmp_path / "unbroken", [])
    end = unbroken.facts["steps"]
    for step in (end // 2, end - 1):
        with pytest.raises(KeyboardInterrupt):
            fine_tune(bases["marian"], ROWS, ROWS[:4], settings, tmp_path / "broken", [Watch(step)])
    resumed = fine_tune(bases["marian"], ROWS, ROWS[:4], settings, tmp_path / "broken", [])
    assert resumed.facts == unbroken.facts
    told = [
        [
            {k: v for k, v in e.items() if k in ("step", "eval_loss", "learning_rate")}
            for e in t.history
            if "eval_loss" in e
        ]
        for t in (resumed, unbroken)
    ]
    assert told[0] == told[1]
    for key, value in unbroken.loaded.model.state_dict().items():
        torch.testing.assert_close(resumed.loaded.model.state_dict()[key], value, rtol=0, atol=0)


WRITING = """
import sys, time
from pathlib import Path
import transformers
from doctune.training.run import fine_tune
from tests.test_training import params
from tests.tiny import ROWS

save = transformers.TrainerState.save_to_json
def last_file(self, path):
    if self.global_step == 8:
        Path(path).write_text('{"global_step": 8, "max_st')    # as far as it came
        print("writing", flush=True)
        time.sleep(600)
    save(self, path)
transformers.TrainerState.save_to_json = last_file
fine_tune(Path(sys.argv[1]), ROWS, ROWS[:4], params(), Path(sys.argv[2]), [])
"""


@pytest.mark.slow
def test_killed_while_it_writes_a_checkpoint(bases, tmp_path):
    unbroken = fine_tune(bases["marian"], ROWS, ROWS[:4], params(), tmp_path / "unbroken", [])
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING, str(bases["marian"]), str(tmp_path / "broken")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert any("writing" in line for line in process.stdout)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert (tmp_path / "broken" / "checkpoint-8" / "trainer_state.json").exists()
    resumed = fine_tune(bases["marian"], ROWS, ROWS[:4], params(), tmp_path / "broken", [])
    assert resumed.facts == unbroken.facts


def test_compiling_wants_a_compiler(monkeypatch):
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none():
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    with pytest.raises(DoctuneError, match="there is no C\\+\\+ compiler here; install"):
        check_compiler("cpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more"),
    [
        pytest.param("marian", {}, id="marian"),
        pytest.param("qwen", {}, id="qwen"),
        pytest.param("qwen", {"packing": True}, id="qwen, packed: its mask is made inside what is compiled"),
    ],
)
def test_a_compiled_run_is_the_same_run(bases, tmp_path, name, more):
    """Losses within 1e-4 of the eager run's; a checkpoint of either is one of the other."""
    settings = {"max_steps": 6, "eval_steps": 3, **more}
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    eager_run = fine_tune(bases[name], ROWS, ROWS[:4], params(**settings), tmp_path / "eager", [])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before
    compiled = params(compile=True, **settings)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(bases[name], ROWS, ROWS[:4], compiled, tmp_path / "compiled", [Watch(5)])
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    trained = fine_tune(bases[name], ROWS, ROWS[:4], compiled, tmp_path / "compiled", [])
    longer = params(compile=True, batch_tokens=128, **settings)
    fine_tune(bases[name], ROWS, ROWS[:4], longer, tmp_path / "longer", [])
    after = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert before < graphs <= after <= graphs + 2, "not one for each shape"
    for key in ("valid_loss", "last_valid_loss"):
        assert trained.facts[key] == pytest.approx(eager_run.facts[key], abs=1e-4)
    assert trained.loaded.model.state_dict().keys() == eager_run.loaded.model.state_dict().keys()
    assert not any("_orig_mod" in key for key in trained.loaded.model.state_dict())


def test_eager_for_a_while(bases):
    model = load_model(bases["qwen"]).model
    with eager(model):
        pass
    assert model.model._compiled_call_impl is None
    compile_body(model)
    compiled = model.model._compiled_call_impl
    with eager(model):
        assert model.model._compiled_call_impl is None
    assert model.model._compiled_call_impl is compiled is not None
