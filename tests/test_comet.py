"""COMET by its own program, on a checkpoint of random weights made on the spot; skipped where `make comet` was not run."""

import subprocess

import numpy as np
import pytest

from doctune.errors import DoctuneError
from doctune.scoring import comet
from doctune.scoring.evaluation import Output, evaluate, summarise, with_comet
from doctune.scoring.metrics import score
from doctune.terms.glossary import OWN
from tests.project import ROOT
from tests.test_scoring import BASE_TEXTS, PARAMS, TRAIN, TUNED_TEXTS, rows_of_test

MAKE = """
import sys
from pathlib import Path
import torch, yaml
from comet.models import RegressionMetric
from tokenizers import SentencePieceUnigramTokenizer
from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaTokenizerFast

out = Path(sys.argv[1])
text = [chr(code) for code in range(0x4e00, 0x4e80)] + "The boat sails at dawn and the nets are dry".split() * 20
pieces = SentencePieceUnigramTokenizer()
pieces.train_from_iterator(
    text * 5, vocab_size=200, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], unk_token="<unk>"
)
tokenizer = XLMRobertaTokenizerFast(tokenizer_object=pieces._tokenizer)
tokenizer.save_pretrained(out / "encoder")
torch.manual_seed(0)
config = XLMRobertaConfig(
    vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
    max_position_embeddings=514, pad_token_id=1,
)
XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(out / "encoder")
model = RegressionMetric(
    encoder_model="XLM-RoBERTa", pretrained_model=str(out / "encoder"), hidden_sizes=[32], layer="mix"
)
options = dict(model.hparams) | {"class_identifier": "regression_metric"}
(out / "checkpoints").mkdir()
kept = {"state_dict": model.state_dict(), "hyper_parameters": options, "pytorch-lightning_version": "2.0.0"}
torch.save(kept, out / "checkpoints" / "model.ckpt")
(out / "hparams.yaml").write_text(yaml.safe_dump(options))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    program = ROOT / comet.PLACE
    if not program.is_file():
        pytest.skip(f"COMET is not installed ({comet.PLACE}): run `make comet`")
    folder = tmp_path_factory.mktemp("comet")
    python = program.with_name("python")
    subprocess.run([python, "-c", MAKE, folder], check=True, capture_output=True, timeout=1500)
    return str(folder / "checkpoints" / "model.ckpt")


@pytest.mark.slow
def test_systems_are_judged_row_by_row(checkpoint, monkeypatch):
    monkeypatch.chdir(ROOT)
    test, texts = rows_of_test(), {"base": BASE_TEXTS, "tuned": TUNED_TEXTS}
    outputs = with_comet(test, {name: Output(found) for name, found in texts.items()}, checkpoint)
    rows = outputs["tuned"].measured["comet"]
    assert rows.shape == (len(test), 2) and np.ptp(rows[:, 0]) > 0 and (rows[:, 1] == 1).all()
    params = PARAMS.model_copy(update={"comet": checkpoint})
    summary = summarise(evaluate(test, TRAIN, outputs, OWN), params)
    assert summary["tuned"]["comet"] == round(score(comet.metric_of(checkpoint), rows), 4)
    assert summary["skipped"] == {} and "comet" in summary["gain"]


@pytest.mark.slow
def test_a_checkpoint_that_is_none_is_told_in_a_line(checkpoint, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(DoctuneError, match=r"COMET with evaluate\.comet: nowhere failed: .*nowhere"):
        comet.judge("nowhere", ["A"], {"base": ["一"]}, ["二"])


def test_without_its_program_the_reason_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "`make comet`" in comet.why_not("Unbabel/wmt22-comet-da")
    outputs = {"base": Output(BASE_TEXTS)}
    assert with_comet(rows_of_test(), outputs, "Unbabel/wmt22-comet-da") == outputs


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        pytest.param("#!/moved/away/bin/python\n", 0o755, id="its environment was moved"),
        pytest.param("#!/bin/sh\n", 0o644, id="not to be executed"),
    ],
)
def test_a_program_that_does_not_start_is_told_in_a_line(tmp_path, monkeypatch, text, mode):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comet, "_gpu", lambda: False)
    comet.PLACE.parent.mkdir(parents=True)
    comet.PLACE.write_text(text)
    comet.PLACE.chmod(mode)
    with pytest.raises(DoctuneError, match=r"comet-score does not start: .*`make comet`") as error:
        comet.judge("Unbabel/wmt22-comet-da", ["Pods are running."], {"base": ["Pod 正在运行。"]}, ["Pod 正在运行。"])
    assert "\n" not in str(error.value)
