"""params.yaml: every mistake at once, presets and overrides written whole or not at all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from doctune import params as module
from doctune.errors import DoctuneError
from doctune.params import configure, load_preset, read_params

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_mistakes_are_reported_together(project):
    text = (project / "params.yaml").read_text(encoding="utf-8")
    text = (
        text.replace("learning_rate: ", "learning_rat: ")
        .replace("epochs: ", "epochs: many # ")
        .replace("crawl:\n", "crawl:\n  colour: blue\n")
    )
    (project / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DoctuneError) as error:
        read_params()
    message = str(error.value)
    for mistake in (
        "8 mistake(s)",
        "crawl.colour: unknown key",
        "train.learning_rate: missing",
        "adapt.learning_rate: missing",
        "train.learning_rat: unknown key",
        "train.epochs:",
    ):
        assert mistake in message
    assert "\n" not in message


def test_without_preset_and_overrides_nothing_is_written(project):
    before = (project / "params.yaml").read_bytes()
    configure(None, [])
    assert (project / "params.yaml").read_bytes() == before


def test_preset_and_overrides_are_written_whole(project):
    written = configure(
        "k8s-small",
        [
            "crawl.url=../shared/docs.git",
            "crawl.ref=v1",
            "train.learning_rate=1e-4",
            "split.train_only=['generated/*']",
        ],
    )
    assert read_params() == written
    assert (written.crawl.source, written.crawl.url, written.crawl.ref) == ("git", "../shared/docs.git", "v1")
    assert written.train.learning_rate == 1e-4 and written.split.train_only == ["generated/*"]
    assert configure(None, ["train.epochs=1.5"]).crawl.url == "../shared/docs.git", "overrides alone keep the rest"


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        pytest.param("nope", [], "there is no preset 'nope'; presets/ has biomed-yuan-lora,", id="unknown preset"),
        pytest.param(None, ["train.learning_rate"], "wants section.key=value", id="no value"),
        pytest.param(None, ["seed=3"], "wants section.key=value", id="no section"),
        pytest.param(None, ["train.colour=blue"], "there is no knob train.colour", id="unknown knob"),
        pytest.param(None, ["train.epochs=many"], "train.epochs: .*got 'many'", id="wrong type"),
        pytest.param(None, ["split.test_since=true"], "split: test_since: wanted false, or crawl.since", id="no past"),
        pytest.param("k8s-qwen-lora", ["base.revision=main"], "40 hex digits", id="moving revision"),
    ],
)
def test_a_mistake_changes_nothing(project, preset, overrides, message):
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(DoctuneError, match=message):
        configure(preset, overrides)
    assert (project / "params.yaml").read_bytes() == before


def test_a_split_by_time_with_a_past(project):
    written = configure("k8s-small", ["crawl.since=v1.33", "split.test_since=true"])
    assert written.crawl.since == "v1.33" and written.split.test_since


def test_a_preset_changes_what_it_names_and_keeps_the_rest(project):
    embedded, small = load_preset("embedded"), load_preset("k8s-small")
    assert small["evaluate"] == embedded["evaluate"] and small["crawl"]["tree"] == embedded["crawl"]["tree"]
    assert load_preset("k8s-qwen-lora")["train"]["lora"]["r"] == embedded["train"]["lora"]["r"]


def test_every_knob_is_explained_or_plain():
    assert list(load_preset("embedded")) == [
        field.alias or name for name, field in module.Params.model_fields.items()
    ], "sections in the order of the pipeline"


def test_a_preset_is_written_without_a_run(tmp_path):
    """For `dvc repro`, which has no presets of its own."""
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    command = [sys.executable, "-m", "doctune.cli", "configure", "--preset", "k8s-opus-mt", "--set", "train.epochs=2"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".doctune", "params.yaml", "presets"]
    found = read_params(tmp_path / "params.yaml")
    assert found.base.hub_id == "Helsinki-NLP/opus-mt-en-zh" and found.train.epochs == 2
