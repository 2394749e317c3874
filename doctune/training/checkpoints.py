"""The checkpoints of runs: a folder a run under one root, each of whole checkpoints.

.doctune/checkpoints/3f2a.../checkpoint-200/
"""

import json
import shutil
from pathlib import Path
from typing import Any

KEPT_RUNS = 3


def last_checkpoint(work: Path) -> str | None:
    """The newest whole checkpoint. The Trainer writes its state last; a folder without it was cut off and is removed."""
    found = sorted(work.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True)
    for checkpoint in found:
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
            return str(checkpoint)
        except (OSError, json.JSONDecodeError):
            print(f"{checkpoint.name} was cut off while it was written; it is removed", flush=True)
            shutil.rmtree(checkpoint)
    return None


def has_ended(state: Any) -> bool:
    """Whether the run of this TrainerState was over at its checkpoint: all steps taken, or stopped early."""
    control = state.stateful_callbacks.get("TrainerControl", {}).get("args", {})
    return state.global_step >= state.max_steps > 0 or bool(control.get("should_training_stop"))


def prune_runs(root: Path, keep: Path) -> None:
    """Remove the checkpoints of all but the newest few runs under `root` (and never those of `keep`)."""
    runs = sorted(
        (p for p in root.iterdir() if p.is_dir() and p != keep), key=lambda p: p.stat().st_mtime, reverse=True
    )
    for old in runs[KEPT_RUNS - 1 :]:
        shutil.rmtree(old, ignore_errors=True)
