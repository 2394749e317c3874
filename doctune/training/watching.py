"""What a training run tells while it runs: plain lines where there is no terminal, its progress as a file, the curves as a table.

step 120/600 (20 %)  loss 2.314  learning rate 3.0e-04  5210 tokens/s  4:10 left

eval_perplexity is e to the validation loss: a token of the model's own tokenizer, so models compare by it where they share
one. grad_norm is that before clipping. What the meter adds is explained in doctune/training/meter.py.
"""

import csv
import time
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

from transformers import TrainerCallback

from doctune.files import whole_file
from doctune.progress import clock, report_progress

CURVES = (
    "step",
    "epoch",
    "loss",
    "eval_loss",
    "eval_perplexity",
    "eval_chrf",
    "learning_rate",
    "grad_norm",
    "tokens_per_second",
    "answer_tokens_per_second",
    "padding_share",
    "peak_memory_mb",
    "seconds_left",
    "seconds",
)


class PlainLines(TrainerCallback):
    """Progress for logs: one line each time the trainer logs."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        resumed = f", resumed at step {state.global_step}" if state.global_step else ""
        print(f"training for {state.max_steps} steps{resumed}", flush=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if logs and {"loss", "eval_loss"} & logs.keys() and state.max_steps:
            share = 100 * state.global_step // state.max_steps
            print(f"step {state.global_step}/{state.max_steps} ({share} %)  {in_words(logs)}", flush=True)


def in_words(logs: Mapping[str, float]) -> str:
    """A point of the curves, as far as it was measured, in a line."""
    parts = []
    if "loss" in logs:
        parts += [f"loss {logs['loss']:.3f}", f"learning rate {logs['learning_rate']:.1e}"]
    if "tokens_per_second" in logs:
        parts.append(f"{logs['tokens_per_second']:.0f} tokens/s")
    if "eval_loss" in logs:
        parts.append(f"validation loss {logs['eval_loss']:.4f} (perplexity {logs['eval_perplexity']:.1f})")
    if "eval_chrf" in logs:
        parts.append(f"chrF {logs['eval_chrf']:.1f}")
    if "seconds_left" in logs:
        parts.append(f"{clock(logs['seconds_left'])} left")
    return "  ".join(parts)


class ProgressFile(TrainerCallback):
    """Tells whoever watches the stage from outside how far training is, with the curves so far."""

    shown = (
        "loss",
        "eval_loss",
        "eval_perplexity",
        "eval_chrf",
        "learning_rate",
        "tokens_per_second",
        "padding_share",
        "peak_memory_mb",
    )

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if logs and {"loss", "eval_loss"} & logs.keys() and state.max_steps:
            points = [
                {"step": step, **{name: row[name] for name in self.shown if name in row}}
                for step, row in curve(state.log_history)
            ]
            text = in_words({name: value for name, value in logs.items() if name != "seconds_left"})  # said beside it
            report_progress(self.stage, state.global_step, state.max_steps, text, points, logs.get("seconds_left"))


class LastPoint(TrainerCallback):
    """Validates and checkpoints after the last step too, wherever it falls."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = control.should_log = True


class Diverged(TrainerCallback):
    """Ends a training whose loss is no number any more: no further step makes it one. The best checkpoint so far stays."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        lost = {name: value for name, value in (logs or {}).items() if name in ("loss", "eval_loss")}
        if all(map(isfinite, lost.values())):
            return
        if state.is_world_process_zero and not control.should_training_stop:
            named = ", ".join(f"{name} {value}" for name, value in lost.items())
            print(
                f"diverged by step {state.global_step} ({named}): training ends here; set learning_rate lower",
                flush=True,
            )
        control.should_training_stop = True
        if "loss" in lost:  # told as an evaluation, and kept as a run that has ended
            control.should_evaluate = control.should_save = True


class Clock(TrainerCallback):
    """Adds `seconds` of training so far (over all resumed parts) to each entry of the trainer's history."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        before = max((entry.get("seconds", 0.0) for entry in state.log_history), default=0.0)
        self.started = time.monotonic() - before

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if state.log_history:
            state.log_history[-1]["seconds"] = round(time.monotonic() - self.started, 1)


def curve(history: Iterable[Mapping[str, float]]) -> list[tuple[int, dict[str, float]]]:
    """The trainer's history as (step, values by name), one a step in order; what is no number is left out."""
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        if {"loss", "eval_loss"} & entry.keys():
            rows.setdefault(int(entry["step"]), {}).update(
                {k: v for k, v in entry.items() if k in CURVES and isfinite(v)}
            )
    return sorted(rows.items())


def write_curves(history: list[dict[str, float]], path: Path) -> None:
    """One row a logged step; a cell is empty where nothing was measured."""
    with whole_file(path) as tmp, tmp.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, CURVES, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for _, row in curve(history))


def measured(history: list[dict[str, float]]) -> dict[str, float]:
    """What the training took: medians of the rates, the largest memory, minutes in all."""

    def values(name: str) -> list[float]:
        return [entry[name] for entry in history if name in entry]

    found: dict[str, float] = {}
    for name, digits in (("tokens_per_second", 1), ("answer_tokens_per_second", 1), ("padding_share", 4)):
        if read := values(name):
            found[name] = round(median(read), digits)
    if memory := values("peak_memory_mb"):
        found["peak_memory_mb"] = max(memory)
    return found | {"minutes": round(max(values("seconds"), default=0.0) / 60, 2)}
