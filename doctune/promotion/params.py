"""The limits of promotion: section `promote` of params.yaml. `null`, or a metric left out of a mapping, is no gate."""

from typing import Annotated

from pydantic import Field

from doctune.section import Section

Amount = Annotated[float, Field(ge=0)]


class PromoteParams(Section):
    """Metrics are named as in metrics.json; what is judged is the int8 model that ships, on the test rows."""

    min_bleu_gain: float | None = Field(description="BLEU that must be gained over the champion")
    max_p_value: float | None = Field(gt=0, le=1, description="of that gain, by the paired bootstrap")
    floors: dict[str, float] = Field(description="least score, by metric")
    ceilings: dict[str, float] = Field(description="highest score, by metric")
    losses: dict[str, Amount] = Field(description="most by which it may be worse than the champion, by metric")
    max_general_loss: float | None = Field(description="chrF that may be lost to the base on evaluate.general")
    max_int8_loss: float | None = Field(description="BLEU that what ships may lose to PyTorch")
    max_leaked: int | None = Field(ge=0, description="test rows whose English may be in train too")
