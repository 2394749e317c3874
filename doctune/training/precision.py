"""The number format that a run computes in."""

from doctune.training.params import TrainParams


def use_bf16(params: TrainParams) -> bool:
    """Whether to compute in bfloat16: as asked, or where the processor multiplies it in hardware."""
    import torch

    if params.precision != "auto":
        return params.precision == "bf16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
