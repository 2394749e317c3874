"""What a trial is: the knobs of `train` with drawn values laid over them, and the sweep's length instead of train's.

    trial_params(train, sweep, {"train.learning_rate": 3e-4, "train.lora.r": 8}, "trial 3")      # TrainParams
    starting_values(train, sweep)         # the values that train has now, where the space holds them all

Values are as a study keeps them: a choice that is a list stands there as JSON.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from doctune.errors import DoctuneError
from doctune.section import validate
from doctune.sweeping.params import Choices, Range, SweepParams, knob
from doctune.training.params import TrainParams, in_one_process

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

NEVER = 1_000_000_000  # updates between train's own evaluations: a trial's are set by its share of the work
READ_BY = {"lora": {"lora", "dora", "qlora"}, "ia3": {"ia3"}}


def distributions(sweep: SweepParams) -> "dict[str, BaseDistribution]":
    """The space as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for key, dimension in sweep.space.items():
        field = knob(key)
        assert field is not None  # SweepParams refuses others
        if isinstance(dimension, Choices):
            found[key] = CategoricalDistribution(list(dimension.labels))
        elif field.annotation is int:
            low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
            found[key] = IntDistribution(low, high, dimension.log, step)
        else:
            found[key] = FloatDistribution(dimension.low, dimension.high, dimension.log, dimension.step)
    return found


def with_values(train: TrainParams, sweep: SweepParams, values: Mapping[str, Any], where: str) -> TrainParams:
    """`train` with the drawn values, as a preset of them would be."""
    plain = train.model_dump()
    for key, value in values.items():
        dimension = sweep.space[key]
        *groups, name = key.split(".")[1:]
        group = plain
        for part in groups:
            group = group[part]
        group[name] = dimension.labels[value] if isinstance(dimension, Choices) else value
    return validate(TrainParams, plain, f"{where}:")


def trial_params(train: TrainParams, sweep: SweepParams, values: Mapping[str, Any], where: str) -> TrainParams:
    """What the trial of these values trains with."""
    length = {"epochs": sweep.epochs, "max_steps": sweep.max_steps, "eval_steps": NEVER, "patience": 0}
    alone = {"choose_by": "loss", "reporters": []}  # the search compares losses, and watches for itself
    drawn = in_one_process(with_values(train, sweep, values, where))
    return validate(TrainParams, {**drawn.model_dump(), **length, **alone}, f"{where}:")


def starting_values(train: TrainParams, sweep: SweepParams) -> dict[str, Any] | None:
    """Where the search sets out from; None when a value of train lies outside of the space."""
    values: dict[str, Any] = {}
    for key, dimension in sweep.space.items():
        value: Any = train
        for name in key.split(".")[1:]:
            value = getattr(value, name)
        if isinstance(dimension, Choices):
            if value not in dimension.choices:
                return None
            values[key] = list(dimension.labels)[dimension.choices.index(value)]
        elif _within(value, dimension):
            values[key] = value
        else:
            return None
    return values


def check_space(train: TrainParams, sweep: SweepParams) -> None:
    """Raise DoctuneError with every reason why trials of this space could not be, before the first one is.

    All else in the place of `train`, each end and each choice must make a whole TrainParams; a knob that no method of
    the space reads would only be noise.
    """
    mistakes = []
    method = sweep.space.get("train.method")
    methods = {str(choice) for choice in method.values} if method is not None else {train.method}
    for key, dimension in sweep.space.items():
        group = key.split(".")[1]
        if group in READ_BY and not methods & READ_BY[group]:
            mistakes.append(f"{key} changes nothing where train.method is {' or '.join(sorted(methods))}")
        labels = list(dimension.labels) if isinstance(dimension, Choices) else dimension.values
        for label in labels:
            try:
                trial_params(train, sweep, {key: label}, f"{key} {label}")
            except DoctuneError as error:
                mistakes.append(str(error))
    for pick in (0, -1):
        corner = {
            key: list(dimension.labels)[pick] if isinstance(dimension, Choices) else dimension.values[pick]
            for key, dimension in sweep.space.items()
        }
        if not mistakes:
            try:
                trial_params(train, sweep, corner, f"all knobs at their {('first', 'last')[pick]} value")
            except DoctuneError as error:
                mistakes.append(str(error))
    if mistakes:
        raise DoctuneError(f"sweep.space has {len(mistakes)} mistake(s): " + "; ".join(mistakes))


def _within(value: Any, dimension: Range) -> bool:
    if not dimension.low <= value <= dimension.high:
        return False
    if dimension.step is None:
        return True
    steps = (value - dimension.low) / dimension.step
    return bool(abs(steps - round(steps)) < 1e-9)
