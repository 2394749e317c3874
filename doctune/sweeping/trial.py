"""One trial, in a process of its own: a training that tells its curves as lines, and is evaluated a set number of times.

    train_trial(Path("models/base"), train_rows, valid_rows, params, work, evaluations=6)

    {"step": 40, "eval_loss": 2.31, "evaluation": 2}        # a point that it tells

An evaluation is numbered by its share of the work, the last being `evaluations`: batches of all sizes compare. A trial
that was cut short goes on from its last checkpoint in `work` and tells its evaluations again.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from doctune.sweeping.points import say_point
from doctune.training.params import TrainParams
from doctune.training.run import fine_tune
from doctune.training.watching import CURVES


class Milestones(TrainerCallback):
    """Evaluates, with a checkpoint, each time another of `evaluations` equal shares of the updates is done; tells points."""

    def __init__(self, evaluations: int) -> None:
        self.evaluations = evaluations
        self.told: set[int] = set()

    def number(self, step: int, steps: int) -> int:
        """How many whole shares are done after `step` of `steps` updates."""
        return step * self.evaluations // steps

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.tell_again(state.log_history, state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        before, now = (self.number(step, state.max_steps) for step in (state.global_step - 1, state.global_step))
        if now > before:
            control.should_evaluate = control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        self._tell(state.global_step, state.max_steps, logs or {})

    def tell_again(self, history: Iterable[dict[str, float]], steps: int) -> None:
        """The evaluations of an earlier process."""
        for entry in history:
            if "eval_loss" in entry and int(entry["step"]) not in self.told:
                self._tell(int(entry["step"]), steps, entry)

    def _tell(self, step: int, steps: int, logs: dict[str, float]) -> None:
        point: dict[str, float] = {name: logs[name] for name in CURVES if name in logs} | {"step": step}
        if "eval_loss" in logs:
            self.told.add(step)
            point["evaluation"] = self.number(step, steps)
        if len(point) > 1:
            say_point(point)


def train_trial(
    base: Path,
    train: list[dict[str, Any]],
    valid: list[dict[str, Any]],
    params: TrainParams,
    work: Path,
    evaluations: int,
    tokens: Path | None = None,
    remote_code: bool = False,
) -> dict[str, Any]:
    """Train, and return the facts of the training."""
    milestones = Milestones(evaluations)
    trained = fine_tune(base, train, valid, params, work, [milestones], tokens=tokens, remote_code=remote_code)
    milestones.tell_again(trained.history, trained.facts["steps"])  # a finished one is not trained again
    return trained.facts
