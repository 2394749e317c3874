"""What a training does with its time and memory: counted batch by batch, read each time the trainer logs.

    meter = Meter()
    meter.count(batch)                       # of every training batch
    meter.read(step=120, steps=600)
    {"tokens_per_second": 5210.4, "answer_tokens_per_second": 2311.0, "padding_share": 0.031, "peak_memory_mb": 1840.2,
     "seconds_left": 250.1}

tokens_per_second         tokens of source and answer together, padding left out; of a causal model's row each token once
answer_tokens_per_second  those of them that the loss looks at
padding_share             of the tokens that went through the model, how many were padding
peak_memory_mb            MiB: what torch had allocated on the accelerator at most; without one, the process's largest resident set
seconds_left              at the pace since training began (or was resumed), evaluations included

The first two leave evaluations and the writing of checkpoints out: `pause` after each.
"""

import sys
import time
from pathlib import Path
from typing import Any

import torch

from doctune.prompts import IGNORED


class Meter:
    """Counts between two readings; of `processes` like this one, which work side by side on batches of like size."""

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
        self._counts: Any = 0  # a tensor where the batches are: nothing waits for an accelerator until it is read
        self._read_at = time.perf_counter()
        self._spent = 0.0  # seconds between the last reading and a pause
        self._first: tuple[float, int] | None = None

    def count(self, batch: dict[str, Any], seq2seq: bool, step: int) -> None:
        """Take in a training batch of the update after `step`, before it is worked on."""
        if self._first is None:
            self._read_at, self._spent = time.perf_counter(), 0.0
            self._first = (self._read_at, step)
        self._counts = self._counts + count_tokens(batch, seq2seq)

    def pause(self, began: float) -> None:
        """What was done since `began` (time.perf_counter) was no training."""
        self._spent += began - self._read_at
        self._read_at = time.perf_counter()

    def read(self, step: int, steps: int) -> dict[str, float]:
        """Rates since the last reading, and what is left of `steps` updates after `step`."""
        now = time.perf_counter()
        seconds = max(self._spent + now - self._read_at, 1e-9)
        self._read_at, self._spent = now, 0.0
        read: dict[str, float] = {}
        if torch.is_tensor(self._counts):
            real, answers, padded = self._counts.tolist()
            read["tokens_per_second"] = round(real * self.processes / seconds, 1)
            read["answer_tokens_per_second"] = round(answers * self.processes / seconds, 1)
            read["padding_share"] = round(1 - real / max(padded, 1), 4)
            self._counts = 0
        read["peak_memory_mb"] = round(peak_memory() / 2**20, 1)
        return read | self.left(step, steps)

    def left(self, step: int, steps: int) -> dict[str, float]:
        """`seconds_left`, once an update was done."""
        if self._first is None or step <= self._first[1]:
            return {}
        began, first = self._first
        return {"seconds_left": round((time.perf_counter() - began) / (step - first) * (steps - step), 1)}


def count_tokens(batch: dict[str, Any], seq2seq: bool) -> torch.Tensor:
    """(tokens of source and answer, tokens that the loss looks at, tokens with padding) of a batch, where the batch is."""
    labels = batch["labels"]
    seen = labels != IGNORED
    answers, padded = seen.sum(), batch["input_ids"].numel()
    if seq2seq:
        real, padded = batch["attention_mask"].sum() + answers, padded + labels.numel()
    elif "attention_mask" in batch:
        real = batch["attention_mask"].sum()
    else:  # rows of several examples carry positions instead; each ends with an answer's last token
        ends = torch.arange(1, labels.shape[1] + 1, device=labels.device)
        real = (seen * ends).amax(1).sum()
    return torch.stack([real, answers, torch.full_like(answers, padded)])


def peak_memory() -> int:
    """Bytes: the most that torch had allocated on the accelerator, or that this process had in memory."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.exists():  # getrusage's figure would be the parent's where that was larger when it started this process
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
