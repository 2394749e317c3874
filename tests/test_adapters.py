"""Many adapters on one base: each answers as it does alone, in any order; the wrong base, kind and name are refused."""

import shutil
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from doctune.adapters import _check_scales, load_adapters
from doctune.errors import DoctuneError
from doctune.files import read_json
from doctune.models import load_model, save_model
from doctune.training.methods import open_for_training
from doctune.translation import TranslateParams, load_translator
from tests.test_training import params
from tests.tiny import PAIRS, tiny_marian, tiny_qwen

FEW = TranslateParams(beams=1, batch_tokens=512, max_new_tokens=12)
TEXTS = [en for en, _ in PAIRS[:4]]
PLANS = {
    "k8s": {"method": "lora"},
    "istio.io": {"method": "dora", "lora": {"r": 2, "alpha": 8, "dropout": 0.0, "targets": ["k_proj", "v_proj"]}},
    "values": {"method": "qlora"},
    "scales": {"method": "ia3", "ia3": {"targets": ["k_proj", "v_proj"], "feedforward": []}},
}
ALIKE = ("k8s", "istio.io", "values")  # names that PEFT itself would not take, too


def make(base: Path, folder: Path) -> dict[str, Path]:
    for number, (name, change) in enumerate(PLANS.items()):
        loaded = open_for_training(base, params(**change))
        generator = torch.Generator().manual_seed(number)
        for weight in loaded.model.parameters():
            if weight.requires_grad:
                weight.data += 0.7 * torch.randn(weight.shape, generator=generator)
        recipe = loaded.recipe.model_copy(update={"links": {f"/{number}/": "/zh/"}})
        save_model(loaded._replace(recipe=recipe), folder / name)
    return {name: folder / name for name in PLANS}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_qwen(tmp_path_factory.mktemp("qwen") / "base")


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make(base, tmp_path_factory.mktemp("adapters"))


def test_each_answers_as_it_does_alone_there_and_back(base: Path, trained: dict[str, Path]) -> None:
    alone = {name: load_translator(trained[name], base, FEW).translate(TEXTS) for name in ALIKE}
    assert len({tuple(answers) for answers in alone.values()}) == len(ALIKE), "adapters that change nothing"
    adapters = load_adapters(base, {name: trained[name] for name in ALIKE}, FEW)
    held = {name: adapters.use(name) for name in adapters.names}
    for name in (*ALIKE, *reversed(ALIKE)):
        assert held[name].translate(TEXTS) == alone[name]
        assert held[name].recipe == load_model(trained[name], base).recipe


def test_each_answers_as_it_does_alone_on_an_encoder_decoder(tmp_path: Path) -> None:
    base = tiny_marian(tmp_path / "base")
    folders = make(base, tmp_path / "adapters")
    adapters = load_adapters(base, {name: folders[name] for name in ALIKE}, FEW)
    for name in ALIKE:
        assert adapters.use(name).translate(TEXTS) == load_translator(folders[name], base, FEW).translate(TEXTS)


def test_the_base_is_held_once(base: Path, trained: dict[str, Path]) -> None:
    adapters = load_adapters(base, {name: trained[name] for name in ALIKE}, FEW)
    whole = load_model(base).model.num_parameters()
    assert sum(w.numel() for n, w in adapters.model.named_parameters() if "lora_" not in n) == whole


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param((), "wanted one adapter or more", id="none"),
        pytest.param(("k8s", "scales"), "one kind at a time, got k8s is LORA, scales is IA3", id="two kinds"),
    ],
)
def test_what_one_base_cannot_carry(base: Path, trained: dict[str, Path], names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DoctuneError, match=message):
        load_adapters(base, {name: trained[name] for name in names})


def test_an_unknown_name_lists_what_there_is(base: Path, trained: dict[str, Path]) -> None:
    with pytest.raises(DoctuneError, match="no adapter 'linux'; loaded are k8s"):
        load_adapters(base, {"k8s": trained["k8s"]}).use("linux")


def test_a_whole_model_is_no_adapter(base: Path) -> None:
    with pytest.raises(DoctuneError, match=r"has no adapter_config.json"):
        load_adapters(base, {"base": base})


def test_another_base_is_refused_though_its_shape_is_the_same(
    base: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    other, shape = tiny_qwen(tmp_path / "other", seed=2), tiny_marian(tmp_path / "marian")
    for wrong in (other, shape):
        with pytest.raises(DoctuneError, match="was trained on .* with weights .*give its own base"):
            load_adapters(wrong, {"k8s": trained["k8s"]})
        with pytest.raises(DoctuneError, match="give its own base"):
            load_model(trained["k8s"], wrong)


def test_a_pin_is_of_weights_not_of_what_lies_beside_them(base: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in base.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    (moved / "README.md").write_text("a card\n", encoding="utf-8")
    load_model(trained["k8s"], moved)
    assert set(read_json(trained["k8s"] / "base.json")) == {"folder", "weights"}


def test_scales_on_different_sides_of_a_module_are_refused() -> None:
    outward = {"target_modules": ["k_proj", "fc2"], "feedforward_modules": []}
    inward = {"target_modules": ["fc2"], "feedforward_modules": ["fc2"]}
    _check_scales({"k8s": inward, "istio": inward, "linux": {"target_modules": ["k_proj"]}})
    with pytest.raises(DoctuneError, match="adapters k8s and istio scale fc2 on different sides"):
        _check_scales({"k8s": outward, "istio": inward})


def test_an_adapter_without_a_pin_is_refused(base: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    for file in trained["k8s"].iterdir():
        if file.name != "base.json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(DoctuneError, match="nobody knows which base"):
        load_model(tmp_path, base)


@pytest.mark.parametrize("pickled", [False, True], ids=["no weights", "pickled weights"])
def test_an_adapter_without_its_safetensors_is_refused_offline(
    base: Path, trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pickled: bool
) -> None:
    """PEFT itself would unpickle, or ask the hub for a repository called as the folder is."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained["k8s"], "models/tuned")
    weights = load_file("models/tuned/adapter_model.safetensors")
    Path("models/tuned/adapter_model.safetensors").unlink()
    if pickled:
        torch.save(weights, "models/tuned/adapter_model.bin")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("went online"))
    for opening in (
        lambda: load_model(Path("models/tuned"), base),
        lambda: load_adapters(base, {"k8s": Path("models/tuned")}),
    ):
        with pytest.raises(DoctuneError, match=r"has no adapter_model\.safetensors"):
            opening()
