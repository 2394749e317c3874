"""Stage `train`: fine-tune the base on the training split, watched in MLflow, resuming where a killed run was.

    python -m tasks.train --base models/base --splits data/splits --out models/tuned \\
        --curves reports/train/curves.csv --report reports/train/train.json

Checkpoints lie outside the stage's outputs (DVC deletes those before a stage runs), in a folder named by the fingerprint of
params, data, base and code:

    .doctune/checkpoints/3f2a.../checkpoint-200/
    .doctune/tokens/77b0....arrow               # the rows as tokens, for every run on the same rows
    .doctune/progress/train.json                # how far it is, for who watches

With `train.processes` above 1 it starts itself that many times; the first of them alone holds the lock and writes.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from doctune.files import hash_path, hash_text, read_jsonl, write_json
from doctune.locks import hold
from doctune.models import save_model
from doctune.registry.runs import NOT_CURVES, TrainingRun, training_run
from doctune.registry.store import connect
from doctune.section import load_section
from doctune.training.params import TrainParams
from doctune.trust import remote_code_allowed
from tasks.stage import stage

CHECKPOINTS = Path(".doctune/checkpoints")
TOKENS = Path(".doctune/tokens")
WATCHING = {"reporters", "price_per_hour"}  # knobs that change nothing of what a training makes
CODE = Path(__file__).parents[1] / "doctune"
MAKES_WEIGHTS = ("training", "prompts", "models.py", "vocabulary.py", "placeholders.py", "text.py")
CHOOSES_BY_CHRF = ("translation.py", "scoring/metrics.py")
LOSSES = Path("losses")


def train_key(params: TrainParams, base: Path, splits: Path) -> str:
    """The fingerprint of all that decides what a training makes."""
    return hash_text(
        params.model_dump_json(exclude=WATCHING),
        hash_path(splits / "train.jsonl", splits / "valid.jsonl"),
        hash_path(base),
        hash_path(*(CODE / name for name in MAKES_WEIGHTS)),
        *([hash_path(*(CODE / name for name in CHOOSES_BY_CHRF))] if params.choose_by == "chrf" else []),
        *([hash_path(LOSSES)] if params.loss else []),
    )


def main(
    base: Path,
    splits: Path,
    out: Path,
    curves: Path,
    report: Path,
) -> None:
    from doctune.training.checkpoints import prune_runs
    from doctune.training.estimate import Told
    from doctune.training.processes import end_on_request, launch, launched, leave, rank
    from doctune.training.run import fine_tune
    from doctune.training.watching import ProgressFile, curve, measured, write_curves

    params = load_section(TrainParams, "train")
    if params.processes > 1 and not launched():
        return launch(params.processes, ["-m", "tasks.train", *sys.argv[1:]])
    if launched():
        end_on_request()
    key = train_key(params, base, splits)
    work = CHECKPOINTS / key[:16]
    rows = [read_jsonl(splits / f"{name}.jsonl") for name in ("train", "valid")]
    trusted = remote_code_allowed()
    if rank():
        fine_tune(base, rows[0], rows[1], params, work, [], tokens=TOKENS, remote_code=trusted)
        return leave()
    with hold(work / "lock", f"to train in {work}"), training_run(connect(), key, params.model_dump()) as run:
        watchers = [Told(params, len(rows[1])), ProgressFile("train"), curves_to(run)]
        trained = fine_tune(base, rows[0], rows[1], params, work, watchers, tokens=TOKENS, remote_code=trusted)
        for step, point in curve(trained.history):  # what an earlier process measured and this run lacks
            run.log(_logged(point), step)
        save_model(trained.loaded, out)
        write_curves(trained.history, curves)
        facts = {**trained.facts, "measured": measured(trained.history)}
        write_json(report, {"train_key": key, **facts, "params": params.model_dump()})
        prune_runs(CHECKPOINTS, work)
    print(
        f"trained {facts['trainable_parameters'] / 1e6:.2f} of {facts['parameters'] / 1e6:.2f} M parameters for {facts['steps']} steps{', stopped early' if facts['stopped_early'] else ''}, validation loss {facts['valid_loss']}"
    )
    leave()


def curves_to(run: TrainingRun) -> Any:
    """A callback that logs each point of the curves to MLflow while training runs."""
    from transformers import TrainerCallback

    class Curves(TrainerCallback):
        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any
        ) -> None:
            run.log(_logged(logs or {}), state.global_step)

    return Curves()


def _logged(point: Mapping[str, float]) -> dict[str, float]:
    """A point of the curves as the run takes it, like `replay_run`: the step goes beside it, the seconds are its times."""
    from doctune.training.watching import CURVES

    return {name: value for name, value in point.items() if name in CURVES and name not in NOT_CURVES}


if __name__ == "__main__":
    stage(main)
