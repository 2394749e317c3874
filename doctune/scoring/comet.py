"""COMET (Rei et al. 2022), by Unbabel's own program in an environment of its own: it needs older libraries than doctune.

make comet                                      # once: .venv-comet
evaluate.comet: Unbabel/wmt22-comet-da          # or the path of a checkpoint, .../checkpoints/model.ckpt

reason = why_not("Unbabel/wmt22-comet-da")      # "" or why there will be no COMET, for metrics.json and the log
judge("Unbabel/wmt22-comet-da", sources, {"tuned": hypotheses}, references)       # {"tuned": (rows, 2)}: score, 1
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from doctune.errors import DoctuneError
from doctune.machine import ends_with_us
from doctune.scoring.metrics import Array, Metric, not_of_texts, share

PLACE = Path(".venv-comet/bin/comet-score")  # `make comet`


def why_not(checkpoint: str) -> str:
    """Why COMET cannot be had, in a line; empty where it can."""
    if not checkpoint:
        return "evaluate.comet names no checkpoint"
    if _program():
        return ""
    again = "install it with `make comet`, then `dvc repro --force evaluate`"
    return f"there is no {PLACE} and no comet-score on the PATH; {again}"


def judge(
    checkpoint: str, sources: Sequence[str], outputs: Mapping[str, Sequence[str]], references: Sequence[str]
) -> dict[str, Array]:
    """Each system's score of each row, about 0 to 1, and a one to count it by; raises DoctuneError where the program fails."""
    program = _program()
    if program is None:
        raise DoctuneError(f"COMET: {why_not(checkpoint)}")
    with tempfile.TemporaryDirectory(prefix="doctune-comet-") as scratch:
        folder = Path(scratch)
        files = {name: folder / f"system-{number}" for number, name in enumerate(outputs)}
        for path, texts in (
            (folder / "source", sources),
            (folder / "reference", references),
            *((path, outputs[name]) for name, path in files.items()),
        ):
            path.write_text("".join(" ".join(text.split()) + "\n" for text in texts), encoding="utf-8")
        told = folder / "scores.json"
        inputs = ["-s", str(folder / "source"), "-r", str(folder / "reference"), "-t", *map(str, files.values())]
        options = ["--model", checkpoint, "--gpus", str(int(_gpu())), "--quiet", "--to_json", str(told)]
        environ = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
        try:
            done = subprocess.run(
                [program, *inputs, *options], capture_output=True, text=True, env=environ, preexec_fn=ends_with_us()
            )
        except OSError as error:  # its environment was moved, say: the script names a Python that is not there
            raise DoctuneError(
                f"COMET: {program} does not start: {error.strerror}; remove its environment and make it anew with "
                "`make comet`, or set evaluate.comet to ''"
            ) from None
        if done.returncode or not told.is_file():
            lines = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()
            raise DoctuneError(
                f"COMET with evaluate.comet: {checkpoint} failed: {lines[-1][:300]}; give the path of a checkpoint or a hub's "
                f"name, or '' to leave COMET out"
            )
        found = json.loads(told.read_text(encoding="utf-8"))
    scores = {name: [row["COMET"] for row in found[str(path)]] for name, path in files.items()}
    return {name: np.array([(score, 1.0) for score in rows], dtype=np.float64) for name, rows in scores.items()}


def _program() -> str | None:
    return str(PLACE.absolute()) if PLACE.is_file() else shutil.which("comet-score")


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _signature(checkpoint: str, samples: int, seed: int) -> str:
    return f"nrefs:1|bs:{samples}|seed:{seed}|checkpoint:{checkpoint}|times:100|version:1"


def metric_of(checkpoint: str) -> Metric:
    return Metric("comet", "COMET", not_of_texts, partial(share, of_nothing=0.0), partial(_signature, checkpoint))
