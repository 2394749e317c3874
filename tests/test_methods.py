"""Methods: each lowers the loss, resumes, merges and exports; 4-bit bases; gradient checkpointing; many adapters."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from doctune.errors import DoctuneError
from doctune.files import hash_path, read_json
from doctune.models import Loaded, load_model, merged, save_model, skeleton
from doctune.onnx import export_onnx
from doctune.onnx.runtime import open_graphs
from doctune.prompts import encode_pair
from doctune.training.checkpoints import last_checkpoint
from doctune.training.data import collate
from doctune.training.loss import answer_logits
from doctune.training.methods import count_parameters, open_for_training, with_method
from doctune.training.params import TrainParams
from doctune.training.run import Trained, fine_tune
from doctune.translation import TranslateParams, make_translator
from tests.test_training import params
from tests.tiny import ROWS, tiny_marian, tiny_qwen

METHODS = ("full", "lora", "dora", "qlora", "ia3")
ADAPTERS = METHODS[1:]
RATES = {"full": 2e-3, "ia3": 5e-2}  # of the others 1e-2
FEW = TranslateParams(beams=1, batch_tokens=512, max_new_tokens=16)
LINEAR = {
    "marian": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
    "qwen": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
HOUSE = [
    row | {"zh": f"使用{row['zh']}"} for row in ROWS
]  # another house's style: each answer begins with a word of theirs
SCALED = {
    "marian": {"targets": ["k_proj", "v_proj", "fc2"], "feedforward": ["fc2"]},
    "qwen": {"targets": ["k_proj", "v_proj", "down_proj"], "feedforward": ["down_proj"]},
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {"marian": tiny_marian(folder / "marian"), "qwen": tiny_qwen(folder / "qwen")}


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bases that know PAIRS by heart: adapters turn what is there, and of random numbers little can be made."""
    folder = tmp_path_factory.mktemp("learned")
    return {"marian": tiny_marian(folder / "marian", steps=150), "qwen": tiny_qwen(folder / "qwen", steps=150)}


def settings(name: str, method: str, **changes: Any) -> TrainParams:
    rate = {"learning_rate": RATES.get(method, 1e-2), "label_smoothing": 0.0}
    lora = {"r": 4, "alpha": 8, "dropout": 0.0, "targets": LINEAR[name]}
    return params(method=method, **({"lora": lora, "ia3": SCALED[name]} | rate | changes))


def batch_of(loaded: Loaded) -> dict[str, torch.Tensor]:
    examples = [encode_pair(loaded.tokenizer, loaded.recipe, row["en"], row["zh"], 512) for row in HOUSE[:6]]
    return collate(examples, loaded.tokenizer.pad_token_id)


def logits(loaded: Loaded) -> torch.Tensor:
    loaded.model.eval()
    with torch.no_grad():
        return answer_logits(loaded.model, batch_of(loaded))[0]


def loss(loaded: Loaded) -> float:
    return float(F.cross_entropy(logits(loaded), answer_logits(loaded.model, batch_of(loaded))[1]))


def stirred(base: Path, plan: TrainParams, out: Path) -> Path:
    """A saved adapter whose weights are no longer those that do nothing."""
    loaded = open_for_training(base, plan)
    generator, size = torch.Generator().manual_seed(11), 1.0 if plan.method == "ia3" else 0.2
    for weight in loaded.model.parameters():
        if weight.requires_grad:
            weight.data += size * torch.randn(weight.shape, generator=generator)
    save_model(loaded, out)
    return out


@pytest.mark.parametrize("name", ["marian", "qwen"])
@pytest.mark.parametrize("method", ADAPTERS)
def test_merged_gives_the_logits_of_the_adapter(bases: dict[str, Path], tmp_path: Path, name: str, method: str) -> None:
    folder = stirred(bases[name], settings(name, method), tmp_path / "tuned")
    apart, one = logits(load_model(folder, bases[name])), logits(merged(load_model(folder, bases[name])))
    torch.testing.assert_close(one, apart, rtol=1e-4, atol=1e-4)
    assert (apart - logits(load_model(bases[name]))).abs().max() > 0.01, "the adapter changes nothing"
    assert not hasattr(merged(load_model(folder, bases[name])).model, "peft_config")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["marian", "qwen"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_lowers_the_loss_and_gives_a_model_that_translates_and_exports(
    learned: dict[str, Path], tmp_path: Path, name: str, method: str
) -> None:
    plan = settings(name, method, max_steps=24, eval_steps=12)
    trained = fine_tune(learned[name], HOUSE, HOUSE[:8], plan, tmp_path / "work", [])
    losses = [entry["eval_loss"] for entry in trained.history if "eval_loss" in entry]
    assert losses[-1] < losses[0]
    assert (trained.facts["trainable_parameters"] < 0.2 * trained.facts["parameters"]) == (method != "full")
    save_model(trained.loaded, tmp_path / "tuned")
    assert (tmp_path / "tuned" / "adapter_config.json").exists() == (method != "full")

    texts = [row["en"] for row in HOUSE]
    tuned = load_model(tmp_path / "tuned", learned[name])
    assert loss(tuned) < 0.9 * loss(load_model(learned[name])), "on the float base, whatever it was trained on"
    answers = make_translator(tuned, FEW).translate(texts)
    assert answers != make_translator(load_model(learned[name]), FEW).translate(texts)
    whole = merged(load_model(tmp_path / "tuned", learned[name]))
    assert make_translator(whole, FEW).translate(texts) == answers
    export_onnx(whole, tmp_path / "fp32")
    exported = open_graphs(tmp_path / "fp32", FEW).translate(texts)
    assert sum(a != b for a, b in zip(exported, answers, strict=True)) <= 1, "of few steps; one near tie is allowed"


class Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("name", ["marian", "qwen"])
@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_of_every_method_ends_where_an_unbroken_one_does(
    bases: dict[str, Path], tmp_path: Path, name: str, method: str
) -> None:
    from transformers import TrainerCallback

    class KillAt(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 6:
                raise Killed

    plan = settings(name, method, max_steps=8, eval_steps=4)
    unbroken = fine_tune(bases[name], ROWS, ROWS[:8], plan, tmp_path / "unbroken", [])
    with pytest.raises(Killed):
        fine_tune(bases[name], ROWS, ROWS[:8], plan, tmp_path / "broken", [KillAt()])
    assert str(last_checkpoint(tmp_path / "broken")).endswith("checkpoint-4")
    resumed = fine_tune(bases[name], ROWS, ROWS[:8], plan, tmp_path / "broken", [])
    assert resumed.facts == unbroken.facts
    assert _learned(resumed) == _learned(unbroken)


def _learned(trained: Trained) -> dict[str, list[float]]:
    return {n: w.flatten().tolist() for n, w in trained.loaded.model.named_parameters() if w.requires_grad}


@pytest.mark.parametrize("name", ["marian", "qwen"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_gradient_checkpointing_changes_no_loss(bases: dict[str, Path], tmp_path: Path, name: str, method: str) -> None:
    """Dropout stays on: layers computed anew draw the same numbers."""
    runs = [
        fine_tune(
            bases[name],
            ROWS,
            ROWS[:8],
            settings(name, method, max_steps=3, eval_steps=3, gradient_checkpointing=checkpointing),
            tmp_path / str(checkpointing),
            [],
        )
        for checkpointing in (False, True)
    ]
    assert runs[0].facts == runs[1].facts
    assert _learned(runs[0]) == _learned(runs[1])
    assert runs[1].loaded.model.is_gradient_checkpointing and not runs[0].loaded.model.is_gradient_checkpointing


@pytest.mark.parametrize("name", ["marian", "qwen"])
def test_a_4_bit_base_keeps_embeddings_whole_and_tied(bases: dict[str, Path], name: str) -> None:
    packed, whole = load_model(bases[name], nf4=torch.bfloat16).model, load_model(bases[name]).model
    kinds = {
        n.rpartition(".")[2]: type(m).__name__ for n, m in packed.named_modules() if isinstance(m, torch.nn.Linear)
    }
    assert kinds.pop("lm_head") == "Linear" and set(kinds.values()) == {"Linear4bit"}
    state = packed.model.decoder.layers[0].fc1 if name == "marian" else packed.model.layers[0].mlp.up_proj
    assert state.weight.quant_state.quant_type == "nf4" and state.weight.quant_state.nested
    assert state.compute_dtype == torch.bfloat16
    assert packed.get_output_embeddings().weight is packed.get_input_embeddings().weight
    torch.testing.assert_close(
        packed.get_input_embeddings().weight, whole.get_input_embeddings().weight, rtol=0, atol=0
    )


@pytest.mark.parametrize(("precision", "products"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_a_4_bit_base_multiplies_in_the_run_s_format(bases: dict[str, Path], precision: str, products: Any) -> None:
    """bfloat16 on a processor without it takes twenty times as long."""
    from bitsandbytes.nn import Linear4bit

    model = open_for_training(bases["qwen"], settings("qwen", "qlora", precision=precision)).model
    layers = [m for m in model.modules() if isinstance(m, Linear4bit)]  # PEFT has a class of that name around each
    assert layers and {m.compute_dtype for m in layers} == {products}


@pytest.mark.parametrize("name", ["marian", "qwen"])
@pytest.mark.parametrize("method", METHODS)
def test_parameters_are_counted_whatever_they_are_packed_in(bases: dict[str, Path], name: str, method: str) -> None:
    plan = settings(name, method)
    counted = count_parameters(open_for_training(bases[name], plan).model)
    assert counted == count_parameters(with_method(skeleton(bases[name]), plan)), "a skeleton has the same"
    own = count_parameters(skeleton(bases[name]))
    learned = 0 if method == "full" else counted[1]
    assert counted[0] == own[0] + learned and (counted[1] == own[1]) == (method == "full")


def test_evaluation_leaves_a_4_bit_base_able_to_train(bases: dict[str, Path]) -> None:
    """bitsandbytes turns weights round at an evaluation on some processors, and gradients end there."""
    loaded = open_for_training(bases["marian"], settings("marian", "qlora"))

    def first_gradient() -> float:
        loaded.model.train()
        loaded.model.zero_grad()
        answer_logits(loaded.model, batch_of(loaded))[0].square().mean().backward()
        first = loaded.model.get_base_model().model.encoder.layers[0].self_attn.q_proj
        return float(first.lora_B["default"].weight.grad.norm())

    before = first_gradient()
    logits(loaded)
    assert first_gradient() == pytest.approx(before, rel=0.5) and before > 0  # dropout differs


def test_an_adapter_is_not_merged_into_4_bits(bases: dict[str, Path]) -> None:
    with pytest.raises(DoctuneError, match="held in 4 bits; save it and open it on its base"):
        merged(open_for_training(bases["qwen"], settings("qwen", "qlora")))


def test_qlora_saves_the_adapter_alone_and_opens_on_the_whole_base(bases: dict[str, Path], tmp_path: Path) -> None:
    folder = stirred(bases["marian"], settings("marian", "qlora"), tmp_path / "tuned")
    assert [f.name for f in folder.glob("*.safetensors")] == ["adapter_model.safetensors"]
    dtypes = {w.dtype for w in load_model(folder, bases["marian"]).model.parameters()}
    assert dtypes == {torch.float32}
    assert "quant" not in (folder / "adapter_config.json").read_text(encoding="utf-8").lower()


def test_adapters_begin_the_same_under_their_seed(bases: dict[str, Path], tmp_path: Path) -> None:
    """Whatever was drawn before; and the same adapter is written as the same bytes."""
    hashes = []
    for run in ("one", "two"):
        torch.rand(3)
        save_model(open_for_training(bases["marian"], settings("marian", "lora")), tmp_path / run / "tuned")
        hashes.append(hash_path(tmp_path / run / "tuned"))
    assert hashes[0] == hashes[1]
    targets = read_json(tmp_path / "one" / "tuned" / "adapter_config.json")["target_modules"]
    assert targets == sorted(LINEAR["marian"])


def test_an_output_layer_of_its_own_can_carry_an_adapter(tmp_path: Path) -> None:
    """Llama's shape, untied: adapters on the output layer and on the embeddings train, save and merge."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tiny = load_model(tiny_qwen(tmp_path / "qwen"))
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=tiny.model.config.vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        pad_token_id=tiny.tokenizer.pad_token_id,
        eos_token_id=tiny.tokenizer.eos_token_id,
    )
    save_model(tiny._replace(model=LlamaForCausalLM(config)), tmp_path / "llama")
    plan = settings(
        "qwen", "lora", lora={"r": 4, "alpha": 8, "dropout": 0.0, "targets": ["lm_head", "embed_tokens", "q_proj"]}
    )
    trained = fine_tune(tmp_path / "llama", ROWS, ROWS[:8], plan, tmp_path / "work", [])
    assert trained.facts["last_valid_loss"] < trained.history[0]["loss"]
    save_model(trained.loaded, tmp_path / "tuned")
    apart = logits(load_model(tmp_path / "tuned", tmp_path / "llama"))
    torch.testing.assert_close(logits(trained.loaded), apart)
    torch.testing.assert_close(
        logits(merged(load_model(tmp_path / "tuned", tmp_path / "llama"))), apart, rtol=1e-4, atol=1e-4
    )
