"""Memory: the estimate against peaks that were measured, its parts by hand, what a machine has left."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, Qwen2ForCausalLM

from doctune.models import skeleton
from doctune.training import checks
from doctune.training.checks import check_plan
from doctune.training.memory import NF4_BYTES, Shape, Values, _left_in_containers, estimate, measure
from doctune.training.methods import with_method
from tests.test_training import params
from tests.tiny import tiny_qwen

# 77 M parameters as opus-mt has them, and LoRA r 16 on all linear layers; 102 M in Qwen2's shape
MARIAN = Shape(77_943_296, 77_419_008, 77_387_264, 0, Values(135_168, 0), 12, 512, Values(13_312, 0), 65_001, 2, True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_qwen(tmp_path_factory.mktemp("qwen") / "base")


@pytest.mark.parametrize(
    ("change", "half", "measured"),
    [
        pytest.param({}, False, 1846, id="float32"),
        pytest.param({}, True, 1788, id="bfloat16"),
        pytest.param({"gradient_checkpointing": True}, True, 1717, id="checkpointing"),
    ],
)
def test_the_estimate_is_near_what_was_measured(change: dict[str, Any], half: bool, measured: float) -> None:
    """Peak memory in MB above that of the loaded libraries, full fine-tuning at 1024 tokens a batch."""
    need = estimate(MARIAN, params(batch_tokens=1024, **change), half)
    assert need.total / 1e6 == pytest.approx(measured, rel=0.15)


def test_the_parts_by_hand() -> None:
    shape = Shape(1000, 10, 900, 800, Values(50, 4), 2, 8, Values(30, 2), 100, 1, True)
    need = estimate(shape, params(method="qlora", batch_tokens=512), half=False)
    assert need.weights == round(4 * 200 + NF4_BYTES * 800) and need.gradients == 40 and need.optimizer == 80
    assert need.logits == round(256 * 100 * 10.4) and need.total == sum(need)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        pytest.param({"gradient_checkpointing": True}, {}, id="checkpointing"),
        pytest.param({"method": "lora"}, {"method": "dora"}, id="DoRA keeps more than LoRA"),
        pytest.param({"method": "qlora"}, {"method": "lora"}, id="4 bits"),
        pytest.param({"batch_tokens": 512}, {"batch_tokens": 4096}, id="tokens"),
    ],
)
def test_what_takes_less(base: Path, less: dict[str, Any], more: dict[str, Any]) -> None:
    def total(change: dict[str, Any]) -> int:
        plan = params(**change)
        return estimate(measure(with_method(skeleton(base), plan), plan), plan, half=False).total

    assert total(less) < total(more)


@pytest.mark.parametrize(
    ("knobs", "plain_output", "all_at_once"),
    [
        pytest.param({}, True, False, id="doctune's loss takes them in parts"),
        pytest.param({"loss": "losses.focal:focal"}, True, True, id="a loss of one's own"),
        pytest.param({}, False, True, id="an adapter on the output layer"),
    ],
)
def test_how_many_logits_are_held(knobs: dict[str, Any], plain_output: bool, all_at_once: bool) -> None:
    shape = MARIAN._replace(vocabulary=151_936, plain_output=plain_output)
    held = estimate(shape, params(batch_tokens=8192, **knobs), half=True).logits / 10.4
    assert held == pytest.approx(4096 * 151_936 if all_at_once else 1 << 27)


def test_an_adapter_on_the_output_layer_is_seen(base: Path) -> None:
    apart = AutoConfig.from_pretrained(base, tie_word_embeddings=False)
    model = Qwen2ForCausalLM(apart)
    assert measure(model, params()).plain_output
    on_it = params(method="lora", lora={"r": 4, "alpha": 8, "dropout": 0.0, "targets": ["lm_head"]})
    assert not measure(with_method(model, on_it), on_it).plain_output


@pytest.mark.parametrize(("precision", "half"), [("fp16", True), ("bf16", True), ("fp32", False)])
def test_the_plan_is_told_the_number_format(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], precision: str, half: bool
) -> None:
    plan = params(batch_tokens=1 << 16)
    monkeypatch.setattr(checks, "number_format", lambda _: precision)  # fp16 wants a GPU
    check_plan(base, plan)
    need, other = (estimate(measure(skeleton(base), plan), plan, asked).text for asked in (half, not half))
    assert need != other and need in capsys.readouterr().out


def test_a_longer_example_is_a_batch_by_itself() -> None:
    short, long = (estimate(MARIAN, params(batch_tokens=64, max_length=n), False) for n in (32, 128))
    assert long.logits == pytest.approx(4 * short.logits)


@pytest.mark.parametrize(
    ("files", "left"),
    [
        pytest.param({}, [], id="no control groups"),
        pytest.param({"memory.max": "max", "memory.current": "5", "memory.stat": "inactive_file 1"}, [], id="no limit"),
        pytest.param(
            {"memory.max": "100", "memory.current": "70", "memory.stat": "anon 3\ninactive_file 20"},
            [50],
            id="files that were read make way",
        ),
        pytest.param(
            {
                "memory/memory.limit_in_bytes": "100",
                "memory/memory.usage_in_bytes": "130",
                "memory/memory.stat": "total_inactive_file 0",
            },
            [0],
            id="first version, over its limit",
        ),
    ],
)
def test_a_container_s_limit_counts(tmp_path: Path, files: dict[str, str], left: list[int]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert _left_in_containers(tmp_path)[1:] == left
