"""Other places than MLflow to which the Trainer itself reports its curves: TensorBoard and Weights & Biases.

train.reporters: [tensorboard]       pip install 'doctune[tensorboard]', then
tensorboard --logdir .doctune/tensorboard

A reporter that cannot work is refused before anything is loaded. What they write lies outside the stage's outputs.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError
from doctune.training.params import TrainParams

TENSORBOARD = Path(".doctune") / "tensorboard"
WANDB = Path(".doctune")  # it makes a folder wandb in it


def check_reporters(params: TrainParams) -> None:
    """Refuse a reporter whose package is not installed, and W&B where nobody is logged in."""
    for name in params.reporters:
        if importlib.util.find_spec(name) is None:
            raise DoctuneError(
                f"train.reporters names {name}, but its package is not installed: pip install '{name}' (or doctune[{name}])"
            )
    if "wandb" in params.reporters and os.environ.get("WANDB_MODE", "online") in ("online", "shared"):
        import wandb

        if not wandb.api.api_key:
            raise DoctuneError(
                "train.reporters names wandb, but nobody is logged in: `wandb login`, or set WANDB_API_KEY, or WANDB_MODE=offline"
            )


def reporting(params: TrainParams, name: str) -> dict[str, Any]:
    """What TrainingArguments takes, for a run of that name."""
    if "wandb" in params.reporters:
        WANDB.mkdir(exist_ok=True)
        os.environ.setdefault("WANDB_DIR", str(WANDB))
        os.environ.setdefault("WANDB_PROJECT", "doctune")
    return {
        "report_to": list(params.reporters) or "none",
        "logging_dir": str(TENSORBOARD / name),
        "run_name": f"train-{name[:8]}",
    }
