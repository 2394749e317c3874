"""What is refused before the first step, each in one line; nothing of the base but its shape is read for it."""

import sys
from pathlib import Path
from typing import Any

import pytest

from doctune.errors import DoctuneError
from doctune.files import read_json, write_json
from doctune.models import load_model, skeleton
from doctune.training.checks import check_memory, check_method, check_plan, check_template
from doctune.training.memory import Need
from doctune.training.run import fine_tune
from tests.test_training import SETTINGS, params
from tests.tiny import ROWS, tiny_marian, tiny_qwen


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {"marian": tiny_marian(folder / "marian"), "qwen": tiny_qwen(folder / "qwen")}


def lora(*targets: str) -> dict[str, Any]:
    return {"method": "lora", "lora": SETTINGS["lora"] | {"targets": list(targets)}}


def ia3(*targets: str, feedforward: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"method": "ia3", "ia3": {"targets": list(targets), "feedforward": list(feedforward)}}


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [
        pytest.param("marian", lora("c_attn"), "c_attn match no module.*give some of fc1, fc2, k_proj", id="no module"),
        pytest.param("qwen", ia3("fc2"), "ia3.targets: fc2 match no module.*down_proj", id="another base's names"),
        pytest.param(
            "marian", lora("q_proj", "final_layer_norm"), "wanted linear layers, got .*a LayerNorm", id="a norm"
        ),
        pytest.param("marian", lora("self_attn"), "wanted linear layers, got .*a MarianAttention", id="a block"),
        pytest.param("marian", lora("embed_positions"), "wanted linear layers, got .*Sinusoidal", id="positions"),
        pytest.param(
            "qwen", lora("lm_head"), "lm_head has its weights in common with .*embed_tokens", id="tied output"
        ),
        pytest.param("marian", lora("shared"), "shared has its weights in common with", id="tied embeddings"),
        pytest.param("marian", {"max_length": 4096}, "128 positions; set it to 128 or less", id="positions exceeded"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_step(
    bases: dict[str, Path], tmp_path: Path, base: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DoctuneError, match=message) as error:
        fine_tune(bases[base], ROWS, ROWS[:8], params(**change), tmp_path / "work", [])
    assert "\n" not in str(error.value) and not (tmp_path / "work").exists()


def test_feedforward_names_are_targets_too() -> None:
    with pytest.raises(DoctuneError, match="feedforward: wanted names that targets has too, got fc2"):
        params(**ia3("k_proj", feedforward=("fc2",)))


def test_qlora_wants_bitsandbytes(bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # as where it is not installed
    with pytest.raises(DoctuneError, match="qlora wants bitsandbytes, .*or use lora"):
        check_method(skeleton(bases["qwen"]), params(method="qlora"))


def test_a_quantised_base_is_refused(bases: dict[str, Path]) -> None:
    model = skeleton(bases["qwen"])
    model.config.quantization_config = {"quant_method": "gptq", "bits": 4}
    with pytest.raises(DoctuneError, match="wants a base of float weights, got one quantised with gptq"):
        check_method(model, params(method="lora"))


def test_a_base_that_cannot_compute_its_layers_twice_is_refused(bases: dict[str, Path]) -> None:
    model = skeleton(bases["qwen"])
    model.supports_gradient_checkpointing = False
    check_method(model, params(method="lora"))
    with pytest.raises(DoctuneError, match="a Qwen2ForCausalLM cannot do that; set it to false"):
        check_method(model, params(method="lora", gradient_checkpointing=True))


def test_a_base_that_cannot_fit_is_refused_unread(bases: dict[str, Path], tmp_path: Path) -> None:
    """A trillion parameters by its config, and no weights at all in the folder."""
    config = read_json(bases["qwen"] / "config.json")
    huge = {"hidden_size": 32768, "intermediate_size": 131072, "num_hidden_layers": 64, "num_attention_heads": 256}
    write_json(tmp_path / "huge" / "config.json", config | huge | {"layer_types": ["full_attention"] * 64})
    with pytest.raises(DoctuneError, match=r"training wants about \d+.* GB \(weights .*or use train.method qlora"):
        check_plan(tmp_path / "huge", params())


@pytest.mark.parametrize(
    ("available", "refused"),
    [
        pytest.param(100, False, id="fits"),
        pytest.param(81, False, id="within the error"),
        pytest.param(79, True, id="clearly over"),
    ],
)
def test_only_what_is_clearly_too_much_is_refused(available: int, refused: bool) -> None:
    need = Need(weights=40, gradients=10, optimizer=20, activations=20, logits=10, other=0)
    if refused:
        with pytest.raises(DoctuneError, match="lower train.batch_tokens"):
            check_memory(need, available)
    else:
        check_memory(need, available)


def test_a_template_leaves_room_for_a_text_and_its_answer(bases: dict[str, Path]) -> None:
    chat, plain = load_model(bases["qwen"]), load_model(bases["marian"])
    with pytest.raises(DoctuneError, match="max_length is 8, but the template chatml alone takes"):
        check_template(chat.tokenizer, chat.recipe, 8)
    check_template(chat.tokenizer, chat.recipe, 128)
    check_template(plain.tokenizer, plain.recipe, 8)
