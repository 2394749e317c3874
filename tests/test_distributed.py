"""Several processes: the same curve as one, one writer, and none that outlives the others."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from doctune.errors import DoctuneError
from doctune.files import write_jsonl
from doctune.training.processes import Share, as_forward, check_processes, take_own_gpu
from tests.tiny import ROWS, tiny_marian

ROOT = Path(__file__).parents[1]
SHORT = {
    "max_steps": 8,
    "eval_steps": 3,
    "batch_tokens": 256,
    "max_length": 128,
    "learning_rate": 2e-3,
    "precision": "fp32",
}
LEARNT = {
    "step",
    "epoch",
    "loss",
    "eval_loss",
    "learning_rate",
    "grad_norm",
}  # the other curves are of speed and memory
OUTS = ("models/tuned", "reports/curves.csv", "reports/train.json")


class Batches(list):
    """A sampler whose batches are these in every epoch."""

    def set_epoch(self, epoch):
        self.epoch = epoch


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_processes_share_every_example_once(sizes, processes, accumulation):
    examples = iter(range(sum(sizes)))
    batches = Batches([[next(examples) for _ in range(size)] for size in sizes])
    multiple = processes * accumulation
    if sum(sizes) < multiple * -(-len(sizes) // multiple) and sum(sizes) % processes:
        with pytest.raises(DoctuneError, match="there are only"):
            Share(batches, multiple, 0, processes)
        return
    shares = [list(Share(batches, multiple, rank, processes)) for rank in range(processes)]
    assert len({len(share) for share in shares}) == 1 and len(shares[0]) == len(Share(batches, multiple, 0, processes))
    assert sorted(i for share in shares for batch in share for i in batch) == list(range(sum(sizes)))
    alone = list(Share(batches, multiple, 0, 1))  # one process that accumulates as many batches
    for update in range(0, len(alone), multiple):
        together = [b for share in shares for b in share[update // processes : (update + multiple) // processes]]
        assert sorted(together) == sorted(alone[update : update + multiple])


def test_batches_that_fit_stay_as_they_are():
    batches = Batches([[0, 1, 2], [3], [4, 5], [6]])
    assert list(Share(batches, 2, 1, 2)) == [[3], [6]] and list(Share(batches, 1, 0, 1)) == batches
    share = Share(batches, 2, 0, 2)
    share.set_epoch(3)
    assert batches.epoch == 3


def test_the_number_of_processes_is_what_params_say(monkeypatch):
    check_processes(1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_processes(2)
    with pytest.raises(DoctuneError, match=r"train.processes is 1, but 2 were started; set it to 2"):
        check_processes(1)
    with pytest.raises(DoctuneError, match=r"adapt.processes is 3, but 2 were started"):
        check_processes(3, "adapt")


@pytest.mark.parametrize(("gpus", "taken"), [(True, [1]), (False, [])], ids=["GPUs", "none"])
def test_each_process_takes_its_own_gpu(monkeypatch, gpus, taken):
    import torch

    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    take_own_gpu()  # not launched: the first GPU is its own
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    take_own_gpu()
    assert chosen == taken


DROPPED = """
import os, signal, sys, time
from doctune.training.processes import end_on_request

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)  # the handler runs here, and what it raises is dropped

end_on_request()
try:
    Late()
    time.sleep(60)
except KeyboardInterrupt:
    print("ended")
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_request_to_end_is_not_lost_in_a_destructor():
    found = subprocess.run([sys.executable, "-c", DROPPED], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert (found.returncode, found.stdout, found.stderr) == (0, "ended\n", "")


def test_a_single_model_is_called_as_it_is():
    assert as_forward("model", lambda model, x: (model, x), 3) == ("model", 3)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """Without dropout, whose random numbers differ between one process and two."""
    base = tiny_marian(tmp_path_factory.mktemp("base") / "base")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    (base / "config.json").write_text(json.dumps(config | {"dropout": 0.0}), encoding="utf-8")
    return base


def project(folder: Path, base: Path, **train) -> Path:
    """What stage `train` reads, in a folder of its own."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["train"] |= SHORT | train
    write_jsonl(folder / "data/splits/train.jsonl", ROWS * 3)
    write_jsonl(folder / "data/splits/valid.jsonl", ROWS[:9])
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (folder / "base").symlink_to(base)
    return folder


def start(folder: Path, *launcher: str) -> subprocess.Popen:
    options = ["--base", "base", "--splits", "data/splits", "--out", OUTS[0], "--curves", OUTS[1], "--report", OUTS[2]]
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, "tasks.train", *options],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> str:
    try:
        output, _ = process.communicate(timeout=1500)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return output


def curves(folder: Path) -> list[dict[str, float]]:
    with (folder / OUTS[1]).open(encoding="utf-8") as file:
        return [
            {k: float(v) for k, v in row.items() if v and k not in ("seconds", "tokens_per_second")}
            for row in csv.DictReader(file)
        ]


def runs(folder: Path) -> list[str]:
    import sqlite3

    with sqlite3.connect(folder / "mlruns/mlflow.db") as database:
        return [status for (status,) in database.execute("select status from runs")]


@pytest.fixture(scope="module")
def one(base, tmp_path_factory) -> Path:
    """One process that accumulates two batches."""
    folder = project(tmp_path_factory.mktemp("one") / "one", base, gradient_accumulation=2)
    assert "trained" in (said := finish(start(folder))), said
    return folder


TORCHRUN = ("torch.distributed.run", "--nproc-per-node", "2", "-m")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), TORCHRUN], ids=["own", "torchrun"])
def test_two_processes_learn_as_one_that_accumulates(base, one, tmp_path, launcher):
    """The tolerance is that of sums in another order: 1e-4 nats."""
    two = project(tmp_path / "two", base, processes=2)
    assert "trained" in (said := finish(start(two, *launcher))), said
    assert said.count("training for 8 steps") == said.count("trained ") == 1 and "Traceback" not in said
    alone, together = curves(one), curves(two)
    assert len(alone) == len(together) > 3 and all(set(a) == set(b) for a, b in zip(alone, together, strict=True))
    for a, b in zip(alone, together, strict=True):
        learnt = a.keys() & LEARNT
        assert {name: a[name] for name in learnt} == pytest.approx({name: b[name] for name in learnt}, rel=0, abs=1e-4)
    assert {"loss", "eval_loss"} <= set().union(*alone)
    assert runs(two) == ["FINISHED"]
    assert sorted(p.name for p in (two / "models/tuned").iterdir()) == sorted(
        p.name for p in (one / "models/tuned").iterdir()
    )


@pytest.mark.slow
def test_two_processes_train_an_adapter_as_one_does(base, tmp_path):
    adapter = {"method": "lora", "lora": {"r": 4, "alpha": 8, "dropout": 0.0, "targets": ["q_proj", "v_proj"]}}
    alone, together = (
        project(tmp_path / name, base, **adapter, **change)
        for name, change in (("one", {"gradient_accumulation": 2}), ("two", {"processes": 2}))
    )
    for folder in (alone, together):
        assert "trained" in (said := finish(start(folder))), said
        assert (folder / "models/tuned/adapter_model.safetensors").is_file()
    losses = [[row["eval_loss"] for row in curves(folder) if "eval_loss" in row] for folder in (alone, together)]
    assert losses[0] == pytest.approx(losses[1], rel=0, abs=1e-4) and losses[0][-1] < losses[0][0]


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    return [p for p in psutil.Process(process.pid).children(recursive=True) if "tasks.train" in p.cmdline()]


def read_until(process: subprocess.Popen, text: str) -> str:
    said = ""
    while text not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    return said


@pytest.mark.slow
@pytest.mark.parametrize("death", ["a worker's", "the parent's", "an interrupt"])
def test_the_death_of_one_ends_all(base, tmp_path, death):
    folder = project(tmp_path / "site", base, processes=2, max_steps=100_000, eval_steps=20)
    process = start(folder)
    both: list[psutil.Process] = []
    try:
        read_until(process, "step 40/")  # the checkpoint of step 20 is whole by now
        both = workers(process)
        ranks = {p.environ()["RANK"]: p for p in both}
        assert set(ranks) == {"0", "1"}
        {
            "a worker's": ranks["1"].kill,
            "the parent's": process.kill,
            "an interrupt": lambda: os.killpg(process.pid, signal.SIGINT),
        }[death]()
        assert not psutil.wait_procs(both, timeout=60)[1], "they live on"
        said = finish(process)
        assert process.returncode not in (0, None) and not (folder / OUTS[0]).exists()
        if death == "a worker's":
            assert "doctune: error: process 1 of 2 was killed (SIGKILL; short of memory?)" in said
            assert "Traceback" not in said.split("doctune: error")[1]
            second = start(folder)
            try:
                assert "resumed at step" in read_until(second, "training for 100000 steps")
            finally:
                both += workers(second)
                second.kill()
                second.communicate()
        if death == "an interrupt":
            # One that waits for another's gradients cannot say goodbye in time; the next start takes its run up.
            assert runs(folder)[0] in ("KILLED", "RUNNING")
    finally:
        for left in [*both, process]:
            if left.is_running() if isinstance(left, psutil.Process) else left.poll() is None:
                left.kill()


@pytest.mark.slow
def test_two_processes_that_are_killed_end_as_unbroken_ones(base, tmp_path):
    whole, broken = (
        project(tmp_path / name, base, processes=2, max_steps=60, eval_steps=5) for name in ("whole", "broken")
    )
    assert "trained" in (said := finish(start(whole))), said
    process = start(broken)
    read_until(process, "step 20/")
    both = workers(process)
    process.kill()
    process.communicate()
    assert len(both) == 2 and not psutil.wait_procs(both, timeout=60)[1], "they live on"
    assert not (broken / OUTS[0]).exists()
    assert "resumed at step" in (said := finish(start(broken))), said
    ends = [{p["step"]: p["eval_loss"] for p in curves(folder) if "eval_loss" in p} for folder in (whole, broken)]
    assert sorted(ends[0]) == list(range(5, 61, 5)) and ends[1] == pytest.approx(ends[0], rel=0, abs=1e-4)


@pytest.mark.slow
def test_an_error_of_both_is_told_in_a_line(base, tmp_path):
    folder = project(tmp_path / "site", base, processes=2, max_length=4096)
    process = start(folder)
    said = finish(process)
    assert process.returncode == 1 and "Traceback" not in said
    assert {line for line in said.splitlines() if "error" in line} == {
        "doctune: error: train.max_length is 4096, but the base has 128 positions; set it to 128 or less"
    }
