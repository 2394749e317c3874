"""Bases from a folder and from a hub (a loopback server that speaks its HTTP API), and what is refused."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from doctune.bases import BaseParams, materialise_base
from doctune.errors import DoctuneError
from doctune.files import hash_path
from doctune.models import load_model
from doctune.section import validate
from tests.tiny import tiny_marian, tiny_qwen

REVISION = "0123456789abcdef0123456789abcdef01234567"
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


def test_a_chat_recipe_wants_a_chat_template(marian, tmp_path):
    with pytest.raises(DoctuneError, match="has no chat template"):
        materialise_base(params(path=str(marian), template="chatml"), tmp_path / "out")


@pytest.fixture
def hub(tmp_path_factory):
    """A hub on loopback: repositories are folders; answers what huggingface_hub asks for a snapshot at a commit."""
    repositories: dict[str, Path] = {}

    class Hub(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def _answer(self, body: bool):
            path = self.path.partition("?")[0]
            for name, folder in repositories.items():
                if path.rstrip("/") in (f"/api/models/{name}/revision/{REVISION}", f"/api/models/{name}"):
                    files = [{"rfilename": f.name} for f in sorted(folder.iterdir())]
                    return self._send(
                        json.dumps({"id": name, "modelId": name, "sha": REVISION, "siblings": files}).encode(),
                        body,
                        "application/json",
                    )
                if path.startswith(f"/{name}/resolve/{REVISION}/"):
                    file = folder / path.rpartition("/")[2]
                    if file.is_file():
                        return self._send(file.read_bytes(), body, "application/octet-stream")
            self.send_response(404)
            self.send_header("X-Error-Code", "RevisionNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, content: bytes, body: bool, kind: str):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", REVISION)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_GET(self):
            self._answer(True)

        def do_HEAD(self):
            self._answer(False)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield repositories, f"http://127.0.0.1:{server.server_port}", tmp_path_factory.mktemp("hub-cache")
    server.shutdown()
    server.server_close()


def from_hub(endpoint: str, cache: Path, settings: dict, out: Path) -> subprocess.CompletedProcess:
    """In a process of its own: huggingface_hub reads HF_ENDPOINT when it is imported."""
    code = (
        "import json, sys; from pathlib import Path\n"
        "from doctune.errors import DoctuneError\nfrom doctune.bases import BaseParams, materialise_base\n"
        "try: print(json.dumps(materialise_base(BaseParams(**json.loads(sys.argv[1])), Path(sys.argv[2]))))\n"
        "except DoctuneError as error: sys.exit(f'refused: {error}')\n"
    )
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_XET": "1",
        "no_proxy": "127.0.0.1",
    }
    environment.pop("HF_HUB_OFFLINE", None)
    return subprocess.run(
        [sys.executable, "-c", code, json.dumps(settings), str(out)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )


@pytest.mark.slow
def test_presets_of_the_hub_load_their_architectures(hub, tmp_path):
    repositories, endpoint, cache = hub
    marian = tiny_marian(tmp_path / "m")
    repositories["Helsinki-NLP/opus-mt-en-zh"] = pickled(marian, tmp_path / "opus")
    repositories["Qwen/Qwen2.5-0.5B"] = tiny_qwen(tmp_path / "q")
    from doctune.params import load_preset

    for preset, architecture in (("k8s-opus-mt", "MarianMTModel"), ("k8s-qwen-lora", "Qwen2ForCausalLM")):
        settings = load_preset(preset)["base"] | {"revision": REVISION}
        done = from_hub(endpoint, cache, settings, tmp_path / preset)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["architecture"] == architecture
        assert [f.name for f in (tmp_path / preset).glob("*.safetensors")] == ["model.safetensors"]
        load_model(tmp_path / preset)


@pytest.mark.slow
def test_a_hub_without_the_model_gives_one_line(hub, tmp_path):
    _, endpoint, cache = hub
    done = from_hub(
        endpoint,
        cache,
        SETTINGS | {"source": "hub", "hub_id": "nobody/nothing", "revision": REVISION},
        tmp_path / "out",
    )
    assert done.returncode == 1 and "refused: could not fetch nobody/nothing at 0123456" in done.stderr
