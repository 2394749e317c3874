"""Models from the Hugging Face hub and from ModelScope, whose HTTP APIs loopback servers speak, and what is refused."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from doctune.errors import DoctuneError
from doctune.hubs import MODELSCOPE_CACHE, TO_BE_CHOSEN, from_hub, from_modelscope
from tests.hub import REVISION, serving, serving_modelscope

ROOT = Path(__file__).parents[1]
PATTERNS = ["*.json", "*.safetensors"]
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"a pickle",
    "modeling_x.py": b"raise SystemExit",
}
ASK = """
import json, sys
from doctune.errors import DoctuneError
from doctune import hubs
source, asked = getattr(hubs, sys.argv[1]), json.loads(sys.argv[2])
for hub_id, revision, patterns in asked:
    if hub_id == "down":
        import huggingface_hub.constants
        huggingface_hub.constants.ENDPOINT = revision
        continue
    try:
        print(json.dumps(str(source(hub_id, revision, patterns))))
    except DoctuneError as error:
        print(json.dumps({"refused": str(error)}))
"""


def ask(source: str, environment: dict[str, str], cwd: Path, *asked: tuple[str, str, list[str]]) -> list[Any]:
    """One process of its own for all questions: the libraries look at the endpoint once, when they are imported."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, source, json.dumps(asked)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            "no_proxy": "127.0.0.1",
            **environment,
        },
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_hub_gives_what_is_asked_for_and_reasons_for_the_rest(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"  # the discard port, where nobody listens
    with serving({}, models={"me/base": FILES}, refused={"me/gated": 403, "me/secret": 401}) as (address, asked):
        environment = {
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
        }
        folder, again, *refused = ask(
            "from_hub",
            environment,
            tmp_path,
            ("me/base", REVISION, PATTERNS),
            ("me/base", REVISION, [*PATTERNS, "pytorch_model*.bin"]),
            ("me/base", "f" * 40, PATTERNS),
            ("me/nothing", REVISION, PATTERNS),
            ("me/gated", REVISION, PATTERNS),
            ("me/secret", REVISION, PATTERNS),
            ("down", nowhere, []),
            ("me/other", REVISION, PATTERNS),
        )
    assert folder == again and {f.name: f.read_bytes() for f in Path(folder).iterdir()} == {
        name: content for name, content in FILES.items() if not name.endswith(".py")
    }
    assert sum("model.safetensors" in line and line.startswith("GET") for line in asked) == 1, "nothing twice"
    assert not any(".py" in line for line in asked), "code is not even fetched"
    for answer, told in zip(
        refused,
        [
            (f"could not fetch me/base at {'f' * 40} from the hub:", "404", "check base.hub_id and base.revision"),
            ("could not fetch me/nothing", "404"),
            ("could not fetch me/gated", "Access to me/gated is restricted", "HF_TOKEN"),
            ("could not fetch me/secret", "401", "HF_TOKEN"),
            ("could not fetch me/other", "check base.hub_id and base.revision, the network, HF_ENDPOINT"),
        ],
        strict=True,
    ):
        assert all(part in answer["refused"] for part in told) and "\n" not in answer["refused"], answer


@pytest.mark.skipif(
    importlib.util.find_spec("modelscope") is None,
    reason="modelscope is not installed here (pip install 'doctune[modelscope]'), so its download was not tried",
)
def test_modelscope_gives_what_is_asked_for_and_reasons_for_the_rest(tmp_path: Path) -> None:
    with serving_modelscope({"me/base": FILES}) as (address, asked):
        environment = {"MODELSCOPE_ENDPOINT": address, "HOME": str(tmp_path)}
        folder, again, *refused = ask(
            "from_modelscope",
            environment,
            tmp_path,
            ("me/base", REVISION, PATTERNS),
            ("me/base", REVISION, PATTERNS),
            ("me/base", "f" * 40, PATTERNS),
            ("me/nothing", REVISION, PATTERNS),
        )
    assert folder == again and (tmp_path / MODELSCOPE_CACHE) in (tmp_path / folder).parents
    assert {f.name: f.read_bytes() for f in (tmp_path / folder).iterdir() if f.is_file()} == {
        "config.json": b"{}",
        "model.safetensors": b"weights",
    }
    assert sum("FilePath=model.safetensors" in line for line in asked) == 1, "nothing twice"
    assert not any(".py" in line or ".bin" in line for line in asked)
    for answer, told in zip(refused, (f"me/base at {'f' * 40}", "me/nothing"), strict=True):
        assert answer["refused"].startswith(f"could not fetch {told}") and "from ModelScope: " in answer["refused"]
        assert "MODELSCOPE_ENDPOINT" in answer["refused"] and "\n" not in answer["refused"]


def test_a_download_that_breaks_off_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights may come through a library of its own (hf_xet), whose errors are its own too."""

    def breaks_off(*_: Any, **__: Any) -> str:
        raise RuntimeError("Data processing error: CAS service error:\nconnection reset")

    monkeypatch.setattr("huggingface_hub.snapshot_download", breaks_off)
    with pytest.raises(DoctuneError, match="could not fetch me/base .*connection reset; check base.hub_id") as error:
        from_hub("me/base", REVISION, PATTERNS)
    assert "\n" not in str(error.value)


def test_without_modelscope_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("modelscope", "modelscope.hub", "modelscope.hub.snapshot_download"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DoctuneError, match=r"modelscope is not installed; pip install 'doctune\[modelscope\]'"):
        from_modelscope("me/base", REVISION, PATTERNS)


@pytest.mark.parametrize("source", [from_hub, from_modelscope])
def test_a_revision_that_its_user_must_choose_is_never_fetched(source: Any) -> None:
    with pytest.raises(DoctuneError, match="leaves the revision of me/base to you.*--set base.revision=COMMIT"):
        source("me/base", TO_BE_CHOSEN, PATTERNS)
