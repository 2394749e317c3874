"""What a training will take, before it: tokens, updates, hours at the speed of this machine, memory, money.

    cost = estimate(Path("models/base"), train_rows, valid_rows, params)
    cost.hours, cost.money             # 0.8, 0.48 at train.price_per_hour 0.6

The speed is measured by a probe: the real training on the real data, ended after 13 updates as a kill would end it, in a
folder that is thrown away with its weights. An evaluation is reckoned at a third of the work of training on as many rows
(forward only); translating for `choose_by: chrf` and writing checkpoints come on top. Memory is the probe's: a longer run meets
batches of more shapes, and on a processor takes more for them.
"""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from doctune.progress import clock
from doctune.training.params import TrainParams, in_one_process

WARM_UP, MEASURED = 3, 10  # updates
FORWARD_SHARE = 1 / 3  # of the arithmetic of a training step, the backward pass being twice the forward one


@dataclass(frozen=True)
class Plan:
    """What the data and the knobs say. Tokens are of source and answer together, without padding."""

    rows: int
    valid_rows: int
    truncated: int
    tokens_per_epoch: int
    updates_per_epoch: int
    updates: int
    evaluations: int

    @property
    def tokens(self) -> int:
        return round(self.tokens_per_epoch * self.updates / max(self.updates_per_epoch, 1))

    def hours(self, tokens_per_second: float) -> float:
        valid_tokens = self.tokens_per_epoch * self.valid_rows / max(self.rows, 1)
        work = self.tokens + self.evaluations * valid_tokens * FORWARD_SHARE
        return work / max(tokens_per_second, 1e-9) / 3600

    def text(self) -> str:
        return (
            f"{self.rows:,} rows, {self.truncated:,} cut at train.max_length; "
            f"{self.tokens_per_epoch:,} tokens an epoch, {self.tokens:,} in {self.updates:,} updates"
        )


@dataclass(frozen=True)
class Estimate:
    """A plan with what the probe measured over `probed` updates."""

    plan: Plan
    probed: int
    tokens_per_second: float
    padding_share: float
    peak_memory_mb: float
    price_per_hour: float
    processes: int = 1  # of the training; the probe is one

    @property
    def hours(self) -> float:
        return self.plan.hours(self.tokens_per_second)

    @property
    def money(self) -> float:
        return self.hours * self.price_per_hour

    def rows(self) -> list[tuple[str, str]]:
        """The table of `doctune estimate`."""
        plan, several = self.plan, self.processes > 1
        alone = f", in one process instead of {self.processes}" if several else ""
        at_best = f"; {self.processes} processes take {self.hours / self.processes:.2f} at best" if several else ""
        cheapest = f"; {self.money / self.processes:,.2f} at best" if several else ""
        return [
            ("training rows", f"{plan.rows:,}"),
            ("of them cut at max_length", f"{plan.truncated:,}"),
            ("tokens an epoch, source and answer", f"{plan.tokens_per_epoch:,}"),
            ("tokens in all", f"{plan.tokens:,}"),
            ("updates", f"{plan.updates:,} ({plan.updates_per_epoch:,} an epoch), {plan.evaluations:,} evaluations"),
            ("tokens/s, measured", f"{self.tokens_per_second:,.0f} over {self.probed} updates{alone}"),
            ("padding, measured", f"{self.padding_share:.1%}"),
            ("peak memory of the probe", f"{self.peak_memory_mb:,.0f} MiB"),
            ("hours", f"{self.hours:.2f} ({clock(3600 * self.hours)}){at_best}"),
            *([("money", in_money(self.hours, self.price_per_hour) + cheapest)] if self.price_per_hour else []),
        ]


def in_money(hours: float, price: float) -> str:
    money = hours * price
    return f"{f'{money:,.2f}' if money >= 0.1 else f'{money:.1g}'} at {price:g} an hour"


class Told(TrainerCallback):
    """Says what the run will take: tokens and updates before the first step, hours once its own speed is known."""

    def __init__(self, params: TrainParams, valid_rows: int) -> None:
        self.params, self.valid_rows = params, valid_rows
        self.plan: Plan | None = None
        self.first = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.plan, self.first = plan_of(self.params, self.valid_rows, state, **kwargs), state.global_step
        print(self.plan.text(), flush=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        speed = (logs or {}).get("tokens_per_second")
        if self.plan is None or speed is None or state.global_step < self.first + WARM_UP:
            return
        hours, price = self.plan.hours(speed), self.params.price_per_hour
        money = f", {in_money(hours, price)}" if price else ""
        print(f"at {speed:,.0f} tokens/s it takes {clock(3600 * hours)} from start to end{money}", flush=True)
        self.plan = None  # said once


class Probed(Exception):
    """The probe has seen enough; ends a training as an interrupt would."""


class Probe(TrainerCallback):
    """Reads the meter over a few updates after some to warm up, then ends the training with `Probed`."""

    def __init__(self, params: TrainParams, valid_rows: int) -> None:
        self.params, self.valid_rows = params, valid_rows
        self.read: dict[str, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.plan = plan_of(self.params, self.valid_rows, state, **kwargs)
        self.last = min(WARM_UP + MEASURED, state.max_steps)
        self.warm = max(0, min(WARM_UP, self.last - 1))
        state.logging_steps = state.max_steps + 1  # the meter is read here alone

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_log = state.global_step in (self.warm, self.last)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if state.global_step >= self.last:
            self.read = dict(logs or {})
            raise Probed


def plan_of(params: TrainParams, valid_rows: int, state: Any, *, model: Any, train_dataloader: Any, **_: Any) -> Plan:
    """The plan of a training that begins, from what the Trainer tells its callbacks."""
    train = train_dataloader.dataset
    per_epoch = -(-len(train_dataloader) // params.gradient_accumulation)
    return Plan(
        rows=len(train),
        valid_rows=valid_rows,
        truncated=train.cut.either,
        tokens_per_epoch=sum(train.lengths())
        + (sum(train.lengths("labels")) if model.config.is_encoder_decoder else 0),
        updates_per_epoch=per_epoch,
        updates=state.max_steps,
        evaluations=-(-state.max_steps // (params.eval_steps or per_epoch)),
    )


def estimate(
    base: Path,
    train: list[dict[str, Any]],
    valid: list[dict[str, Any]],
    params: TrainParams,
    remote_code: bool = False,
) -> Estimate:
    """Measure what training on these rows takes; nothing is kept. Of several processes one does the work of all."""
    from doctune.training.run import fine_tune

    alone = in_one_process(params)
    probe = Probe(alone, len(valid))
    quiet = alone.model_copy(update={"eval_steps": 10**9, "reporters": [], "choose_by": "loss"})
    with tempfile.TemporaryDirectory(prefix="doctune-estimate-") as work, suppress(Probed):
        fine_tune(base, train, valid, quiet, Path(work) / "probe", [probe], remote_code=remote_code)
    read = probe.read
    return Estimate(
        plan=probe.plan,
        probed=probe.last - probe.warm,
        tokens_per_second=read["tokens_per_second"],
        padding_share=read["padding_share"],
        peak_memory_mb=read["peak_memory_mb"],
        price_per_hour=params.price_per_hour,
        processes=params.processes,
    )
