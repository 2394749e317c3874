"""The `adapt` section of params.yaml."""

from typing import Literal

from pydantic import Field

from doctune.section import Section


class AdaptParams(Section):
    """Continued pretraining of a causal base on the pages' own text. With 0 `epochs` the base stays as it was fetched.

    Documents are joined with the end token and cut into rows of `max_length` tokens. `valid` is the fraction of the pages read
    that is kept apart to measure the perplexity, every `eval_steps` updates. In the globs `leave_out` `*` matches slashes too.
    Knobs that the `train` section has as well mean what they mean there.
    """

    epochs: float = Field(ge=0)
    learning_rate: float = Field(gt=0, le=1)
    batch_tokens: int = Field(ge=64)
    gradient_accumulation: int = Field(ge=1)
    gradient_checkpointing: bool
    max_length: int = Field(ge=16)
    warmup_ratio: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    valid: float = Field(gt=0, lt=1)
    eval_steps: int = Field(ge=1)
    leave_out: list[str]
    precision: Literal["auto", "bf16", "fp32"]
    processes: int = Field(ge=1)
    seed: int = Field(ge=0)
