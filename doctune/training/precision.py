"""The number format that a run computes in: bf16, fp16 or fp32. Weights and the optimizer's state stay float32."""

from typing import TYPE_CHECKING, Literal

from doctune.errors import DoctuneError, warn
from doctune.training.params import TrainParams

if TYPE_CHECKING:
    import torch

Format = Literal["bf16", "fp16", "fp32"]


def number_format(params: TrainParams) -> Format:
    """As asked, or the fastest."""
    import torch

    if params.precision == "fp16" and not torch.cuda.is_available():
        raise DoctuneError(
            "train.precision is fp16, which trains on a CUDA GPU only, and there is none here; set it to auto, bf16 or fp32"
        )
    if params.precision != "auto":
        return params.precision
    return fastest()


def fastest() -> Format:
    """bf16 where the hardware multiplies it, else fp16 on a GPU, else fp32."""
    import torch

    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    hardware = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if hardware else "fp32"


def dtype_of(format: Format) -> "torch.dtype":
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[format]


def check_fast(params: TrainParams, section: str) -> None:
    """Say so where bf16 was asked for and the hardware does not multiply it: PyTorch computes it all the same, by far slower."""
    if params.precision == "bf16" and fastest() != "bf16":
        warn(
            f"{section}.precision is bf16, which this hardware does not multiply: expect many times the time that auto takes"
        )
