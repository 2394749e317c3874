"""Embeddings of a model that trains, for less memory traffic: a bfloat16 stream, and one gradient for a tied matrix.

    lighten(model, torch.bfloat16)        # once, before training

An encoder-decoder's embeddings are one matrix with its output layer. PyTorch makes a whole gradient matrix for each of the
three (0.4 GB for 65,001 tokens of width 512) and adds them up. Here the output layer's is the one, and the embeddings add
the rows that they looked up to it: the same sum.

Under autocast PyTorch looks embeddings up in 32 bits, so all that is added to them on the way through the layers is in 32
bits, too, and is cast for each matrix product. Embeddings that come in bfloat16 keep the stream there; weights, norms'
statistics, and the optimizer stay in 32 bits.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

_NAME = "doctune_gradient"


def lighten(model: Any, dtype: torch.dtype | None = None) -> None:
    """Make a model's embeddings look up in `dtype` (None: their own) and share their gradient with a tied output layer."""
    head = model.get_output_embeddings().weight
    for module in model.modules():
        if type(module) is torch.nn.Embedding and module.weight is head:
            setattr(head, _NAME, SharedGradient())
            module.forward = partial(_look_up, module)  # type: ignore[method-assign]  # of this one, not of the class
        if isinstance(module, torch.nn.Embedding) and dtype:
            module.register_forward_hook(partial(_cast, dtype))


def shared_gradient(weight: torch.Tensor) -> "SharedGradient | None":
    return getattr(weight, _NAME, None)


class SharedGradient:
    """The gradient of a tied matrix on its way from the output layer through every embedding that read from it."""

    def __init__(self) -> None:
        self._read = 0
        self._left = 0
        self._sum: torch.Tensor | None = None

    def readings(self) -> int:
        """How often embeddings were looked up since the last call."""
        read, self._read = self._read, 0
        return read

    def was_read(self) -> None:
        self._read += 1

    def begin(self, gradient: torch.Tensor, readings: int) -> None:
        """The output layer's part, to which as many embeddings will add."""
        if self._left:
            raise RuntimeError("a tied matrix had one loss while the gradient of another was on its way")
        self._sum, self._left = gradient, readings

    def add(self, ids: torch.Tensor, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor | None:
        """Add an embedding's rows; the last one gets the sum. Without an output layer's part each gets its own."""
        whole = torch.zeros_like(weight) if self._sum is None else self._sum
        whole.index_add_(0, ids, rows.to(whole.dtype))
        if self._left > 1:
            self._left -= 1
            return None
        self._left, self._sum = 0, None
        return whole


def _cast(dtype: torch.dtype, module: torch.nn.Module, inputs: Any, found: torch.Tensor) -> torch.Tensor:
    return found.to(dtype) if torch.is_autocast_enabled(found.device.type) else found


def _look_up(module: torch.nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
    weight, tied = module.weight, shared_gradient(module.weight)
    if tied and torch.is_grad_enabled() and weight.requires_grad:
        found: torch.Tensor = _Embedding.apply(ids, weight, module.padding_idx, tied)
        return found
    return F.embedding(ids, weight, module.padding_idx)


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, ids: torch.Tensor, weight: torch.Tensor, padding: int | None, tied: SharedGradient
    ) -> torch.Tensor:
        ctx.save_for_backward(ids, weight)
        ctx.padding, ctx.tied = padding, tied
        tied.was_read()
        return F.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, rows: torch.Tensor) -> Any:
        ids, weight = ctx.saved_tensors
        ids, rows = ids.flatten(), rows.flatten(0, -2)
        if ctx.padding is not None:
            ids, rows = ids[ids != ctx.padding], rows[ids != ctx.padding]
        return None, ctx.tied.add(ids, rows, weight), None, None
