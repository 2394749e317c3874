"""The `sweep` section of params.yaml: how many trials, of what length, and the space that they are drawn from.

    space:
      train.learning_rate: {low: 1.0e-4, high: 2.0e-3, log: true}
      train.lora.r: {choices: [8, 16, 64]}
      train.batch_tokens: {low: 1024, high: 4096, step: 1024}

A key is a knob of `train`, with dots. Numbers have a range, whole ones whole ends; all else has choices. Each end and
each choice must be a value that `train` takes: every mistake is told, before anything runs.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from doctune.section import Section
from doctune.training.params import TrainParams, Updates

BUDGET = ("train.epochs", "train.max_steps", "train.eval_steps")  # the sweep's own epochs, max_steps, evaluations
YARDSTICK = ("train.max_length", "train.trim_vocabulary", "train.loss")  # they decide what a validation loss is of
UNUSED = ("train.patience", "train.choose_by", "train.reporters", "train.price_per_hour")  # by a trial

MOST_TRIALS = 10_000
Number = Annotated[int | float, Field(allow_inf_nan=False)]


class Range(Section):
    """Numbers from `low` to `high`, both included: on a logarithmic scale, or in steps, or neither."""

    low: Number
    high: Number
    log: bool = False
    step: Number | None = None

    @model_validator(mode="after")
    def _holds_something(self) -> "Range":
        if self.low >= self.high:
            raise ValueError("wanted low below high")
        if self.log and self.low <= 0:
            raise ValueError("log: wanted low above 0")
        if self.step is not None:
            if self.log:
                raise ValueError("wanted log or step, not both")
            steps = (self.high - self.low) / self.step if self.step > 0 else 0.5
            if abs(steps - round(steps)) > 1e-9:
                raise ValueError("step: wanted one that goes from low to high in whole steps")
        return self

    @model_serializer(mode="wrap")
    def _as_short_as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None and value is not False}

    @property
    def values(self) -> list[Any]:
        """What must be legal, for all between to be: the ends."""
        return [self.low, self.high]


class Choices(Section):
    """One of these, in no order."""

    choices: list[Any] = Field(min_length=2)

    @property
    def values(self) -> list[Any]:
        return self.choices

    @property
    def labels(self) -> dict[str | int | float | bool | None, Any]:
        """Each choice by what stands for it in a study's records: itself, a list or mapping as JSON."""
        return {json.dumps(c) if isinstance(c, list | dict) else c: c for c in self.choices}


def _kind(value: Any) -> str:
    return "choices" if isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value) else "range"


Dimension = Annotated[Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_kind)]


class SweepParams(Section):
    """A trial trains for `epochs` of the data (or `max_steps` updates) and is evaluated `evaluations` times on the way; its
    value is the lowest validation loss."""

    trials: int = Field(ge=1, le=MOST_TRIALS)
    sampler: Literal["tpe", "random"]
    startup_trials: int = Field(ge=0)
    pruner: Literal["median", "hyperband", "none"]
    warmup: int = Field(ge=0)
    epochs: float = Field(gt=0)
    max_steps: Updates
    evaluations: int = Field(ge=1, le=1000)
    seed: int = Field(ge=0, lt=2**32)
    space: dict[str, Dimension] = Field(min_length=1)

    @property
    def prunes(self) -> bool:
        """Whether a trial can be ended early: never by the evaluations of the warm-up, nor by the last, which saves nothing."""
        return self.pruner != "none" and self.warmup < self.evaluations - 1

    @field_validator("space")
    @classmethod
    def _is_of_train(cls, space: dict[str, Range | Choices]) -> dict[str, Range | Choices]:
        mistakes = [
            InitErrorDetails(type=PydanticCustomError("knob", "{why}", {"why": why}), loc=(key,), input=got)
            for key, dimension in space.items()
            for got, why in _mistakes(key, dimension)
        ]
        if mistakes:
            raise ValidationError.from_exception_data("space", mistakes)
        return space


def _mistakes(key: str, dimension: Range | Choices) -> list[tuple[Any, str]]:
    """(what was got, what was wanted) of each mistake in one line of the space."""
    field = knob(key)
    if field is None:
        return [(key, f"wanted one knob of train, as {_examples()}")]
    if key in BUDGET:
        name = {"eval_steps": "evaluations"}.get(key.rpartition(".")[2], key.rpartition(".")[2])
        return [(key, f"the length of a trial is no part of the space; sweep.{name} sets it")]
    if key in YARDSTICK:
        return [(key, "validation losses under different values of it cannot be compared; set it in train")]
    if key in UNUSED:
        return [(key, "it changes no trial's validation loss; set it in train")]
    found: list[tuple[Any, str]] = []
    if isinstance(dimension, Range):
        if field.annotation not in (int, float):
            return [(dimension.model_dump(), "wanted choices: this knob is no number")]
        if field.annotation is int and isinstance(dimension.step, float):
            found.append((dimension.step, "step: wanted a whole number"))
    elif len(dimension.labels) < len(dimension.choices):
        found.append((dimension.choices, "choices: wanted each once"))
    annotated: Any = Annotated[field.annotation, Field(), *field.metadata]  # of itself, where it has no bounds
    adapter: TypeAdapter[Any] = TypeAdapter(annotated, config=ConfigDict(strict=True))
    for value in dimension.values:
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            found.append((value, error.errors()[0]["msg"].removeprefix("Value error, ")))
    return found


def knob(key: str) -> FieldInfo | None:
    """The field of TrainParams that `train.lora.r` names; None when there is none, or a group of them."""
    section, *path = key.split(".")
    field: FieldInfo | None = None
    model: type[Section] | None = TrainParams if section == "train" else None
    for name in path:
        field = model.model_fields.get(name) if model is not None else None
        inner = field.annotation if field is not None else None
        model = inner if isinstance(inner, type) and issubclass(inner, Section) else None
    return field if model is None else None


def _examples() -> str:
    return "train.learning_rate or train.lora.r"
