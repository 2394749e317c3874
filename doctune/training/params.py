"""The `train` section of params.yaml."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from doctune.section import Section

LOSS_PATTERN = r"^$|^losses(\.[A-Za-z_]\w*)+:[A-Za-z_]\w*$"  # none, or a function of a module in the folder losses


def _no_updates(value: int) -> int:
    if value == 0:
        raise ValueError("wanted -1 (as many as the epochs take) or 1 and more")
    return value


Updates = Annotated[int, Field(ge=-1), AfterValidator(_no_updates)]


class LoraParams(Section):
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685) on the modules whose names end in `targets`."""

    r: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    targets: list[str] = Field(min_length=1)


class Ia3Params(Section):
    """Learned scales (IA3, Liu et al. 2022, arXiv:2205.05638) on what the modules of `targets` give out, or, for those that
    `feedforward` names too, on what they take in."""

    targets: list[str] = Field(min_length=1)
    feedforward: list[str]

    @model_validator(mode="after")
    def _feedforward_is_targeted(self) -> Self:
        if missing := [name for name in self.feedforward if name not in self.targets]:
            raise ValueError(f"feedforward: wanted names that targets has too, got {', '.join(missing)}")
        return self


class TrainParams(Section):
    """Which weights learn: `full` all of them; `lora` low-rank adapters; `dora` the same with each matrix split into magnitude
    and direction (Liu et al. 2024, arXiv:2402.09353); `qlora` LoRA on a base held in 4 bits (NF4 with double quantisation,
    products in the run's `precision`; Dettmers et al. 2023, arXiv:2305.14314, with bfloat16); `ia3` learned scales.
    `gradient_checkpointing` computes a layer's inner values a second time instead of keeping them.

    Lengths are in tokens; `batch_tokens` bounds the padded source and target tokens of a batch, `batch_rows` its examples (0: any
    number), and `packing` lays several of a causal model in one row of at most `max_length`. Every `eval_steps` updates (0:
    once an epoch) the validation loss is measured and a checkpoint written; the best one, by `choose_by`, is kept. After
    `patience` (0: never) evaluations without a better one training stops. `processes` share the batches of an update. `trim_vocabulary`
    keeps of a Marian base's pieces what the training rows and a safety set need (doctune.vocabulary)."""

    method: Literal["full", "lora", "dora", "qlora", "ia3"]
    lora: LoraParams
    ia3: Ia3Params
    learning_rate: float = Field(gt=0, le=1)
    epochs: float = Field(gt=0)
    max_steps: Updates
    batch_tokens: int = Field(ge=64)
    batch_rows: int = Field(ge=0)
    gradient_accumulation: int = Field(ge=1)
    gradient_checkpointing: bool
    packing: bool
    warmup_ratio: float = Field(ge=0, lt=1)
    schedule: Literal["linear", "cosine", "warmup_stable_decay"]
    weight_decay: float = Field(ge=0)
    label_smoothing: float = Field(ge=0, lt=1)
    max_length: int = Field(ge=8)
    eval_steps: int = Field(ge=0)
    choose_by: Literal["loss", "chrf"]
    patience: int = Field(ge=0)
    precision: Literal["auto", "bf16", "fp16", "fp32"]
    compile: bool
    processes: int = Field(ge=1)
    loss: str = Field(pattern=LOSS_PATTERN)
    reporters: list[Literal["tensorboard", "wandb"]]
    price_per_hour: float = Field(ge=0)
    trim_vocabulary: bool
    seed: int = Field(ge=0)


def in_one_process(params: TrainParams) -> TrainParams:
    """The same training for one process: it accumulates what the others would have taken of an update."""
    accumulation = params.gradient_accumulation * params.processes
    return params.model_copy(update={"processes": 1, "gradient_accumulation": accumulation})


def plain(**knobs: Any) -> TrainParams:
    """A run that trains all weights with none of the options, other than `knobs`: a base made from scratch, or read on."""
    options = {
        "method": "full",
        "lora": LoraParams(r=1, alpha=1, dropout=0.0, targets=["none"]),
        "ia3": Ia3Params(targets=["none"], feedforward=[]),
        "max_steps": -1,
        "batch_rows": 0,
        "gradient_accumulation": 1,
        "gradient_checkpointing": False,
        "packing": False,
        "choose_by": "loss",
        "patience": 0,
        "compile": False,
        "processes": 1,
        "loss": "",
        "reporters": [],
        "price_per_hour": 0.0,
        "trim_vocabulary": False,
    }
    return TrainParams.model_validate(options | knobs)
