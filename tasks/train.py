"""Stage `train`: fine-tune the base on the training split, watched in MLflow, resuming where a killed run was.

    python -m tasks.train --base models/base --splits data/splits --out models/tuned \\
        --curves reports/train/curves.csv --report reports/train/train.json

Checkpoints lie outside the stage's outputs (DVC deletes those before a stage runs), in a folder named by the fingerprint of
params, data, base and code:

    .doctune/checkpoints/3f2a.../checkpoint-200/
"""

from pathlib import Path
from typing import Any

from doctune.files import hash_path, hash_text, read_jsonl, write_json
from doctune.locks import hold
from doctune.models import save_model
from doctune.registry.runs import TrainingRun, training_run
from doctune.registry.store import connect
from doctune.section import load_section
from doctune.training.params import TrainParams
from tasks.stage import stage

CHECKPOINTS = Path(".doctune/checkpoints")
CODE = Path(__file__).parents[1] / "doctune"


def train_key(params: TrainParams, base: Path, splits: Path) -> str:
    """The fingerprint of all that decides what a training makes."""
    return hash_text(
        params.model_dump_json(),
        hash_path(splits / "train.jsonl", splits / "valid.jsonl"),
        hash_path(base),
        hash_path(CODE / "training", CODE / "prompts.py", CODE / "placeholders.py", CODE / "text.py"),
    )


def main(
    base: Path,
    splits: Path,
    out: Path,
    curves: Path,
    report: Path,
) -> None:
    from doctune.training.checkpoints import prune_runs
    from doctune.training.run import fine_tune
    from doctune.training.watching import write_curves

    params = load_section(TrainParams, "train")
    key = train_key(params, base, splits)
    work = CHECKPOINTS / key[:16]
    with hold(work / "lock", f"to train in {work}"), training_run(connect(), key, params.model_dump()) as run:
        rows = [read_jsonl(splits / f"{name}.jsonl") for name in ("train", "valid")]
        trained = fine_tune(base, rows[0], rows[1], params, work, [_curves_to(run)])
        save_model(trained.loaded, out)
        write_curves(trained.history, curves)
        write_json(report, {"train_key": key, **trained.facts, "params": params.model_dump()})
        prune_runs(CHECKPOINTS, work)
    facts = trained.facts
    print(
        f"trained {facts['trainable_parameters'] / 1e6:.2f} of {facts['parameters'] / 1e6:.2f} M parameters for {facts['steps']} steps, validation loss {facts['valid_loss']}"
    )


def _curves_to(run: TrainingRun) -> Any:
    """A callback that logs each point of the curves to MLflow while training runs."""
    from transformers import TrainerCallback

    from doctune.training.watching import CURVES

    class Curves(TrainerCallback):
        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any
        ) -> None:
            run.log({name: value for name, value in (logs or {}).items() if name in CURVES}, state.global_step)

    return Curves()


if __name__ == "__main__":
    stage(main)
