"""What cannot work is refused before the first step."""

from typing import Any

from doctune.errors import DoctuneError


def check_length(model: Any, length: int) -> None:
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and length > positions:
        raise DoctuneError(
            f"train.max_length is {length}, but the base has {positions} positions; set it to {positions} or less"
        )
