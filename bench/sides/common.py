"""What every side of bench/train.py shares: the examples, a clock over steady updates, and the loss of held-out rows.

It imports nothing of doctune, for the peers run it in an environment of their own.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import TrainerCallback

IGNORED = -100
WARM_UP = 5  # updates that are not measured


class Task:
    """The folder that the driver wrote: model, examples (pairs of lists of token ids), and how long to train."""

    def __init__(self, folder: str, mode: str) -> None:
        self.folder, self.mode = Path(folder), mode
        task = json.loads((self.folder / "task.json").read_text(encoding="utf-8"))
        self.train: list[list[list[int]]] = task["train"]
        self.valid: list[list[list[int]]] = task["valid"]
        self.pad: int = task["pad"]
        self.batch: int = task["batch"]
        self.seq2seq: bool = task["seq2seq"]
        self.precision: str = task["precision"]  # bf16 or fp32: what a fast peer would choose on this processor
        self.lora: dict[str, Any] = task["lora"]


class Clock(TrainerCallback):
    """Non-padding tokens of source and answer a second, after the first few updates."""

    def __init__(self) -> None:
        self.tokens = 0
        self.points: list[tuple[float, int]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.points.append((time.perf_counter(), self.tokens))

    def speed(self) -> dict[str, float]:
        (then, before), (now, after) = self.points[WARM_UP - 1], self.points[-1]
        updates = len(self.points) - WARM_UP
        return {"tokens_per_second": (after - before) / (now - then), "seconds_per_update": (now - then) / updates}


def pad(rows: list[list[int]], fill: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])


def batch_of(task: Task, pairs: list[list[list[int]]]) -> dict[str, torch.Tensor]:
    """As transformers' own collators pad a batch: to its longest row."""
    ids, labels = pad([source for source, _ in pairs], task.pad), pad([answer for _, answer in pairs], IGNORED)
    mask = pad([[1] * len(source) for source, _ in pairs], 0)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def valid_loss(model: Any, task: Task) -> float:
    """Nats a token of the held-out answers, in 32 bits."""
    model.eval()
    total, tokens = 0.0, 0
    with torch.no_grad():
        for at in range(0, len(task.valid), 16):
            batch = batch_of(task, task.valid[at : at + 16])
            logits, labels = model(**batch).logits, batch["labels"]
            if not task.seq2seq:
                logits, labels = logits[:, :-1], labels[:, 1:]
            total += F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="sum").item()
            tokens += int((labels != IGNORED).sum())
    return total / tokens


def say(clock: Clock, model: Any, task: Task, judged: bool) -> None:
    """The side's result, as the last line of its output."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {**clock.speed(), "peak_mb": round(peak)}
    if judged:
        result["valid_loss"] = valid_loss(model, task)
    print(json.dumps(result))
    sys.stdout.flush()
