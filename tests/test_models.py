"""Bases from a folder, and what is refused. Those from hubs are in test_hubs.py."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from doctune.bases import BaseParams, materialise_base
from doctune.errors import DoctuneError
from doctune.files import hash_path
from doctune.models import load_model
from doctune.section import validate
from tests.tiny import tiny_llama, tiny_marian, tiny_qwen, tiny_yuan

SETTINGS = dict(
    source="folder",
    path="base",
    hub_id="",
    revision="",
    pickled_weights=False,
    remote_code=False,
    template="plain",
    placeholders=True,
    links={"/docs/": "/zh-cn/docs/"},
    target_prefix="",
)


def params(**changes) -> BaseParams:
    return validate(BaseParams, SETTINGS | changes, "base:")


@pytest.fixture(scope="module")
def marian(tmp_path_factory) -> Path:
    return tiny_marian(tmp_path_factory.mktemp("marian") / "base")


def test_a_config_need_not_name_its_architecture(marian, tmp_path):
    folder = tmp_path / "base"
    shutil.copytree(marian, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["architectures"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert materialise_base(params(path=str(folder)), tmp_path / "out")["architecture"] == "MarianMTModel"


def pickled(folder: Path, to: Path, payload=None) -> Path:
    """The same model with its weights as a pickle."""
    to.mkdir()
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (to / file.name).write_bytes(file.read_bytes())
    torch.save(load_model(folder).model.state_dict() if payload is None else payload, to / "pytorch_model.bin")
    return to


def test_a_folder_becomes_a_base(marian, tmp_path):
    (marian / "train.py").write_text("print('not data')\n", encoding="utf-8")
    facts = materialise_base(params(path=str(marian)), tmp_path / "out")
    assert facts["architecture"] == "MarianMTModel" and facts["hash"] == hash_path(tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.py")), "a repository's code stays where it is"
    loaded = load_model(tmp_path / "out")
    assert (
        loaded.seq2seq and loaded.recipe == params().recipe and next(loaded.model.parameters()).dtype == torch.float32
    )


def test_pickled_weights_are_converted_only_when_asked(marian, tmp_path):
    folder = pickled(marian, tmp_path / "pickled")
    with pytest.raises(DoctuneError, match="pickled weights only .*set base.pickled_weights: true"):
        materialise_base(params(path=str(folder)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    materialise_base(params(path=str(folder), pickled_weights=True), tmp_path / "out")
    old, new = load_model(marian).model.state_dict(), load_model(tmp_path / "out").model.state_dict()
    assert all(torch.equal(old[key], new[key]) for key in old)
    assert not list((tmp_path / "out").glob("*.bin"))


class Planted:
    def __reduce__(self):
        return os.system, ("touch planted",)


def test_a_pickle_with_code_is_refused_unrun(marian, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = pickled(marian, tmp_path / "pickled", payload={"model.shared.weight": Planted()})
    with pytest.raises(DoctuneError, match="cannot be read as plain tensors"):
        materialise_base(params(path=str(folder), pickled_weights=True), tmp_path / "out")
    assert not (tmp_path / "planted").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda f: (f / "model.safetensors").unlink(), "no weights", id="no weights"),
        pytest.param(lambda f: (f / "config.json").unlink(), "no config.json", id="no config"),
        pytest.param(
            lambda f: (f / "model.safetensors").write_bytes(b"cut off"),
            "cannot be opened as a model",
            id="cut-off weights",
        ),
        pytest.param(lambda f: (f / "config.json").write_text("{}"), "cannot be opened as a model", id="empty config"),
    ],
)
def test_a_broken_folder_gets_one_line(marian, tmp_path, change, message):
    folder = tmp_path / "base"
    folder.mkdir()
    for file in marian.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    change(folder)
    with pytest.raises(DoctuneError, match=message) as error:
        materialise_base(params(path=str(folder)), tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_a_missing_folder_and_an_unpinned_hub_are_refused(tmp_path):
    with pytest.raises(DoctuneError, match="nowhere is not a folder"):
        materialise_base(params(path=str(tmp_path / "nowhere")), tmp_path / "out")
    with pytest.raises(DoctuneError, match="40 hex digits .* got 'a/b' at 'main'"):
        params(source="hub", hub_id="a/b", revision="main")


def test_shards_of_pickles_are_converted_to_whole_safetensors(marian, tmp_path):
    folder = pickled(marian, tmp_path / "pickled")
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    names = sorted(state)
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for shard, keys in shards.items():
        torch.save({key: state[key] for key in keys}, folder / shard)
    weights = {key: shard for shard, keys in shards.items() for key in keys}
    index = {"metadata": {}, "weight_map": weights}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    materialise_base(params(path=str(folder), pickled_weights=True), tmp_path / "out")
    new = load_model(tmp_path / "out").model.state_dict()
    assert all(torch.equal(value, new[key]) for key, value in state.items())
    assert not list((tmp_path / "out").glob("pytorch_model*"))
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(DoctuneError, match="cannot be read as plain tensors"):
        materialise_base(params(path=str(folder), pickled_weights=True), tmp_path / "half")


def test_pickled_weights_keep_their_number_format(tmp_path):
    folder = pickled(tiny_llama(tmp_path / "llama"), tmp_path / "pickled")
    half = {k: v.bfloat16() for k, v in torch.load(folder / "pytorch_model.bin", weights_only=True).items()}
    torch.save(half, folder / "pytorch_model.bin")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}), encoding="utf-8")
    settings = params(path=str(folder), pickled_weights=True, template="instruct", placeholders=False)
    materialise_base(settings, tmp_path / "out")
    from safetensors.torch import load_file

    assert {value.dtype for value in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("template", "make", "message"),
    [
        pytest.param(
            "chatml", tiny_marian, "an encoder-decoder model, .* set base.template to plain", id="a translator"
        ),
        pytest.param("plain", tiny_llama, "a causal model, .* to chatml, sep, instruct", id="a causal model"),
        pytest.param("chatml", tiny_llama, "no <|im_end|>; use a base of the Qwen family", id="no chat"),
        pytest.param("sep", tiny_qwen, "no <sep>; use a base of the Yuan 2 family", id="no sep"),
    ],
)
def test_a_template_wants_its_kind_of_base(tmp_path, template, make, message):
    folder = make(tmp_path / "base")
    with pytest.raises(DoctuneError, match=message.replace("|", r"\|")) as error:
        materialise_base(params(path=str(folder), template=template, placeholders=False), tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_a_chat_recipe_wants_a_chat_template(tmp_path):
    folder = tiny_qwen(tmp_path / "qwen")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(DoctuneError, match="has no chat template"):
        materialise_base(params(path=str(folder), template="chatml"), tmp_path / "out")


def test_a_tokenizer_without_padding_pads_with_its_end(tmp_path):
    loaded = load_model(tiny_llama(tmp_path / "llama"))
    assert loaded.tokenizer.pad_token == loaded.tokenizer.eos_token == "</s>"


@pytest.fixture(scope="module")
def yuan(tmp_path_factory) -> Path:
    return tiny_yuan(tmp_path_factory.mktemp("yuan") / "base")


def test_a_base_s_own_code_runs_only_where_asked(yuan, tmp_path):
    """The code counts its runs in a file beside the tests' folder: none may be left by a refusal."""
    folder = tmp_path / "base"
    folder.mkdir()
    for file in yuan.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    witness = tmp_path / "ran"
    code = folder / "configuration_yuan.py"
    code.write_text(f"{code.read_text(encoding='utf-8')}\nopen({str(witness)!r}, 'a').close()\n", encoding="utf-8")
    settings = dict(path=str(folder), template="sep", placeholders=False)
    with pytest.raises(DoctuneError, match="needs Python code of its own"):
        materialise_base(params(**settings), tmp_path / "out")
    with pytest.raises(DoctuneError, match="needs Python code of its own.*set base.remote_code: true in params.yaml"):
        load_model(folder)
    assert not witness.exists() and not (tmp_path / "out").exists()
    facts = materialise_base(params(**settings, remote_code=True), tmp_path / "out")
    assert witness.exists() and facts["architecture"] == "YuanForCausalLM"
    assert {file.name for file in (tmp_path / "out").glob("*.py")} == {"configuration_yuan.py", "yuan_hf_model.py"}
    witness.unlink()
    with pytest.raises(DoctuneError, match="needs Python code of its own"):
        load_model(tmp_path / "out")  # doctune.json beside the code allows nothing
    assert not witness.exists()


def test_code_of_another_repository_is_refused(yuan, tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    for file in yuan.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["auto_map"]["AutoConfig"] = "someone/else--configuration_yuan.YuanConfig"
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(DoctuneError, match="code of another repository .someone/else--configuration_yuan"):
        materialise_base(
            params(path=str(folder), template="sep", placeholders=False, remote_code=True), tmp_path / "out"
        )
