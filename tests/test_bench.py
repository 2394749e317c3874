"""Benchmarks: what one keeps (a killed run goes on, other code or another machine does not count), and doctune's side of training."""

import json
import subprocess
import sys

import pytest

from bench.sides.common import WARM_UP
from bench.train import ROOT, VALID, Kept, write_task
from doctune.models import load_model
from doctune.prompts import encode_pair
from tests.tiny import ROWS, tiny_marian, tiny_qwen


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        pytest.param({}, 1.0, id="what this code measured here is not measured again"),
        pytest.param({"code": "other"}, 2.0, id="other code is measured anew"),
        pytest.param({"processor": "other"}, 2.0, id="another machine is measured anew"),
        pytest.param({"updates": 12}, 2.0, id="other work is measured anew"),
        pytest.param({"round": 2}, 2.0, id="another round is measured anew"),
    ],
)
def test_a_killed_benchmark_goes_on(tmp_path, before, wanted):
    path = tmp_path / "kept.jsonl"
    Kept(path, updates=60).measure("side", 1, lambda: {"tokens_per_second": 1.0})
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | before) + "\n", encoding="utf-8")
    found = Kept(path, updates=60).measure("side", 1, lambda: {"tokens_per_second": 2.0})
    assert found == {"tokens_per_second": wanted}
    assert len(path.read_text(encoding="utf-8").splitlines()) == wanted


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "judged"), [("full", False), ("full", True), ("lora", False)])
def test_doctune_s_side_tells_its_speed_and_its_loss(tmp_path, mode, judged):
    """On a tiny model of each kind: a mistake here would show after hours of the peers' rounds."""
    base = load_model((tiny_marian if mode == "full" else tiny_qwen)(tmp_path / "base"))
    made = [encode_pair(base.tokenizer, base.recipe, row["en"], row["zh"], 64) for row in ROWS]
    pairs = [[list(example.input_ids), list(example.labels)] for example in made]
    enough = (pairs * (VALID // len(pairs) + 2))[: VALID + 40]
    task = write_task(tmp_path / "task", base.model, enough, base.tokenizer.pad_token_id, "fp32", mode == "full")
    command = [sys.executable, "-m", "bench.sides.ours", str(task), mode, str(18 + WARM_UP), *["--judged"] * judged]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["tokens_per_second"] > 0 and ("valid_loss" in told) == judged
