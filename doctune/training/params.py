"""The `train` section of params.yaml."""

from typing import Literal

from pydantic import Field

from doctune.section import Section


class LoraParams(Section):
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685) on the modules whose names end in `targets`."""

    r: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    targets: list[str] = Field(min_length=1)


class TrainParams(Section):
    """Lengths are in tokens; `batch_tokens` bounds the padded source and target tokens of a batch. Every `eval_steps` updates the
    validation loss is measured and a checkpoint written; the best one is kept."""

    method: Literal["full", "lora"]
    lora: LoraParams
    learning_rate: float = Field(gt=0, le=1)
    epochs: float = Field(gt=0)
    max_steps: int = Field(ge=-1)
    batch_tokens: int = Field(ge=64)
    gradient_accumulation: int = Field(ge=1)
    warmup_ratio: float = Field(ge=0, lt=1)
    schedule: Literal["linear", "cosine", "warmup_stable_decay"]
    weight_decay: float = Field(ge=0)
    label_smoothing: float = Field(ge=0, lt=1)
    max_length: int = Field(ge=8)
    eval_steps: int = Field(ge=1)
    precision: Literal["auto", "bf16", "fp32"]
    reporters: list[Literal["tensorboard", "wandb"]]
    price_per_hour: float = Field(ge=0)
    seed: int = Field(ge=0)
