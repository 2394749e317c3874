"""Every preset trains a tiny checkpoint of its architecture, which a hub on loopback serves, and translates with it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from doctune.adapting.params import AdaptParams
from doctune.adapting.run import adapt, save_adapted
from doctune.adapting.texts import Texts
from doctune.bases import BaseParams
from doctune.files import hash_text
from doctune.hubs import TO_BE_CHOSEN
from doctune.models import load_model, merged, save_model
from doctune.params import load_preset, preset_names
from doctune.prompts import prompt_ids
from doctune.section import validate
from doctune.training.params import TrainParams
from doctune.training.run import fine_tune
from doctune.translation import TranslateParams, make_translator
from tests.hub import REVISION, files_of, serving, serving_modelscope
from tests.tiny import ROWS, tiny_llama, tiny_marian, tiny_qwen, tiny_yuan

ROOT = Path(__file__).parents[1]
NAMES = preset_names()
RECIPES = {
    "k8s-opus-mt",
    "k8s-qwen-lora",
    "k8s-qwen-qlora",
    "k8s-qwen-dora",
    "biomed-yuan-lora",
    "instruct-llama-lora",
    "continue-pretrain",
    "multi-task",
}
SHORT = {"max_steps": 24, "eval_steps": 6, "warmup_ratio": 0.0, "patience": 0}
MAKE = """
import json, sys
from pathlib import Path
from doctune.bases import BaseParams, materialise_base
for out, section in json.loads(sys.argv[1]).items():
    materialise_base(BaseParams(**section), Path(out))
"""
FEW = TranslateParams(beams=1, batch_tokens=2048, max_new_tokens=16)


TAG = ">>cmn_Hans<<"


def marian(folder: Path) -> Path:
    """With OPUS-MT's name of the target language for a piece, in the place of one that no text here has."""
    base = tiny_marian(folder, positions=512)
    pieces = json.loads((base / "vocab.json").read_text(encoding="utf-8"))
    pieces[TAG] = pieces.pop("<0xFF>")  # no byte of UTF-8
    (base / "vocab.json").write_text(json.dumps(pieces), encoding="utf-8")
    return base


# What a preset's hub has under its name: the maker of a tiny model of that architecture, and whether pickles are all it has.
SHELVES: dict[str, tuple[Callable[[Path], Path], bool]] = {
    "": (marian, False),
    "Helsinki-NLP/opus-mt-en-zh": (marian, True),
    "Qwen/Qwen2.5-0.5B": (tiny_qwen, False),
    "01-ai/Yi-1.5-6B": (tiny_llama, False),
    "IEITYuan/Yuan2-2B-Mars-hf": (tiny_yuan, True),
}


@pytest.fixture(scope="module")
def shelves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for number, (hub_id, (make, pickled)) in enumerate(SHELVES.items()):
        folder = make(tmp_path_factory.mktemp("shelf") / str(number))
        if pickled:
            state = load_model(folder, remote_code=True).model.state_dict()
            torch.save({key: value.contiguous() for key, value in state.items()}, folder / "pytorch_model.bin")
            (folder / "model.safetensors").unlink()
        folders[hub_id] = folder
    return folders


@pytest.fixture(scope="module")
def bases(shelves: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The base that each preset's own section makes, from both hubs on loopback.

    In one process of its own, for the libraries read a hub's address when they are imported.
    """
    work = tmp_path_factory.mktemp("bases")
    sections = {name: base_of(preset, shelves).model_dump() for name in NAMES if not lacks(preset := load_preset(name))}
    folders = {name: str(work / hash_text(json.dumps(section))[:8]) for name, section in sections.items()}
    jobs = {folders[name]: section for name, section in sections.items()}  # presets with the same base share it
    models = {hub_id: files_of(folder) for hub_id, folder in shelves.items() if hub_id}
    with serving({}, models=models) as (hub, asked), serving_modelscope(models) as (scope, _):
        addresses = {"HF_ENDPOINT": hub, "MODELSCOPE_ENDPOINT": scope, "no_proxy": "127.0.0.1"}
        homes = {"HF_HOME": str(work / "hub"), "HOME": str(work), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        done = subprocess.run(
            [sys.executable, "-c", MAKE, json.dumps(jobs)],
            capture_output=True,
            text=True,
            cwd=work,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **addresses, **homes},
            timeout=1500,
        )
    assert done.returncode == 0, done.stderr
    assert any("pytorch_model.bin" in line for line in asked) and any("/Qwen/" in line for line in asked)
    return {name: Path(folder) for name, folder in folders.items()}


def lacks(preset: dict[str, Any]) -> str:
    """Why the preset's base cannot be had here."""
    if preset["base"]["source"] == "modelscope" and importlib.util.find_spec("modelscope") is None:
        return "modelscope is not installed: pip install 'doctune[modelscope]'"
    return ""


def base_of(preset: dict[str, Any], shelves: dict[str, Path]) -> BaseParams:
    """The preset's own section, at the revision that the loopback hub has; a folder's path is the shelf's."""
    values = preset["base"]
    values = values | {"path": str(shelves[values["hub_id"]])}
    return validate(BaseParams, values | ({"revision": REVISION} if values["source"] != "folder" else {}), "base:")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_preset_trains_a_base_of_its_kind(name: str, bases: dict[str, Path], tmp_path: Path) -> None:
    preset = load_preset(name)
    if why := lacks(preset):
        pytest.skip(why)
    base = bases[name]
    assert [file.name for file in base.glob("*.safetensors")] == ["model.safetensors"] and not list(base.glob("*.bin"))
    settings = preset["train"] | {key: value for key, value in SHORT.items() if key in preset["train"]}
    params = validate(TrainParams, settings | {"learning_rate": 20 * settings["learning_rate"]}, "train:")
    code = preset["base"]["remote_code"]
    if preset["adapt"]["epochs"]:
        base = reads_on(base, preset["adapt"], tmp_path)
    terms = [{"id": f"{n:x}", "en": en, "zh": zh, "task": "term"} for n, (en, zh) in enumerate(TERMS)]
    rows = [*ROWS, *(terms if preset["extra"]["glossary"] else [])]
    trained = fine_tune(base, rows, ROWS[:8], params, tmp_path / "work", [], remote_code=code)
    losses = [entry["eval_loss"] for entry in trained.history if "eval_loss" in entry]
    assert len(losses) == 4 and losses[-1] < 0.99 * losses[0], losses
    save_model(trained.loaded, tmp_path / "tuned")
    texts = [row["en"] for row in ROWS[:3]]
    answers = make_translator(load_model(tmp_path / "tuned", base, code), FEW).translate(texts)
    assert len(answers) == len(texts) and all(isinstance(answer, str) for answer in answers)
    again = merged(load_model(tmp_path / "tuned", base, code))
    assert make_translator(again, FEW).translate(texts) == answers
    shutil.rmtree(tmp_path / "work")


TERMS = (("Node", "节点"), ("Volume", "卷"), ("Label", "标签"), ("Namespace", "命名空间"))


def reads_on(base: Path, section: dict[str, Any], work: Path) -> Path:
    """The base after the preset's continued pretraining, with as much more of it as training here gets."""
    texts = Texts([row["en"] for row in ROWS] + [row["zh"] for row in ROWS], [row["zh"] for row in ROWS[:8]], {})
    more = {"epochs": 20.0, "learning_rate": 20 * section["learning_rate"]}
    adapted = adapt(base, texts, validate(AdaptParams, section | more, "adapt:"), work / "adapt", [])
    assert adapted.facts["valid_perplexity"]["after"] < adapted.facts["valid_perplexity"]["before"]
    save_adapted(adapted.loaded, base, work / "adapted")
    return work / "adapted"


def test_the_tag_of_the_target_language_is_one_piece(bases: dict[str, Path]) -> None:
    loaded = load_model(bases["k8s-opus-mt"])
    ids = prompt_ids(loaded.tokenizer, loaded.recipe, "A pod.")
    assert ids[0] == loaded.tokenizer.convert_tokens_to_ids(TAG) != loaded.tokenizer.unk_token_id
    assert loaded.tokenizer.decode(ids[1:], skip_special_tokens=True) == "A pod."


def test_every_recipe_has_its_preset() -> None:
    assert set(NAMES) >= RECIPES


@pytest.mark.parametrize("name", NAMES)
def test_a_base_from_a_hub_is_pinned_or_left_to_its_user_aloud(name: str) -> None:
    base = load_preset(name)["base"]
    if base["source"] == "folder":
        assert not base["hub_id"] and not base["remote_code"]
    elif base["revision"] == TO_BE_CHOSEN:
        text = (ROOT / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
        assert base["remote_code"] and "--set base.revision=COMMIT" in text, "only where code must be read first"
    else:
        assert base["source"] == "hub" and len(base["revision"]) == 40


def test_pickles_and_code_are_opted_into_where_they_are_needed_only() -> None:
    asked = {
        key: {name for name in NAMES if load_preset(name)["base"][key]} for key in ("pickled_weights", "remote_code")
    }
    assert asked == {
        "pickled_weights": {"k8s-opus-mt", "biomed-yuan-lora"},
        "remote_code": {"biomed-yuan-lora"},
    }


def test_yuan_is_trained_as_it_was_made() -> None:
    preset = load_preset("biomed-yuan-lora")
    base, train = preset["base"], preset["train"]
    assert (base["source"], base["template"]) == ("modelscope", "sep")
    assert train["lora"] == {
        "r": 8,
        "alpha": 32,
        "dropout": 0.1,
        "targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    }
    assert (train["max_length"], train["learning_rate"], train["epochs"]) == (384, 1e-4, 3.0)
    assert (train["method"], train["batch_rows"], train["eval_steps"]) == ("lora", 12, 0), "a checkpoint an epoch"
    assert train["gradient_checkpointing"]
    assert train["precision"] == "bf16" and train["batch_tokens"] >= 12 * train["max_length"]
    assert "Nobody of doctune has tested this checkpoint" in preset["register"]["description"], (
        "MLflow shows it as the card"
    )


@pytest.mark.parametrize("name", ["k8s-qwen-qlora", "k8s-qwen-dora"])
def test_qwen_s_methods_differ_in_the_method_only(name: str) -> None:
    one, other = load_preset("k8s-qwen-lora"), load_preset(name)
    assert {key for key in one if one[key] != other[key]} - {"sweep"} == {"train"}
    assert {key for key in one["train"] if one["train"][key] != other["train"][key]} <= {"method", "precision"}
