"""Other places than MLflow to which the Trainer itself reports its curves: TensorBoard and Weights & Biases.

train.reporters: [tensorboard]       pip install 'doctune[tensorboard]', then
tensorboard --logdir .doctune/tensorboard

A reporter that cannot work is refused before anything is loaded. What they write lies outside the stage's outputs.
"""

import importlib.util
import os
from pathlib import Path
from secrets import token_hex
from typing import Any

from doctune.errors import DoctuneError
from doctune.files import whole_file
from doctune.training.params import TrainParams
from doctune.training.processes import rank

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


def reporting(params: TrainParams, work: Path) -> dict[str, Any]:
    """What TrainingArguments takes for the run whose checkpoints lie in `work`; one that is resumed goes on as the same W&B run."""
    if "wandb" in params.reporters:
        WANDB.mkdir(exist_ok=True)
        os.environ.setdefault("WANDB_DIR", str(WANDB))
        os.environ.setdefault("WANDB_PROJECT", "doctune")
        os.environ.setdefault("WANDB_RESUME", "allow")
        if not rank():  # the process that reports
            os.environ.setdefault("WANDB_RUN_ID", _wandb_id(work / "wandb_run"))
    return {
        "report_to": [name for name in params.reporters if name != "tensorboard"] or "none",
        "run_name": f"train-{work.name[:8]}",
    }


def tensorboard(params: TrainParams, name: str, step: int) -> list[Any]:
    """The Trainer's callback for TensorBoard, where it is asked for. What a killed run wrote after `step` is not shown."""
    if "tensorboard" not in params.reporters or rank():
        return []
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    return [TensorBoardCallback(SummaryWriter(str(TENSORBOARD / name), purge_step=step + 1))]


def _wandb_id(path: Path) -> str:
    if not path.is_file():
        with whole_file(path) as tmp:
            tmp.write_text(token_hex(4), encoding="utf-8")
    return path.read_text(encoding="utf-8")
