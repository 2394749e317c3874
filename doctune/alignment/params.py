"""The `align` section of params.yaml."""

from pydantic import Field, model_validator

from doctune.cleaning import Limits
from doctune.section import Section


class AlignParams(Section):
    """Knobs of the align stage. Lengths are characters; ratios are Chinese to English characters that a reader sees."""

    sentences: bool = Field(description="cut each pair of blocks into pairs of sentences, for models with short inputs")
    min_score: float = Field(gt=0, lt=1, description="least score of a pair: about the chance that it is right")
    max_chars: int = Field(gt=0, description="longest text of either side, joined to one line")
    min_ratio: float = Field(gt=0, description="least length ratio")
    max_ratio: float = Field(gt=0, description="largest length ratio")
    max_latin: float = Field(gt=0, le=1, description="largest share of sentences left in English")

    @model_validator(mode="after")
    def _ordered(self) -> "AlignParams":
        if self.min_ratio >= self.max_ratio:
            raise ValueError(f"min_ratio {self.min_ratio} must be below max_ratio {self.max_ratio}")
        return self

    @property
    def limits(self) -> Limits:
        return Limits(self.max_chars, self.min_ratio, self.max_ratio, self.max_latin)
