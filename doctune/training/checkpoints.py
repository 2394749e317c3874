"""The checkpoints of runs: a folder a run under one root, each of whole checkpoints.

.doctune/checkpoints/3f2a.../checkpoint-200/
"""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from doctune.training.processes import processes

KEPT_RUNS = 3
STATE = "trainer_state.json"


def last_checkpoint(work: Path) -> str | None:
    """The newest whole checkpoint. The Trainer writes its state last; a folder without it was cut off and is removed.

    Of several processes each writes its random numbers, and only the first the state: all must be there.
    """
    for checkpoint in _newest_first(work):
        try:
            json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
            if all(zipfile.is_zipfile(checkpoint / name) for name in _random_numbers()):
                return str(checkpoint)
        except (OSError, json.JSONDecodeError):
            pass
        print(f"{checkpoint.name} was cut off while it was written; it is removed", flush=True)
        shutil.rmtree(checkpoint)
    return None


def _newest_first(work: Path) -> list[Path]:
    return sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)


def _random_numbers() -> list[str]:
    return [f"rng_state_{number}.pth" for number in range(processes())] if processes() > 1 else []


def read_state(checkpoint: Path | str) -> Any:
    """The TrainerState of a checkpoint."""
    from transformers import TrainerState

    return TrainerState.load_from_json(str(Path(checkpoint) / STATE))


def has_ended(state: Any) -> bool:
    """Whether the run of this TrainerState was over at its checkpoint: all steps taken, or stopped early."""
    control = state.stateful_callbacks.get("TrainerControl", {}).get("args", {})
    return state.global_step >= state.max_steps > 0 or bool(control.get("should_training_stop"))


def prune_runs(root: Path, keep: Path) -> None:
    """Remove the checkpoints of all but a few runs under `root` (and never those of `keep`): those that can go on stay longest."""
    runs = [(_can_go_on(path), path.stat().st_mtime, path) for path in root.iterdir() if path.is_dir() and path != keep]
    for can_go_on, _, old in sorted(runs, reverse=True)[KEPT_RUNS - 1 :]:
        if can_go_on:
            print(f"the checkpoints of an interrupted training are removed, as later ones were interrupted too: {old}")
        shutil.rmtree(old, ignore_errors=True)


def _can_go_on(work: Path) -> bool:
    """Whether a training was interrupted after a checkpoint."""
    whole = [checkpoint for checkpoint in _newest_first(work) if (checkpoint / STATE).is_file()]
    try:
        return bool(whole) and not has_ended(read_state(whole[0]))
    except (OSError, ValueError, TypeError):  # cut off, or of another version
        return False
