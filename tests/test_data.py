"""Examples: tokens kept from run to run, batches and packs, padding, what is cut, and that packed examples do not see each other."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import skip_first_batches
from accelerate.data_loader import prepare_data_loader
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import doctune
from doctune.errors import DoctuneError
from doctune.models import Loaded, load_model
from doctune.prompts import IGNORED, INSTRUCTIONS, TERM, TRANSLATE, Example, Recipe, encode_pair
from doctune.training import tokens
from doctune.training.data import Batching, EncodedPairs, Examples, collate, costs, make_sampler
from doctune.training.loss import answer_logits
from doctune.training.packing import check_packing, fill
from doctune.training.run import fine_tune
from doctune.training.sampling import BucketSampler, Cost, PackedSampler
from doctune.training.tokens import CODE, PairEncoder, in_memory, tokenised
from tests.test_house import closure
from tests.test_training import Killed, params
from tests.tiny import ROWS, tiny_marian, tiny_qwen

ROOT = Path(__file__).parents[1]
ODD = [
    {"en": "", "zh": ""},
    {"en": "\u200b ", "zh": "空"},
    {"en": "Run `kubectl get pods` now.", "zh": ""},
    {"en": "A 🐳 in a \x00 box ⟦7⟧", "zh": "箱子里的🐳　⟦7⟧"},
    {"en": "word " * 90, "zh": "词" * 3},
    {"en": "word", "zh": "词语" * 90},
]


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {"marian": tiny_marian(folder / "marian"), "qwen": tiny_qwen(folder / "qwen")}


@pytest.fixture(scope="module")
def loaded(bases) -> dict[str, Loaded]:
    return {name: load_model(folder) for name, folder in bases.items()}


def plain(example: Example) -> Example:
    return Example(list(example.input_ids), list(example.labels), example.source_cut, example.answer_cut)


def test_a_row_s_task_reaches_its_tokens(loaded, tmp_path):
    qwen = loaded["qwen"]
    asked = [{"en": "Taint", "zh": "污点"}, {"en": "Taint", "zh": "污点", "task": "term"}]
    made = EncodedPairs(qwen.tokenizer, qwen.recipe, asked, 512, tmp_path)
    prompts = [qwen.tokenizer.decode(example.input_ids) for example in map(made.__getitem__, range(2))]
    for task, prompt in zip((TRANSLATE, TERM), prompts, strict=True):
        assert INSTRUCTIONS[task] in prompt and prompt.count("Taint") == 1
    assert INSTRUCTIONS[TRANSLATE] != INSTRUCTIONS[TERM]


# Batches

LENGTHS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), min_size=1, max_size=60)


@given(LENGTHS, st.integers(64, 600), st.integers(0, 5), st.integers(0, 3))
def test_every_epoch_visits_each_example_once_within_the_budget(lengths, budget, rows, epoch):
    made = [Cost(8 * target, 8 * source) for target, source in lengths]
    sampler = BucketSampler(made, budget, rows, seed=1)
    sizes = sorted(map(len, sampler))
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert sorted(i for batch in batches for i in batch) == list(range(len(made)))
    assert len(batches) == len(sampler) and sorted(map(len, batches)) == sizes
    for batch in batches:
        padded = len(batch) * (max(made[i].source for i in batch) + max(made[i].target for i in batch))
        assert padded <= budget or len(batch) == 1
        assert batch and len(batch) <= (rows or len(made))


@given(st.lists(st.integers(1, 70), min_size=1, max_size=80), st.integers(0, 4), st.integers(0, 3))
def test_packs_visit_each_example_once_within_both_budgets(lengths, rows, epoch):
    sampler = PackedSampler(lengths, 64, 200, rows, seed=1)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert sorted(i for batch in batches for pack in batch for i in pack) == list(range(len(lengths)))
    assert len(batches) == len(sampler)
    for batch in batches:
        sums = [sum(lengths[i] for i in pack) for pack in batch]
        assert all(total <= 64 or len(pack) == 1 for total, pack in zip(sums, batch, strict=True))
        assert len(batch) * -(-max(sums) // 8) * 8 <= 200 and len(batch) <= (rows or len(lengths))


@given(st.lists(st.integers(1, 70), max_size=120))
def test_no_two_rows_of_a_filling_fit_into_one(lengths):
    rows = fill(lengths, 64)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    assert all(sum(lengths[number] for number in row) <= 64 for row in rows if len(row) > 1)
    sums = sorted(sum(lengths[number] for number in row) for row in rows)
    assert len(sums) < 2 or sums[0] + sums[1] > 64


def test_a_filling_takes_the_row_with_the_least_room():
    assert fill([2, 3, 3, 4, 6], 8) == [[4, 0], [3, 1], [2]]


@pytest.mark.parametrize("packed", [False, True])
def test_epochs_differ_and_repeat_under_their_seed(packed):
    def epoch(number, seed=1):
        sampler = PackedSampler([8] * 40, 24, 64, 0, seed) if packed else BucketSampler([Cost(8, 8)] * 40, 64, 0, seed)
        sampler.set_epoch(number)
        return list(sampler)

    assert epoch(0) == epoch(0) and epoch(0) != epoch(1) and epoch(0) != epoch(0, seed=2)


def test_without_shuffling_the_order_is_by_length():
    made = [Cost(0, 8 * length) for length in (3, 1, 2, 1)]
    assert list(BucketSampler(made, 16, 0, seed=1, shuffle=False)) == [[1, 3], [2], [0]]


def loader(packed: bool) -> DataLoader:
    lengths = [8 * (1 + n % 5) for n in range(57)]
    made = [Cost(8, length) for length in lengths]
    sampler = PackedSampler(lengths, 64, 128, 0, seed=5) if packed else BucketSampler(made, 128, 0, seed=5)

    class Numbers(torch.utils.data.Dataset):
        def __len__(self):
            return len(lengths)

        def __getitems__(self, items):
            return items

    return DataLoader(Numbers(), batch_sampler=sampler, collate_fn=lambda items: {"items": items})


@pytest.mark.parametrize("packed", [False, True])
def test_a_run_that_goes_on_skips_what_it_had(packed):
    """As the Trainer does it, through accelerate's loaders."""

    def prepared(epoch):
        made = prepare_data_loader(loader(packed), num_processes=1, put_on_device=False)
        made.set_epoch(epoch)
        return made

    wanted = [batch["items"] for batch in prepared(1)]
    assert [batch["items"] for batch in skip_first_batches(prepared(1), 3)] == wanted[3:]
    assert [batch["items"] for batch in prepared(2)] != wanted


# What a batch is


def test_collate_pads_to_eights_on_the_right():
    batch = collate([Example([5, 6, 7], [1], False, False), Example([5] * 9, [2, 3], False, False)], pad_id=99)
    assert batch["input_ids"].shape == (2, 16) and batch["labels"].shape == (2, 8)
    assert batch["input_ids"][0].tolist() == [5, 6, 7] + [99] * 13
    assert batch["attention_mask"].sum(1).tolist() == [3, 9] and batch["attention_mask"][0, :3].all()
    assert batch["labels"][0].tolist() == [1] + [IGNORED] * 7
    assert {values.dtype for values in batch.values()} == {torch.int64}


def test_packs_begin_their_positions_anew():
    packs = [
        [Example([5, 6, 7], [5, 6, 7], False, False), Example(np.array([8, 9]), np.array([IGNORED, 9]), False, False)]
    ]
    batch = collate(packs, pad_id=99)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 99, 99, 99]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, 0, 1, 2]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7, IGNORED, 9, IGNORED, IGNORED, IGNORED]]
    assert "attention_mask" not in batch, "with one, transformers does not look for packs"


# Tokens on disk

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["marian", "qwen"]), st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_kept_tokens_are_those_of_plain_encoding(loaded, name, texts):
    model, rows = loaded[name], [{"en": en, "zh": zh} for en, zh in texts] + ODD
    with tempfile.TemporaryDirectory() as folder:
        data = EncodedPairs(model.tokenizer, model.recipe, rows, 128, Path(folder))
        wanted = [encode_pair(model.tokenizer, model.recipe, row["en"], row["zh"], 128) for row in rows]
        wanted = [example for example in wanted if any(label != IGNORED for label in example.labels)]
        assert [plain(data[i]) for i in range(len(data))] == [plain(example) for example in wanted]
        backwards = list(range(len(data)))[::-1]
        assert [plain(e) for e in data.__getitems__(backwards)] == [plain(wanted[i]) for i in backwards]
        assert data.lengths() == [len(e.input_ids) for e in wanted]
        assert data.lengths("labels") == [len(e.labels) for e in wanted]
        assert data.target_tokens() == sum(label != IGNORED for e in wanted for label in e.labels)


def test_rows_are_tokenised_once(loaded, tmp_path, monkeypatch):
    marian = loaded["marian"]
    first = EncodedPairs(marian.tokenizer, marian.recipe, ROWS, 128, tmp_path)

    def fail(*_):
        raise AssertionError("tokenised again")

    monkeypatch.setattr(tokens, "encode_pair", fail)
    again = EncodedPairs(load_again(marian), marian.recipe, ROWS, 128, tmp_path)
    assert [plain(again[i]) for i in range(len(ROWS))] == [plain(first[i]) for i in range(len(ROWS))]


def load_again(model: Loaded):
    """The same tokenizer from another folder."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        model.tokenizer.save_pretrained(folder)
        return AutoTokenizer.from_pretrained(folder)


def more_tokens(model: Loaded):
    tokenizer = load_again(model)
    tokenizer.add_tokens(["Pod"])
    return tokenizer


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda m: (m.tokenizer, m.recipe, ROWS[:-1], 128), id="a row less"),
        pytest.param(lambda m: (m.tokenizer, m.recipe, ROWS[::-1], 128), id="another order"),
        pytest.param(lambda m: (m.tokenizer, m.recipe, [*ROWS[:-1], {**ROWS[-1], "zh": "换"}], 128), id="another text"),
        pytest.param(lambda m: (m.tokenizer, m.recipe, ROWS, 127), id="another length"),
        pytest.param(
            lambda m: (m.tokenizer, m.recipe.model_copy(update={"target_prefix": "a"}), ROWS, 128), id="another recipe"
        ),
        pytest.param(lambda m: (more_tokens(m), m.recipe, ROWS, 128), id="another tokenizer"),
    ],
)
def test_whatever_decides_the_tokens_is_in_their_key(loaded, tmp_path, change):
    marian = loaded["marian"]
    EncodedPairs(marian.tokenizer, marian.recipe, ROWS, 128, tmp_path)
    EncodedPairs(*change(marian), tmp_path)
    assert len(list(tmp_path.glob("*.arrow"))) == 2


def test_starts_are_the_first_placeholder_numbers(loaded, tmp_path):
    marian = loaded["marian"]
    rows = [{"en": "Run `a` now.", "zh": "现在运行 `a`。"}] * 2
    data = EncodedPairs(marian.tokenizer, marian.recipe, rows, 64, tmp_path, starts=[1, 9])
    said = [marian.tokenizer.decode(data[i].input_ids.tolist(), skip_special_tokens=True) for i in range(2)]
    assert said == ["Run ⟦1⟧ now.", "Run ⟦9⟧ now."]


def files(place):
    return place.rglob("*.py") if place.is_dir() else [place]


def test_the_key_covers_the_code_that_encodes():
    package = ROOT / "doctune"
    harmless = {"__init__.py", "errors.py", "files.py", "locks.py", "machine.py", "section.py", "training/__init__.py"}
    used = {file.relative_to(package).as_posix() for file in closure(package / "training" / "tokens.py")}
    covered = {file.relative_to(package).as_posix() for name in CODE for file in files(package / name)}
    assert used - harmless == covered - harmless


class Letters:
    """A tokenizer of code points, which needs no library; dies at the letter that it is told."""

    def __init__(self, fatal: str = "", how=None):
        self.fatal, self.how = fatal, how

    eos_token_id = 0

    def save_pretrained(self, folder):
        folder.mkdir()
        (folder / "letters.txt").write_text("code points", encoding="utf-8")

    def __call__(self, text="", text_target="", **options):
        if self.fatal and self.fatal in text:
            self.how()
        return {"input_ids": [*map(ord, text or text_target), 0]}


PLAIN = Recipe(template="plain", placeholders=False, links={}, target_prefix="")
MANY = [{"en": f"row {n}", "zh": f"第{n}行"} for n in range(2500)]


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def stumble():
    raise RuntimeError("stumbled")


def test_a_run_that_stops_while_it_writes_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="stumbled"):
        tokenised(PairEncoder(Letters("row 2400", stumble), PLAIN, 64), MANY, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]


def test_what_a_killed_run_left_is_cleared_by_the_next(tmp_path):
    """Killed for good, in the middle of the file; the tokenizer here is a small one, to be quick."""
    program = (
        "from pathlib import Path; import os, signal, sys\n"
        "from doctune.prompts import Recipe; from doctune.training.tokens import PairEncoder, tokenised\n"
        "class Letters:\n"
        "    eos_token_id = 0\n"
        "    def save_pretrained(self, folder):\n"
        "        folder.mkdir(); (folder / 'letters.txt').write_text('code points')\n"
        "    def __call__(self, text='', text_target='', **options):\n"
        "        if text == 'row 2400': os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return {'input_ids': [*map(ord, text or text_target), 0]}\n"
        f"recipe = Recipe(**{PLAIN.model_dump()!r})\n"
        "rows = [{'en': f'row {n}', 'zh': f'第{n}行'} for n in range(2500)]\n"
        "tokenised(PairEncoder(Letters(), recipe, 64), rows, Path(sys.argv[1]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=Path(doctune.__file__).parents[1])
    assert ended.returncode == -signal.SIGKILL
    assert not list(tmp_path.glob("*.arrow")) and len(list(tmp_path.glob(".*.tmp"))) == 1
    table = tokenised(PairEncoder(Letters(), PLAIN, 64), MANY, tmp_path)
    assert len(table) == 2500 and not list(tmp_path.glob(".*.tmp"))
    assert table[[2499]]["labels"].to_pylist() == [[*map(ord, "第2499行"), 0]]


@pytest.mark.parametrize("left", [b"", b"no Arrow at all", None], ids=["empty", "something else", "half of it"])
def test_a_damaged_file_is_made_anew(tmp_path, capsys, left):
    encode = PairEncoder(Letters(), PLAIN, 64)
    tokenised(encode, MANY[:9], tmp_path)
    (file,) = tmp_path.glob("*.arrow")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if left is None else left)
    table = tokenised(encode, MANY[:9], tmp_path)
    assert table[[0, 8]]["labels"].to_pylist() == [[*map(ord, f"第{n}行"), 0] for n in (0, 8)]
    assert "is damaged; its rows are tokenised again" in capsys.readouterr().out and file.read_bytes() == whole


def test_no_rows_are_no_tokens(tmp_path):
    assert len(tokenised(PairEncoder(Letters(), PLAIN, 64), [], tmp_path)) == 0


@pytest.mark.slow
def test_several_processes_give_the_same_tokens(tmp_path):
    encode = PairEncoder(Letters(), PLAIN, 64)
    tokenised(encode, MANY, tmp_path / "one", workers=1)
    tokenised(encode, MANY, tmp_path / "two", workers=2)
    (one,), (two,) = ((tmp_path / name).glob("*.arrow") for name in ("one", "two"))
    assert one.name == two.name and one.read_bytes() == two.read_bytes()


@pytest.mark.slow
def test_a_worker_that_is_killed_is_named(tmp_path):
    with pytest.raises(DoctuneError, match="a worker that tokenises was killed"):
        tokenised(PairEncoder(Letters("row 2400", die), PLAIN, 64), MANY, tmp_path, workers=2)
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]


def test_files_that_were_not_used_for_long_are_removed(tmp_path):
    for number in range(tokens.KEPT + 2):
        tokenised(PairEncoder(Letters(), PLAIN, 64), MANY[number : number + 1], tmp_path)
        for file in tmp_path.glob("*.arrow"):  # as if each had been made a minute after the other
            os.utime(file, (file.stat().st_atime, file.stat().st_mtime - 60))
        if number:
            oldest = tokenised(PairEncoder(Letters(), PLAIN, 64), MANY[:1], tmp_path)
    assert len(list(tmp_path.glob("*.arrow"))) == tokens.KEPT
    assert Path(oldest.cache_files[0]["filename"]).exists(), "what is used stays, however old"


# What is cut


def test_cuts_are_counted_by_side(loaded, tmp_path):
    marian = loaded["marian"]
    data = EncodedPairs(marian.tokenizer, marian.recipe, [*ODD, *ROWS], 64, tmp_path)
    assert data.cut == (30, 1, 1, 2, 0) and data.cut.share == 2 / 30 and len(data) == 30


def test_a_row_without_room_for_an_answer_is_left_out(loaded, tmp_path):
    qwen = loaded["qwen"]
    data = EncodedPairs(qwen.tokenizer, qwen.recipe, [ODD[4], *ROWS], 128, tmp_path)
    assert data.cut == (25, 1, 1, 1, 1) and len(data) == 24
    assert plain(data[0]) == plain(encode_pair(qwen.tokenizer, qwen.recipe, ROWS[0]["en"], ROWS[0]["zh"], 128))
    with pytest.raises(DoctuneError, match="max_length is 16, which leaves no room for an answer in any of 24 rows"):
        EncodedPairs(qwen.tokenizer, qwen.recipe, ROWS, 16, tmp_path)


def test_a_run_says_how_much_was_cut(bases, tmp_path, capsys):
    settings = params(max_steps=1, eval_steps=1, max_length=64)
    trained = fine_tune(bases["marian"], [*ODD, *ROWS], ROWS[:8], settings, tmp_path / "work", [], tmp_path / "tokens")
    assert (
        "6.7% of the training rows are longer than train.max_length (64 tokens): 1 sources" in capsys.readouterr().out
    )
    names = ("truncated_rows", "truncated_sources", "truncated_answers", "truncated_share", "answerless_rows")
    assert [trained.facts[name] for name in names] == [2, 1, 1, 0.06667, 0]
    assert len(list((tmp_path / "tokens").glob("*.arrow"))) == 2 and not (tmp_path / "work" / "tokens").exists()


# Packing


def causal(kind: str, attention: str = "sdpa"):
    import transformers

    torch.manual_seed(4)
    shape = {"vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    kinds = {
        "qwen2": (
            transformers.Qwen2ForCausalLM,
            transformers.Qwen2Config,
            {"num_key_value_heads": 2, "intermediate_size": 96},
        ),
        "llama": (
            transformers.LlamaForCausalLM,
            transformers.LlamaConfig,
            {"num_key_value_heads": 2, "intermediate_size": 96},
        ),
        "opt": (transformers.OPTForCausalLM, transformers.OPTConfig, {"ffn_dim": 96, "word_embed_proj_dim": 64}),
    }
    model, config, more = kinds[kind]
    return model(config(**shape, **more, attn_implementation=attention)).eval()


EXAMPLES = [
    Example(
        [(n * 37 + 5 * k) % 300 for k in range(length)], [(n * 37 + 5 * k) % 300 for k in range(length)], False, False
    )
    for n, length in enumerate((9, 1, 14, 2, 5, 12), 1)
]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_packed_examples_have_the_logits_the_loss_and_the_gradient_of_single_ones(kind, attention):
    model = causal(kind, attention)

    def run(batches):
        model.zero_grad()
        logits, targets = zip(*(answer_logits(model, batch) for batch in batches), strict=True)
        loss = F.cross_entropy(torch.cat(logits), torch.cat(targets))
        loss.backward()
        return torch.cat(logits), torch.cat(targets), loss, [p.grad.clone() for p in model.parameters()]

    packed = run([collate([EXAMPLES[:4], EXAMPLES[4:]], 0)])
    single = run([collate([example], 0) for example in EXAMPLES])
    for got, wanted in zip(packed, single, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_packing_is_checked_on_the_base(loaded):
    check_packing(loaded["qwen"])
    check_packing(loaded["qwen"]._replace(model=causal("llama")))
    with pytest.raises(DoctuneError, match="for causal models, but the base is an encoder-decoder"):
        check_packing(loaded["marian"])
    with pytest.raises(DoctuneError, match="examples in one row would see each other .OPTForCausalLM"):
        check_packing(loaded["qwen"]._replace(model=causal("opt")))


def test_packs_waste_little(loaded, tmp_path):
    qwen = loaded["qwen"]
    data = EncodedPairs(qwen.tokenizer, qwen.recipe, ROWS * 4, 512, tmp_path)
    sampler = make_sampler(data, Batching(2048, 0, 512), seq2seq=False, seed=3, shuffle=True)
    loader = DataLoader(data, batch_sampler=sampler, collate_fn=lambda items: collate(items, 0))
    batches = list(loader)
    assert sum((batch["labels"] != IGNORED).sum().item() for batch in batches) == data.target_tokens()
    assert all(batch["input_ids"].shape[1] <= 512 and batch["input_ids"].numel() <= 2048 for batch in batches)
    assert sum(data.lengths()) > 0.9 * sum(batch["input_ids"].numel() for batch in batches)


def test_a_packed_row_fits_into_a_batch():
    assert Batching.of(params(packing=True, max_length=256, batch_tokens=128, batch_rows=3)) == (128, 3, 128)
    assert Batching.of(params(packing=True, max_length=96, batch_tokens=128)) == (128, 0, 96)
    assert Batching.of(params()) == (256, 0, 0)


def test_examples_need_no_file():
    made = Examples(in_memory([*EXAMPLES, Example([1, 2], [IGNORED, IGNORED], True, True)]))
    assert [plain(made[i]) for i in range(len(made))] == EXAMPLES and made.cut == (7, 1, 1, 1, 1)
    assert [[plain(e) for e in pack] for pack in made.__getitems__([(2, 0), (1,)])] == [
        [EXAMPLES[2], EXAMPLES[0]],
        [EXAMPLES[1]],
    ]


def test_costs_are_padded_lengths(loaded, tmp_path):
    for name, seq2seq in (("marian", True), ("qwen", False)):
        data = EncodedPairs(loaded[name].tokenizer, loaded[name].recipe, ROWS[:1], 128, tmp_path)
        source, target = (-(-len(ids) // 8) * 8 for ids in data[0][:2])
        assert costs(data, seq2seq) == [Cost(target if seq2seq else 0, source)]


@pytest.mark.slow
def test_a_packed_run_goes_on_in_the_middle_of_an_epoch(bases, tmp_path):
    from transformers import TrainerCallback

    class KillAt(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 7:
                raise Killed

    settings = params(packing=True, batch_tokens=512, max_length=256, gradient_accumulation=2, batch_rows=2)
    unbroken = fine_tune(bases["qwen"], ROWS * 3, ROWS[:8], settings, tmp_path / "unbroken", [])
    with pytest.raises(Killed):
        fine_tune(bases["qwen"], ROWS * 3, ROWS[:8], settings, tmp_path / "broken", [KillAt()])
    resumed = fine_tune(bases["qwen"], ROWS * 3, ROWS[:8], settings, tmp_path / "broken", [])
    assert resumed.facts == unbroken.facts
    assert next(entry["epoch"] for entry in unbroken.history if entry["step"] == 4) % 1, "the end of an epoch"
    losses = [entry["eval_loss"] for entry in unbroken.history if "eval_loss" in entry]
    assert losses[-1] < losses[0]
    for key, value in unbroken.loaded.model.state_dict().items():
        torch.testing.assert_close(resumed.loaded.model.state_dict()[key], value, rtol=0, atol=0)
