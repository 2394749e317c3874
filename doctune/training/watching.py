"""What a training run tells while it runs: plain lines where there is no terminal, and the curves as a table.

step 120/600 (20 %)  loss 2.314  learning rate 3.0e-04  2311 tokens/s  4:10 left
"""

import csv
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from doctune.files import whole_file

CURVES = ("step", "epoch", "loss", "eval_loss", "eval_chrf", "learning_rate", "tokens_per_second", "seconds")


class PlainLines(TrainerCallback):
    """Progress for logs: one line each time the trainer logs."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.started, self.first_step = time.monotonic(), state.global_step
        resumed = f", resumed at step {state.global_step}" if state.global_step else ""
        print(f"training for {state.max_steps} steps{resumed}", flush=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if not logs or not {"loss", "eval_loss"} & logs.keys() or not state.max_steps:
            return
        parts = [f"step {state.global_step}/{state.max_steps} ({100 * state.global_step // state.max_steps} %)"]
        if "loss" in logs:
            parts += [
                f"loss {logs['loss']:.3f}",
                f"learning rate {logs['learning_rate']:.1e}",
                f"{logs['tokens_per_second']:.0f} tokens/s",
            ]
        if "eval_loss" in logs:
            parts.append(f"validation loss {logs['eval_loss']:.4f}")
        if "eval_chrf" in logs:
            parts.append(f"chrF {logs['eval_chrf']:.1f}")
        done = state.global_step - self.first_step
        if done:
            left = (time.monotonic() - self.started) / done * (state.max_steps - state.global_step)
            parts.append(f"{int(left // 60)}:{int(left % 60):02d} left")
        print("  ".join(parts), flush=True)


class LastPoint(TrainerCallback):
    """Validates and checkpoints after the last step too, wherever it falls."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = control.should_log = True


class Clock(TrainerCallback):
    """Adds `seconds` of training so far (over all resumed parts) to each entry of the trainer's history."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        before = max((entry.get("seconds", 0.0) for entry in state.log_history), default=0.0)
        self.started = time.monotonic() - before

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if state.log_history:
            state.log_history[-1]["seconds"] = round(time.monotonic() - self.started, 1)


def write_curves(history: list[dict[str, float]], path: Path) -> None:
    """One row a logged step; a cell is empty where nothing was measured."""
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        if {"loss", "eval_loss"} & entry.keys():
            rows.setdefault(int(entry["step"]), {}).update({k: v for k, v in entry.items() if k in CURVES})
    with whole_file(path) as tmp, tmp.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, CURVES, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[step] for step in sorted(rows))
